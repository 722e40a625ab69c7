//! A record as a document: the sealed record and its version, and fields for people to read.

use super::{Inner, KeyFile, StoreError};
use crate::{
    model::Service,
    store::{Change, KINDS, Key, Record, Version},
};
use ::mongodb::bson::{Binary, Bson, DateTime, Document, doc, spec::BinarySubtype};
use micado_api::{Critical, MemoryBytes, NanoCpus, PricePerHour, Timestamp};
use std::fmt::Display;

/// Upper bounds for statements and bytes of one command: the server accepts 100,000 and 16 MiB.
pub(super) const STATEMENTS: usize = 1000;
pub(super) const BYTES: usize = 4 << 20;

/// Expected versions of a commit's records in one collection: id, version, key.
pub(super) struct Expected {
    pub(super) kind: &'static str,
    pub(super) records: Vec<(String, Version, Key)>,
}

/// The changes of a commit, which can be sent repeatedly.
pub(super) struct Batch {
    pub(super) expected: Vec<Expected>,
    pub(super) commands: Vec<Document>,
}

impl Batch {
    /// # Errors
    /// `Failed` if a record is under a key that is not its own, or cannot be encoded.
    pub(super) fn new(keys: &KeyFile, changes: &[Change]) -> Result<Self, StoreError> {
        let (mut expected, mut commands) = (Vec::new(), Vec::new());
        for kind in KINDS {
            let here = || {
                changes
                    .iter()
                    .filter(move |change| change.key.kind() == kind)
            };
            let records: Vec<_> = here()
                .map(|change| (change.key.id(), change.expected, change.key.clone()))
                .collect();
            if records.is_empty() {
                continue;
            }
            expected.push(Expected { kind, records });
            for change in here() {
                for command in commands_of(keys, change)? {
                    add(&mut commands, command);
                }
            }
        }
        Ok(Self {
            expected,
            commands: commands.into_iter().map(Command::document).collect(),
        })
    }
}

/// One command to the server.
struct Command {
    kind: &'static str,
    /// `update` or `delete`.
    verb: &'static str,
    statements: Vec<Bson>,
    /// Approximate size of the statements.
    bytes: usize,
}

impl Command {
    fn new(kind: &'static str, verb: &'static str, bytes: usize, statement: Document) -> Self {
        Self {
            kind,
            verb,
            statements: vec![statement.into()],
            bytes,
        }
    }

    fn document(self) -> Document {
        let mut document = doc! { self.verb: self.kind };
        document.insert(format!("{}s", self.verb), self.statements);
        document
    }
}

/// Merges a command into one of the same kind, up to the bounds.
fn add(commands: &mut Vec<Command>, new: Command) {
    let fits = |it: &&mut Command| {
        (it.kind, it.verb) == (new.kind, new.verb)
            && it.statements.len() < STATEMENTS
            && it.bytes + new.bytes < BYTES
    };
    match commands.iter_mut().rev().find(fits) {
        Some(command) => {
            command.bytes += new.bytes;
            command.statements.extend(new.statements);
        }
        None => commands.push(new),
    }
}

fn commands_of(keys: &KeyFile, change: &Change) -> Result<Vec<Command>, StoreError> {
    let (kind, id, key) = (change.key.kind(), change.key.id(), &change.key);
    let Some(record) = &change.record else {
        return Ok(vec![Command::new(
            kind,
            "delete",
            id.len(),
            doc! { "q": { "_id": id }, "limit": 1 },
        )]);
    };
    if record.key() != *key {
        return Err(StoreError::Failed(format!(
            "{key:?} cannot hold the record {:?}",
            record.key()
        )));
    }
    let json = record.encode().map_err(|error| {
        StoreError::Failed(format!("{key:?} cannot be written as JSON: {error}"))
    })?;
    let version = change.expected + 1;
    let sealed = keys.seal_record(kind, &id, version, &json)?;
    let bytes = sealed.len() + 1024;
    let mut fields = readable(record);
    fields.insert("version", count(version));
    fields.insert(
        "record",
        Binary {
            subtype: BinarySubtype::Generic,
            bytes: sealed,
        },
    );
    Ok(vec![Command::new(
        kind,
        "update",
        bytes,
        doc! { "q": { "_id": id }, "u": { "$set": fields }, "upsert": true },
    )])
}

