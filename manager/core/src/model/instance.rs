//! One rented machine, from the wish to rent it until it is given back.

use micado_api::{
    CloudName, FlavourName, InstanceId, InstanceState, Location, Origin, Platform, PricePerHour,
    Resources, Tag, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One rented machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique for ever.
    pub id: InstanceId,
    /// What people call it; unique among instances that are neither gone nor failed.
    pub tag: Tag,
    /// Where it is rented.
    pub cloud: CloudName,
    /// The application of `cloudsetup.xml` it runs.
    pub application: String,
    /// Its size's name.
    pub flavour: FlavourName,
    /// Its role.
    pub location: Location,
    /// What the flavour promises, before the system reserve. The node's own figures replace it once
    /// it has joined.
    pub size: Resources,
    /// Operating system and processor; `None` until it has joined.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// What it costs.
    pub price: PricePerHour,
    /// How far it is.
    pub state: InstanceState,
    /// Who wanted it.
    pub origin: Origin,
    /// Files a person gave to `start`, name to content.
    #[serde(with = "files")]
    pub files: BTreeMap<String, Vec<u8>>,
    /// Why it is in its state, where that needs saying: the broker's words, the deadline that
    /// passed.
    pub reason: Option<String>,
    /// The broker confirmed that no machine is left (or none was ever made).
    pub released: bool,
    /// Its address, once known.
    pub address: Option<String>,
    /// The broker's id of it, once known.
    pub broker_id: Option<String>,
    /// Its Swarm node, once joined.
    pub node: Option<String>,
    /// Give back even what holds volumes or cannot be moved (`stop --force`).
    pub force: bool,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When the present state began.
    pub state_since: Timestamp,
    /// When its node was first ready.
    pub joined_at: Option<Timestamp>,
    /// The key that its credential was first used with, and no other can be; `None` before.
    pub joining: Option<Trade>,
}

/// The trade of a machine's credential for what it needs to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The hash of the machine's own public key, in hexadecimal digits.
    pub key: String,
    /// When it was last made.
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
    /// A machine that is wanted and not asked for yet: nothing is known of it but who wants it and
    /// where.
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
            created_at: now,
            state_since: now,
            joined_at: None,
            joining: None,
        }
    }

    /// Whether a machine may exist for it: rented, being rented or not surely given back. These
    /// count against the limits.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.released
    }

    /// Whether containers may be assigned to it, now or once it is up.
    #[must_use]
    pub fn accepts_work(&self) -> bool {
        self.is_arriving() || self.state == InstanceState::Active
    }

    /// Whether it is on its way and not in the Swarm yet.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        use InstanceState::{Booting, Requested, Submitted};
        matches!(self.state, Requested | Submitted | Booting)
    }
}
