//! Looking things up in what `cloudsetup.xml` says, by the names a person typed.

use crate::{Application, Cloud, CloudSetup, Flavour};

/// A name that the file does not have; the message lists those it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No cloud of this name.
    #[error("there is no cloud `{name}` (there {})", listed("are", .known))]
    Cloud {
        /// The name looked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The cloud has no flavour of this name.
    #[error("cloud `{cloud}` has no flavour `{name}` (it {})", listed("has", .known))]
    Flavour {
        /// The cloud looked in.
        cloud: String,
        /// The name looked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No application of this name.
    #[error("there is no application `{name}` (there {})", listed("are", .known))]
    Application {
        /// The name looked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
}

fn listed(verb: &str, known: &[String]) -> String {
    if known.is_empty() {
        format!("{verb} none")
    } else {
        format!("{verb}: {}", known.join(", "))
    }
}

impl CloudSetup {
    /// The cloud of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn cloud(&self, name: &str) -> Result<&Cloud, LookupError> {
        let known = || {
            self.clouds
                .iter()
                .map(|cloud| cloud.name.to_string())
                .collect()
        };
        self.clouds
            .iter()
            .find(|cloud| cloud.name.as_str() == name)
            .ok_or_else(|| LookupError::Cloud {
                name: name.to_owned(),
                known: known(),
            })
    }

    /// The application of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn application(&self, name: &str) -> Result<&Application, LookupError> {
        let known = || {
            self.applications
                .iter()
                .map(|application| application.name.clone())
                .collect()
        };
        let found = self
            .applications
            .iter()
            .find(|application| application.name == name);
        found.ok_or_else(|| LookupError::Application {
            name: name.to_owned(),
            known: known(),
        })
    }
}

impl Cloud {
    /// The flavour of this name.
    ///
    /// # Errors
    /// When the cloud has none.
    pub fn flavour(&self, name: &str) -> Result<&Flavour, LookupError> {
        let known = || {
            self.flavours
                .iter()
                .map(|flavour| flavour.name.to_string())
                .collect()
        };
        let found = self
            .flavours
            .iter()
            .find(|flavour| flavour.name.as_str() == name);
        found.ok_or_else(|| LookupError::Flavour {
            cloud: self.name.to_string(),
            name: name.to_owned(),
            known: known(),
        })
    }
}