/// Reads the record of a document, and its version.
pub(super) fn read(
    inner: &Inner,
    kind: &'static str,
    document: &Document,
) -> Result<(Record, Version), StoreError> {
    let id = document.get_str("_id").unwrap_or("without a name");
    let unreadable = |why: &dyn Display| {
        StoreError::Failed(format!(
            "{kind} `{id}` in the store {} cannot be read: {why}",
            inner.shown
        ))
    };
    let version = version(document);
    let (Some(version), Ok(sealed)) = (version, document.get_binary_generic("record")) else {
        return Err(unreadable(&"it is no document of micado"));
    };
    let json = inner
        .keys
        .unseal_record(kind, id, version, sealed)
        .ok_or_else(|| unreadable(&"it was changed, or sealed with another key"))?;
    let record = Record::decode(kind, &json).map_err(|error| unreadable(&error))?;
    Ok((record, version))
}

/// Reads a version, also one written by a shell, in which all numbers are doubles.
pub(super) fn version(document: &Document) -> Option<Version> {
    match document.get("version")? {
        Bson::Int64(version) => Version::try_from(*version).ok(),
        Bson::Int32(version) => Version::try_from(*version).ok(),
        Bson::Double(version) if version.fract() == 0.0 && (0.0..1e15).contains(version) => {
            Some(*version as Version)
        }
        _ => None,
    }
}

/// Fields for people. They contain no possible secrets, such as environments and files, and nothing
/// at all of kinds that are not listed here.
fn readable(record: &Record) -> Document {
    match record {
        Record::Container(it) => {
            let mut fields = doc! {
                "name": it.name.as_str(), "service": it.service.as_str(), "wanted": word(&it.desired), "created": date(it.created_at),
            };
            if it.removed_at.is_some() {
                fields.insert("state", "removed");
            }
            fields
        }
        Record::Instance(it) => doc! {
            "tag": it.tag.as_str(), "cloud": it.cloud.as_str(), "flavour": it.flavour.as_str(), "location": it.location.as_str(),
            "application": &it.application, "node": it.node.clone(), "addresses": addresses(it.address.as_ref()), "state": word(&it.state),
            "reason": it.reason.clone(), "price": price(it.price), "created": date(it.created_at), "since": date(it.state_since),
        },
        Record::Service(it) => doc! {
            "name": it.name.as_str(), "image": &it.spec.image, "digest": digest(it), "client": &it.spec.client, "location": it.spec.location.as_str(),
            "domain": it.spec.domain.clone(), "memory": bytes(it.spec.reservation.memory), "cpu": cores(it.spec.reservation.cpu), "created": date(it.created_at),
        },
        Record::Image(it) => {
            doc! { "image": &it.name, "digest": it.digest.clone(), "critical": critical(&it.critical) }
        }
        Record::Decision(it) => doc! {
            "at": date(it.at), "container": it.container.as_ref().map(|name| name.to_string()),
            "instance": it.instance.as_ref().map(|id| id.to_string()), "text": &it.text,
        },
        _ => doc! {},
    }
}

pub(super) fn critical(it: &Critical) -> Document {
    doc! { "memory": it.memory.map(bytes), "cpu": it.cpu.map(cores) }
}

fn digest(service: &Service) -> Option<&str> {
    service
        .pull
        .as_deref()?
        .split_once('@')
        .map(|(_, digest)| digest)
}

/// JSON name of a state.
pub(super) fn word(state: &impl serde::Serialize) -> Bson {
    serde_json::to_value(state)
        .ok()
        .and_then(|word| word.as_str().map(Into::into))
        .unwrap_or(Bson::Null)
}

pub(super) fn addresses(address: Option<&String>) -> Vec<String> {
    address.cloned().into_iter().collect()
}

pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(i64::try_from(at.0).unwrap_or(i64::MAX))
}

pub(super) fn bytes(memory: MemoryBytes) -> i64 {
    count(memory.0)
}

/// In cores.
pub(super) fn cores(cpu: NanoCpus) -> f64 {
    cpu.0 as f64 / 1e9
}

/// Per hour, in the cloud's currency.
fn price(price: PricePerHour) -> f64 {
    price.0 as f64 / 1e6
}

pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
