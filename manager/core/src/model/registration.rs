//! An entry of the service catalogue that was made by hand. It stays until it is removed by hand.

use micado_api::{RegisterRequest, RegistrationView, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An entry of the service catalogue that was made by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub id: String,
    /// Name that it is found by.
    pub service: String,
    /// Host name or address.
    pub address: String,
    pub port: u16,
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Time of its last registration.
    pub since: Timestamp,
}

impl Registration {
    /// The entry of a request.
    #[must_use]
    pub fn new(id: String, request: RegisterRequest, now: Timestamp) -> Self {
        Self {
            id,
            service: request.service,
            address: request.address,
            port: request.port,
            tags: request.tags,
            meta: request.meta,
            since: now,
        }
    }

    /// The entry as the API shows it.
    #[must_use]
    pub fn view(&self) -> RegistrationView {
        RegistrationView {
            id: self.id.clone(),
            service: self.service.clone(),
            address: self.address.clone(),
            port: self.port,
            tags: self.tags.clone(),
            meta: self.meta.clone(),
            since: self.since,
        }
    }
}
