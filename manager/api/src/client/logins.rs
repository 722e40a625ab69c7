//! Calls about logins to external registries, and about access to the cluster's own.

use super::{Client, ClientError};
use crate::{AccessRequest, AccessView, LoginRequest, LoginView};
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

    /// Requests a certificate with which a program reads the cluster's own registry.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn registry_access(
        &self,
        request: &AccessRequest,
    ) -> Result<AccessView, ClientError> {
        let path = ["v1", "registry", "access"];
        self.ask(Method::POST, &path, &[], Some(request)).await
    }
}
