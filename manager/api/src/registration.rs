//! Entries of the service catalogue that are made by hand.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An entry of the service catalogue, to be made by hand: something that no container of this
/// cluster serves, such as a database on another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegisterRequest {
    /// Name that it is found by: 1 to 128 letters, digits, `-`, `_` and `.`.
    pub service: String,
    /// Its host name or address.
    pub address: String,
    /// Its port.
    #[schema(minimum = 1)]
    pub port: u16,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its metadata.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
}

/// An entry of the service catalogue that was made by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistrationView {
    /// Its id.
    pub id: String,
    /// Name that it is found by.
    pub service: String,
    /// Its host name or address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its metadata.
    pub meta: BTreeMap<String, String>,
    /// Time of its last change.
    pub since: Timestamp,
}
