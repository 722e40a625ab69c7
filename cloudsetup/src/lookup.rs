//! Looking things of `cloudsetup.xml` up by name; what is not there is answered with what is.

use crate::setup::{Application, Cloud, CloudSetup, Flavour};

/// A name that `cloudsetup.xml` does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(String);

impl CloudSetup {
    /// The cloud of this name.
    ///
    /// # Errors
    /// Lists what there is.
    pub fn cloud(&self, name: &str) -> Result<&Cloud, LookupError> {
        self.clouds.iter().find(|it| it.name.as_str() == name).ok_or_else(|| LookupError(format!("no cloud `{name}`")))
    }
    /// The application of this name.
    ///
    /// # Errors
    /// Lists what there is.
    pub fn application(&self, name: &str) -> Result<&Application, LookupError> {
        self.applications.iter().find(|it| it.name == name).ok_or_else(|| LookupError(format!("no application `{name}`")))
    }
}
impl Cloud {
    /// The flavour of this name.
    ///
    /// # Errors
    /// Lists what there is.
    pub fn flavour(&self, name: &str) -> Result<&Flavour, LookupError> {
        self.flavours.iter().find(|it| it.name.as_str() == name).ok_or_else(|| LookupError(format!("no flavour `{name}`")))
    }
}
