//! One rented machine, from the request to its return.

use super::{BegunBy, Drain};
use micado_api::{
    CloudName, ContainerName, FlavourName, InstanceId, InstanceState, Location, Origin, Platform,
    PricePerHour, Resources, Tag, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One rented machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Never used twice.
    pub id: InstanceId,
    /// Name for people; unique among instances that are neither gone nor failed.
    pub tag: Tag,
    pub cloud: CloudName,
    /// Application of `cloudsetup.xml` that it runs.
    pub application: String,
    pub flavour: FlavourName,
    /// Role.
    pub location: Location,
    /// Size by the flavour, before the system reserve. Replaced by what the node reports once it
    /// has joined.
    pub size: Resources,
    /// Operating system and processor; `None` until it has joined.
    #[serde(default)]
    pub platform: Option<Platform>,
    pub price: PricePerHour,
    pub state: InstanceState,
    /// Source of the request for it.
    pub origin: Origin,
    /// Files that a person passed to `start`: name to content.
    #[serde(with = "files")]
    pub files: BTreeMap<String, Vec<u8>>,
    /// Reason for its state, where one is needed: the broker's message, the deadline that passed.
    pub reason: Option<String>,
    /// The broker confirmed that no machine is left, or none was ever made.
    pub released: bool,
    /// Address, once known.
    pub address: Option<String>,
    /// The broker's id, once known.
    pub broker_id: Option<String>,
    /// Swarm node, once joined.
    pub node: Option<String>,
    /// Return the machine even if it holds volumes or containers that cannot move (`stop --force`).
    pub force: bool,
    /// Its last drain, until it is in use again.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Machines that cost more, whose place it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<InstanceId>,
    /// Only a person returns it (`protect`).
    #[serde(default)]
    pub protected: bool,
    /// A container has run on it.
    #[serde(default)]
    pub worked: bool,
    /// Named volumes on it, by the engine's names. They outlive their containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, HeldVolume>,
    pub created_at: Timestamp,
    /// Begin of the present state.
    pub state_since: Timestamp,
    /// Time at which its node was first ready.
    pub joined_at: Option<Timestamp>,
    /// Key that its credential was first used with and is bound to; `None` before.
    pub joining: Option<Trade>,
}

/// A named volume on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldVolume {
    /// Name that a person gave it.
    pub name: String,
    /// The last container that mounted it.
    pub container: ContainerName,
}

/// Exchange of a machine's credential for the data that it needs to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Hash of the machine's own public key, in hexadecimal digits.
    pub key: String,
    /// Time of the last exchange.
    pub at: Timestamp,
}

/// Contents as base64: a third larger than the content, where a JSON array of numbers is four times
/// as large.
mod files {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(
        files: &BTreeMap<String, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            files
                .iter()
                .map(|(name, content)| (name, BASE64_STANDARD.encode(content))),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let files = BTreeMap::<String, String>::deserialize(deserializer)?;
        let decode = |(name, text)| {
            let content = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
            Ok((name, content))
        };
        files.into_iter().map(decode).collect()
    }
}

impl Instance {
    /// A wanted machine that was not ordered yet: only its origin and cloud are known.
    #[must_use]
    pub fn new(
        id: InstanceId,
        tag: Tag,
        cloud: CloudName,
        flavour: FlavourName,
        origin: Origin,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            tag,
            cloud,
            application: String::new(),
            flavour,
            location: Location::default(),
            size: Resources::default(),
            platform: None,
            price: PricePerHour(0),
            state: InstanceState::Requested,
            origin,
            files: BTreeMap::new(),
            reason: None,
            released: false,
            address: None,
            broker_id: None,
            node: None,
            force: false,
            drain: None,
            replaces: Vec::new(),
            protected: false,
            worked: false,
            volumes: BTreeMap::new(),
            created_at: now,
            state_since: now,
            joined_at: None,
            joining: None,
        }
    }

    /// Returns true if a machine may exist: rented, being rented, or not surely returned. Such
    /// instances count against the limits.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.released
    }

    /// Returns true if containers may be assigned to it, now or once it is up.
    #[must_use]
    pub fn accepts_work(&self) -> bool {
        self.is_arriving() || self.state == InstanceState::Active
    }

    /// Returns true while the manager drains it, or returns it after such a drain, without a person.
    #[must_use]
    pub fn goes_by_itself(&self) -> bool {
        let drain = self.drain.as_ref();
        matches!(
            self.state,
            InstanceState::Draining | InstanceState::Stopping
        ) && drain.is_some_and(|drain| drain.begun_by == BegunBy::Manager)
    }

    /// Returns true while a drain can be cancelled: the manager began it.
    #[must_use]
    pub fn can_stay(&self) -> bool {
        self.state == InstanceState::Draining && self.goes_by_itself()
    }

    /// Returns true while it is expected and not in the Swarm yet.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        use InstanceState::{Booting, Requested, Submitted};
        matches!(self.state, Requested | Submitted | Booting)
    }
}
