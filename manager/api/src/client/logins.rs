//! Calls about logins to external registries.

use super::{Client, ClientError};
use crate::{LoginRequest, LoginView};
use reqwest::Method;

impl Client {
    /// All logins to external registries, by host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn logins(&self) -> Result<Vec<LoginView>, ClientError> {
        self.get(&["v1", "registries"], &[]).await
    }

    /// Keeps a login to a registry, or replaces the one to this host; returns all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn log_in(
        &self,
        host: &str,
        request: &LoginRequest,
    ) -> Result<Vec<LoginView>, ClientError> {
        let path = ["v1", "registries", host];
        self.ask(Method::PUT, &path, &[], Some(request)).await
    }

    /// Removes the login to a registry; returns the others.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn log_out(&self, host: &str) -> Result<Vec<LoginView>, ClientError> {
        let path = ["v1", "registries", host];
        self.ask(Method::DELETE, &path, &[], None::<&()>).await
    }
}
