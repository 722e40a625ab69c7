//! Calls about entries of the service catalogue that are made by hand.

use super::{Client, ClientError};
use crate::{RegisterRequest, RegistrationView};
use reqwest::Method;

impl Client {
    /// All entries of the service catalogue that were made by hand, by id.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn registrations(&self) -> Result<Vec<RegistrationView>, ClientError> {
        self.get(&["v1", "registrations"], &[]).await
    }

    /// Makes an entry, or replaces the one with this id; returns all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn register(
        &self,
        id: &str,
        request: &RegisterRequest,
    ) -> Result<Vec<RegistrationView>, ClientError> {
        let path = ["v1", "registrations", id];
        self.ask(Method::PUT, &path, &[], Some(request)).await
    }

    /// Removes an entry; returns the others.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn deregister(&self, id: &str) -> Result<Vec<RegistrationView>, ClientError> {
        let path = ["v1", "registrations", id];
        self.ask(Method::DELETE, &path, &[], None::<&()>).await
    }
}
