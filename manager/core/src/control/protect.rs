//! Protection: machines that only a person returns, and containers that only a person moves or
//! stops.

use super::{Core, Reply, draining::Cancelled};
use micado_api::{ContainerName, ErrorBody, ErrorCode, InstanceId};

impl Core {
    /// Protects an instance by its tag, a container or the containers of a service; or ends that.
    pub(super) fn protect(&mut self, name: &str, protected: bool) -> Result<Reply, ErrorBody> {
        if let Ok(names) = self.containers_named(name) {
            for name in names {
                self.protect_container(&name, protected);
            }
            return Ok(Reply::Recorded);
        }
        let Some(id) = self.tagged(name).map(|instance| instance.id.clone()) else {
            return Err(ErrorBody::new(
                ErrorCode::NotFound,
                format!("no container, service or instance `{name}`"),
            )
            .hint("`micado list --all` shows all names"));
        };
        self.protect_instance(&id, protected);
        Ok(Reply::Recorded)
    }

    fn protect_container(&mut self, name: &ContainerName, protected: bool) {
        let changed = self.ledger.edit_container(name, |container| {
            std::mem::replace(&mut container.protected, protected) != protected
        });
        if changed != Some(true) {
            return;
        }
        self.decide(Some(name), None, text(name.as_str(), protected));
        let machine = self.placed(name).map(|(_, copy)| copy.instance.clone());
        if let Some(id) = machine.filter(|id| protected && self.can_stay(id)) {
            self.cancel_drain(&id, &Cancelled::Protected(name.to_string()));
        }
    }

    fn protect_instance(&mut self, id: &InstanceId, protected: bool) {
        let changed = self.ledger.edit_instance(id, |instance| {
            let changed = std::mem::replace(&mut instance.protected, protected) != protected;
            changed.then(|| instance.tag.to_string())
        });
        let Some(tag) = changed.flatten() else {
            return;
        };
        self.decide(None, Some(id), text(&tag, protected));
        if protected && self.can_stay(id) {
            self.cancel_drain(id, &Cancelled::Protected(tag));
        }
    }
}

fn text(name: &str, protected: bool) -> String {
    let how = match protected {
        true => "protected: `protect`",
        false => "not protected any more: `protect --off`",
    };
    format!("{name} is {how}")
}
