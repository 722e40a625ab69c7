//! Look-ups in `cloudsetup.xml` by the names that a person typed.

use crate::{Application, Cloud, CloudSetup, Flavour};

/// A name that the file lacks; the message lists the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No cloud of this name.
    #[error("there is no cloud `{name}` (there {})", listed("are", .known))]
    Cloud {
        /// The requested name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
    /// The cloud has no flavour of this name.
    #[error("cloud `{cloud}` has no flavour `{name}` (it {})", listed("has", .known))]
    Flavour {
        /// The cloud searched.
        cloud: String,
        /// The requested name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
    /// No application of this name.
    #[error("there is no application `{name}` (there {})", listed("are", .known))]
    Application {
        /// The requested name.
        name: String,
        /// The known names.
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
    /// If there is none.
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
    /// If there is none.
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
    /// If the cloud has none.
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
