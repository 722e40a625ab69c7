//! Swarm services that someone else changed. Their spec is compared with the one first seen: the
//! engine completes a spec that it is sent, so what it shows differs from what was sent.

use bollard::models::{Service, ServiceSpec};
use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
};

/// Specs of the Swarm's services as first seen, or as last set back.
#[derive(Debug, Default)]
pub(super) struct Specs(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    /// Version of the service when it was last looked at. It rises with every change, also with
    /// those of the engine itself.
    version: u64,
    /// Digest of the spec that the service is to have.
    digest: u64,
    edited: bool,
}

impl Specs {
    /// Returns true if someone else changed a service since it was first seen. Copies other than
    /// one are never ours.
    pub(super) fn is_edited(&self, service: &Service) -> bool {
        let (Some(id), Some(spec)) = (&service.id, &service.spec) else {
            return false;
        };
        let version = version(service);
        let mut specs = self.lock();
        let known = specs.get(id).copied();
        if let Some(known) = known.filter(|known| known.version == version) {
            return known.edited;
        }
        let digest = digest(spec);
        let wanted = known.map_or(digest, |known| known.digest);
        let edited = digest != wanted || !has_one_copy(spec);
        let now = Known {
            version,
            digest: wanted,
            edited,
        };
        specs.insert(id.clone(), now);
        edited
    }

    /// Notes that a service is as it is to be.
    pub(super) fn set_back(&self, service: &Service) {
        if let (Some(id), Some(spec)) = (&service.id, &service.spec) {
            let known = Known {
                version: version(service),
                digest: digest(spec),
                edited: false,
            };
            self.lock().insert(id.clone(), known);
        }
    }

    /// Forgets services that are not among all.
    pub(super) fn keep(&self, all: &BTreeSet<&str>) {
        self.lock().retain(|id, _| all.contains(id.as_str()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

/// Version of a service, as an update must name it.
pub(super) fn version(service: &Service) -> u64 {
    let version = service.version.as_ref();
    version
        .and_then(|version| version.index)
        .unwrap_or_default()
}

fn has_one_copy(spec: &ServiceSpec) -> bool {
    let mode = spec.mode.as_ref();
    let replicated = mode.and_then(|mode| mode.replicated.as_ref());
    replicated.is_some_and(|replicated| replicated.replicas == Some(1))
}

/// Digest of a spec, by a form in which maps have an order.
fn digest(spec: &ServiceSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Ok(value) = serde_json::to_value(spec) {
        hash(&value, &mut hasher);
    }
    hasher.finish()
}

fn hash(value: &serde_json::Value, hasher: &mut DefaultHasher) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            fields.len().hash(hasher);
            for (name, value) in fields {
                name.hash(hasher);
                hash(value, hasher);
            }
        }
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash(item, hasher));
        }
        other => other.to_string().hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(version: u64, copies: u64, labels: serde_json::Value) -> Service {
        let service = json!({"ID": "s1", "Version": {"Index": version}, "Spec": {
            "Name": "c-web", "Labels": labels, "Mode": {"Replicated": {"Replicas": copies}},
        }});
        serde_json::from_value(service).expect("what an engine answers")
    }

    #[test]
    fn a_change_by_the_engine_itself_is_none() {
        let specs = Specs::default();
        let labels = || json!({"a": "1", "b": "2", "c": "3"});
        assert!(!specs.is_edited(&service(1, 1, labels())));
        assert!(!specs.is_edited(&service(2, 1, labels())));
    }

    #[test]
    fn a_changed_spec_is_edited_until_it_is_set_back() {
        let specs = Specs::default();
        let made = service(1, 1, json!({"a": "1"}));
        assert!(!specs.is_edited(&made));
        for edited in [
            service(2, 1, json!({"a": "2"})),
            service(2, 1, json!({"a": "2"})),
            service(3, 3, json!({"a": "1"})),
            service(4, 0, json!({"a": "1"})),
        ] {
            assert!(specs.is_edited(&edited), "{edited:?}");
        }
        assert!(!specs.is_edited(&service(5, 1, json!({"a": "1"}))));
        specs.is_edited(&service(6, 1, json!({"a": "2"})));
        specs.set_back(&service(
            7,
            1,
            json!({"a": "1", "new": "of a newer micado"}),
        ));
        assert!(!specs.is_edited(&service(
            8,
            1,
            json!({"a": "1", "new": "of a newer micado"})
        )));
        assert!(specs.is_edited(&service(9, 1, json!({"a": "1"}))));
    }

    #[test]
    fn a_service_first_seen_with_other_copies_than_one_is_edited() {
        let specs = Specs::default();
        assert!(specs.is_edited(&service(1, 3, json!({}))));
        assert!(specs.is_edited(&service(1, 3, json!({}))));
        specs.keep(&BTreeSet::new());
        assert!(!specs.is_edited(&service(2, 1, json!({}))));
    }
}
