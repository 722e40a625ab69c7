//! Logins to external registries, by which the manager's engine pulls private images.

use super::{CallKey, Core, Reply};
use crate::model::{Login, Secret, login_host, registry_host};
use micado_api::{ErrorBody, ErrorCode, LoginView, ServiceName, Timestamp};

/// Upper bound for logins.
const MOST: usize = 1000;

impl Core {
    /// Adds a login, or replaces the one to this host. Failed pulls from there are tried at once.
    pub(super) fn log_in(
        &mut self,
        host: &str,
        user: String,
        secret: Secret,
    ) -> Result<Reply, ErrorBody> {
        let host = login_host(host);
        let logins = &mut self.ledger.logins;
        if logins.get(&host).is_none() && logins.len() >= MOST {
            let message = format!("there are {MOST} logins to registries already");
            return Err(ErrorBody::new(ErrorCode::Conflict, message)
                .hint("`micado registry logout HOST` removes one"));
        }
        logins.insert(Login {
            host: host.clone(),
            user,
            secret,
            since: self.now,
        });
        let failed = self.copies.push_errors.keys();
        let failed = failed.filter_map(|name| self.ledger.service(name));
        let from_there =
            failed.filter(|service| login_host(registry_host(&service.spec.image)) == host);
        let from_there = from_there.map(|service| (service.name.clone(), service.created_at));
        for (service, made) in from_there.collect::<Vec<_>>() {
            self.retry_push(&service, made);
        }
        Ok(Reply::Recorded)
    }

    /// Removes a login.
    pub(super) fn log_out(&mut self, host: &str) -> Result<Reply, ErrorBody> {
        let host = login_host(host);
        if self.ledger.logins.remove(&host).is_some() {
            return Ok(Reply::Recorded);
        }
        let others: Vec<_> = self.ledger.logins.keys().cloned().collect();
        let hint = match others.is_empty() {
            true => "there are no logins".to_owned(),
            false => format!("there are logins to {}", others.join(", ")),
        };
        let message = format!("there is no login to registry `{host}`");
        Err(ErrorBody::new(ErrorCode::NotFound, message).hint(hint))
    }

    /// All logins, by host.
    #[must_use]
    pub fn logins(&self) -> Vec<LoginView> {
        self.ledger.logins.values().map(Login::view).collect()
    }

    /// All logins with their secrets, by host.
    #[must_use]
    pub fn secret_logins(&self) -> Vec<Login> {
        self.ledger.logins.values().cloned().collect()
    }

    /// The login to the registry of an image.
    #[must_use]
    pub fn login_for(&self, image: &str) -> Option<&Login> {
        self.ledger.logins.get(&login_host(registry_host(image)))
    }

    /// The same, as calls carry it.
    pub(super) fn boxed_login(&self, image: &str) -> Option<Box<Login>> {
        self.login_for(image).cloned().map(Box::new)
    }

    /// Allows an immediate repetition of a failed push of a service's image.
    pub(super) fn retry_push(&mut self, service: &ServiceName, made: Timestamp) {
        if self.calls.forgive(&CallKey::Image(service.clone(), made)) {
            let waiting = self.ledger.index.of_service(service).cloned();
            self.ledger.dirty.containers.extend(waiting);
        }
    }
}
