//! Entries of the service catalogue that are made by hand, and the reserve of its index.

use super::{Core, Reply};
use crate::model::{Registration, Setting};
use micado_api::{ErrorBody, ErrorCode, RegisterRequest, RegistrationView};

/// Setting with an index above all that were given.
const INDEX: &str = "catalogue-index";

/// Upper bound for entries made by hand.
const MOST: usize = 10_000;

impl Core {
    /// Makes an entry, or replaces the one with this id.
    pub(super) fn register(
        &mut self,
        id: String,
        request: RegisterRequest,
    ) -> Result<Reply, ErrorBody> {
        let registrations = &mut self.ledger.registrations;
        let before = registrations.get(&id);
        if before.is_none() && registrations.len() >= MOST {
            let message = format!("there are {MOST} entries made by hand already");
            return Err(ErrorBody::new(ErrorCode::Conflict, message));
        }
        let mut registration = Registration::new(id.clone(), request, self.now);
        if let Some(before) = before {
            let since = std::mem::replace(&mut registration.since, before.since);
            if registration != *before {
                registration.since = since;
            }
        }
        registrations.insert(registration);
        self.note_registration(id);
        Ok(Reply::Recorded)
    }

    /// Removes an entry.
    pub(super) fn deregister(&mut self, id: &String) -> Result<Reply, ErrorBody> {
        if self.ledger.registrations.remove(id).is_none() {
            let message = format!("no entry `{id}` was made by hand");
            return Err(ErrorBody::new(ErrorCode::NotFound, message)
                .hint("`micado service list` shows those that were"));
        }
        self.note_registration(id.clone());
        Ok(Reply::Recorded)
    }

    /// Keeps an index of the catalogue: the next manager begins above it.
    pub(super) fn reserve_index(&mut self, index: u64) -> Reply {
        if index > self.reserved_index() {
            let setting = Setting::new(INDEX, index.to_string());
            self.ledger.settings.insert(setting);
        }
        Reply::Recorded
    }

    /// Index that no index of the catalogue is above.
    #[must_use]
    pub fn reserved_index(&self) -> u64 {
        let setting = self.ledger.settings.get(INDEX);
        setting
            .and_then(|setting| setting.value.parse().ok())
            .unwrap_or_default()
    }

    /// Entries made by hand, by id.
    #[must_use]
    pub fn registrations(&self) -> Vec<RegistrationView> {
        let registrations = self.ledger.registrations.values();
        registrations.map(Registration::view).collect()
    }

    /// The entry with this id that was made by hand.
    #[must_use]
    pub fn registration(&self, id: &str) -> Option<&Registration> {
        self.ledger.registrations.get(id)
    }

    /// Ids of the entries made by hand.
    pub fn registration_ids(&self) -> impl Iterator<Item = &String> {
        self.ledger.registrations.keys()
    }
}
