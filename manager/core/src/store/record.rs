//! Records: their kinds, keys and encoding, the same for every store.

use crate::model::{
    Container, Decision, Image, Instance, Login, Registration, Service, ServicePolicy, Setting,
};
use micado_api::{ContainerName, InstanceId, ServiceName};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Error;
use std::hash::Hash;

/// A kind of record, with a table or collection of its own. All kinds are in the list below.
pub trait Kind: Clone + PartialEq + Serialize + DeserializeOwned {
    /// Identifies a record among those of its kind.
    type Id: Id;
    /// Name of its table or collection.
    const NAME: &'static str;

    /// Identifies this record.
    fn id(&self) -> Self::Id;
    /// Key of the record with this id.
    fn key(id: Self::Id) -> Key;
    /// The record as one of any kind.
    fn into_record(self) -> Record;
    /// The record as one of this kind.
    ///
    /// # Errors
    /// Returns a record of another kind unchanged.
    #[allow(
        clippy::result_large_err,
        reason = "a record of another kind is handed back whole"
    )]
    fn from_record(record: Record) -> Result<Self, Record>;
}

/// An id, which has a text in every store.
pub trait Id: Ord + Hash + Clone {
    /// Text of the id. Numbers are padded with zeros, so that texts sort as the numbers do.
    fn text(&self) -> String;
}

impl Id for u64 {
    fn text(&self) -> String {
        format!("{self:020}")
    }
}

macro_rules! text_ids {
    ($($id:ty),+) => {
        $(impl Id for $id {
            fn text(&self) -> String {
                self.to_string()
            }
        })+
    };
}
text_ids!(ContainerName, InstanceId, ServiceName, String);

macro_rules! kinds {
    ($($kind:ident as $name:literal by $field:ident: $id:ty;)+) => {
        /// Names of all kinds.
        pub const KINDS: [&str; [$($name,)+].len()] = [$($name,)+];

        /// Identifies a record.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key {
            $($kind($id),)+
        }

        /// A record of any kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(
            clippy::large_enum_variant,
            reason = "services are the largest and the rarest, and all are moved a few times only"
        )]
        pub enum Record {
            $($kind($kind),)+
        }

        impl Key {
            /// Table or collection of the record, one of [`KINDS`].
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)+
                }
            }

            /// Text of the id, unique within the kind.
            #[must_use]
            pub fn id(&self) -> String {
                match self {
                    $(Self::$kind(id) => id.text(),)+
                }
            }
        }

        impl Record {
            /// Key of this record.
            #[must_use]
            pub fn key(&self) -> Key {
                match self {
                    $(Self::$kind(record) => Key::$kind(record.id()),)+
                }
            }

            /// Encodes the record as JSON.
            ///
            /// # Errors
            /// If the record has no JSON form.
            pub fn encode(&self) -> Result<Vec<u8>, Error> {
                match self {
                    $(Self::$kind(record) => serde_json::to_vec(record),)+
                }
            }

            /// Decodes the record of this kind from its JSON.
            ///
            /// # Errors
            /// If the JSON is no such record, or the kind is unknown.
            pub fn decode(kind: &str, json: &[u8]) -> Result<Self, Error> {
                match kind {
                    $($name => serde_json::from_slice(json).map(Self::$kind),)+
                    unknown => Err(serde::de::Error::custom(format!(
                        "`{unknown}` is no kind of record"
                    ))),
                }
            }
        }

        $(impl Kind for $kind {
            type Id = $id;
            const NAME: &'static str = $name;

            fn id(&self) -> $id {
                self.$field.clone()
            }
            fn key(id: $id) -> Key {
                Key::$kind(id)
            }
            fn into_record(self) -> Record {
                Record::$kind(self)
            }
            fn from_record(record: Record) -> Result<Self, Record> {
                match record {
                    Record::$kind(record) => Ok(record),
                    other => Err(other),
                }
            }
        })+
    };
}

// A new kind is a line here. The first three names are those that MiCADO uses.
kinds! {
    Container as "container" by name: ContainerName;
    Instance as "instance" by id: InstanceId;
    Image as "imagecontainer" by name: String;
    Service as "service" by name: ServiceName;
    ServicePolicy as "policy" by service: ServiceName;
    Decision as "decision" by sequence: u64;
    Setting as "setting" by name: String;
    Registration as "registration" by id: String;
    Login as "login" by host: String;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::take;
    use micado_api::{CloudName, FlavourName, Origin, Tag, Timestamp};

    fn instance() -> Instance {
        let files = [("a.bin", vec![0, 1, 254, 255]), ("empty", vec![])];
        Instance {
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
        }
    }

    fn decision(sequence: u64) -> Decision {
        Decision {
            others: Vec::new(),
            sequence,
            at: Timestamp(1),
            container: None,
            instance: None,
            service: None,
            text: String::new(),
        }
    }

    #[test]
    fn files_are_written_as_base64() {
        let record = instance().into_record();
        let json = record.encode().expect("JSON");
        let text = String::from_utf8_lossy(&json);
        assert!(
            text.contains(r#""files":{"a.bin":"AAH+/w==","empty":""}"#),
            "{text}"
        );
        let key = record.key();
        assert_eq!(
            Record::decode(key.kind(), &json).expect("a good record"),
            record
        );
    }

    #[test]
    fn texts_of_numbers_sort_as_the_numbers_do() {
        let texts = [9, 10, u64::MAX].map(|sequence| Decision::key(sequence).id());
        assert!(texts.is_sorted(), "{texts:?}");
    }

    #[test]
    fn records_of_a_kind_are_taken_and_others_stay() {
        let mut contents = vec![
            (decision(1).into_record(), 3),
            (instance().into_record(), 1),
            (decision(2).into_record(), 4),
        ];
        let decisions: Vec<(Decision, _)> = take(&mut contents);
        assert_eq!(decisions, [(decision(1), 3), (decision(2), 4)]);
        assert_eq!(contents, [(instance().into_record(), 1)]);
    }
}
