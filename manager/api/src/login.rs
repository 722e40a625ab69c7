//! Logins to external registries, and access to the cluster's own.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A login to an external registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LoginRequest {
    /// The user.
    #[schema(min_length = 1, max_length = 255)]
    pub user: String,
    /// The user's password, or an access token in place of it.
    #[schema(min_length = 1, max_length = 16384, format = Password)]
    pub password: String,
    /// Keep it only if the registry accepts it.
    #[serde(default = "checked")]
    pub check: bool,
}

fn checked() -> bool {
    true
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("user", &self.user)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}

/// A login to an external registry, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LoginView {
    /// The registry, as `HOST[:PORT]`.
    pub host: String,
    /// The user.
    pub user: String,
    /// Time of its last change.
    pub since: Timestamp,
}

/// A request for access to the cluster's own registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccessRequest {
    /// A certificate request (PKCS#10, PEM). Its key stays with the reader.
    #[schema(max_length = 16384)]
    pub csr: String,
}

/// Access to the cluster's own registry, to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AccessView {
    /// `HOST:PORT`, as in the names of images.
    pub host: String,
    /// The authority of the registry's certificate, PEM.
    pub authority: String,
    /// The client certificate to present, PEM.
    pub certificate: String,
    /// End of its validity.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown_and_the_login_is_checked() {
        let text = r#"{"user": "alice", "password": "hunter2"}"#;
        let request: LoginRequest = serde_json::from_str(text).expect("a request");
        assert!(request.check);
        let shown = format!("{request:?}");
        assert!(
            shown.contains("alice") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
