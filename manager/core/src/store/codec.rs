//! How records are written down: the kind and id that a key has in any store, and JSON for the
//! rest.

use super::{Key, Record};
use serde::de::DeserializeOwned;
use serde_json::Error;

/// The kinds of record; each has a table or collection of this name. The first three are MiCADO's
/// own names.
pub const KINDS: [&str; 6] = [
    "container",
    "instance",
    "imagecontainer",
    "service",
    "decision",
    "setting",
];

impl Key {
    /// The table or collection it lives in, one of [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Container(_) => "container",
            Self::Instance(_) => "instance",
            Self::Service(_) => "service",
            Self::Image(_) => "imagecontainer",
            Self::Decision(_) => "decision",
            Self::Setting(_) => "setting",
        }
    }

    /// What it is called there. Decisions are padded with zeros, so that their order is that of the
    /// text.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Container(name) => name.to_string(),
            Self::Instance(id) => id.to_string(),
            Self::Service(name) => name.to_string(),
            Self::Image(name) => name.clone(),
            Self::Decision(sequence) => format!("{sequence:020}"),
            Self::Setting(name) => name.clone(),
        }
    }
}

impl Record {
    /// The record as JSON, without what its kind and id already say.
    ///
    /// # Errors
    /// When it cannot be put into JSON.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Container(it) => serde_json::to_vec(it),
            Self::Instance(it) => serde_json::to_vec(it),
            Self::Service(it) => serde_json::to_vec(it),
            Self::Image(it) => serde_json::to_vec(it),
            Self::Decision(it) => serde_json::to_vec(it),
            Self::Setting(_, value) => serde_json::to_vec(value),
        }
    }

    /// The record of this kind and id from its JSON.
    ///
    /// # Errors
    /// When the JSON is no such record. An unknown kind is an error too.
    pub fn decode(kind: &str, id: &str, json: &[u8]) -> Result<Self, Error> {
        fn read<T: DeserializeOwned>(json: &[u8], wrap: fn(T) -> Record) -> Result<Record, Error> {
            serde_json::from_slice(json).map(wrap)
        }
        match kind {
            "container" => read(json, Self::Container),
            "instance" => read(json, Self::Instance),
            "service" => read(json, Self::Service),
            "imagecontainer" => read(json, Self::Image),
            "decision" => read(json, Self::Decision),
            "setting" => {
                serde_json::from_slice(json).map(|value| Self::Setting(id.to_owned(), value))
            }
            unknown => Err(serde::de::Error::custom(format!(
                "`{unknown}` is no kind of record"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instance;
    use micado_api::{CloudName, FlavourName, InstanceId, Origin, Tag, Timestamp};

    #[test]
    fn the_files_of_an_instance_are_written_as_base64() {
        let files = [("a.bin", vec![0, 1, 254, 255]), ("empty", vec![])];
        let record = Record::Instance(Instance {
            files: files
                .map(|(name, content)| (name.to_owned(), content))
                .into(),
            ..Instance::new(
                InstanceId::trusted("0123abcd"),
                Tag::trusted("application01"),
                CloudName::trusted("local"),
                FlavourName::trusted("small"),
                Origin::Planner,
                Timestamp(1),
            )
        });
        let json = record.encode().expect("JSON");
        let text = String::from_utf8_lossy(&json);
        assert!(
            text.contains(r#""files":{"a.bin":"AAH+/w==","empty":""}"#),
            "{text}"
        );
        assert_eq!(
            Record::decode("instance", "0123abcd", &json).expect("a good record"),
            record
        );
    }
}
