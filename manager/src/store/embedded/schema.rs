//! The embedded store's schema: its version, proof of the key that its records are sealed with, and
//! the steps from an older one to this.

use super::{Table, explain, history};
use crate::store::{KeyFile, StoreError, Version, codec::KINDS};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};
use std::path::Path;

/// One step, from the version that is its place in the list (the first is from 1 to 2).
pub(super) type Migration = fn(&WriteTransaction, &KeyFile) -> anyhow::Result<()>;

/// The schema in which records lay in clear.
pub(super) const IN_CLEAR: Version = 1;
/// All steps there are. Append only, and never change a step that was released.
pub(super) const MIGRATIONS: &[Migration] = &[seal_records_and_keep_points];

/// The version, and whether remains of an older one are to be wiped out.
const SCHEMA: TableDefinition<&str, u64> = TableDefinition::new("schema");
const VERSION: &str = "version";
const REMAINS: &str = "remains";
/// A proof of the key.
const KEY: TableDefinition<&str, &[u8]> = TableDefinition::new("key");
const PROOF: &str = "proof";

/// What else is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    None,
    /// What an older schema had written, in pages that are free now.
    OfBefore,
}

/// Brings the store to the newest version in one transaction: all steps or none.
pub(super) fn upgrade(
    path: &Path,
    database: &Database,
    keys: &KeyFile,
    migrations: &[Migration],
) -> Result<Remains, StoreError> {
    let newest = migrations.len() as u64 + 1;
    match check(path, database, newest)? {
        None => create(path, database, keys, newest)?,
        Some(version) if version == newest => {}
        Some(version) => step_up(path, database, keys, version, migrations)?,
    }
    prove(path, database, keys)
}

/// The version of what is in the file, up to the newest that is known; `None` for nothing. Looks,
/// and changes nothing.
pub(super) fn check(
    path: &Path,
    database: &Database,
    newest: Version,
) -> Result<Option<Version>, StoreError> {
    match current(database).map_err(|error| explain(path, &error))? {
        Found::Nothing => Ok(None),
        Found::Version(version) if (1..=newest).contains(&version) => Ok(Some(version)),
        Found::Version(version) => Err(StoreError::Schema(format!(
            "the store {} has schema {version} and this micado knows up to {newest}: start the micado that wrote it, or a newer one",
            path.display()
        ))),
        Found::Stranger => Err(StoreError::Schema(format!(
            "{} is a redb file of another program, not a store of micado: move it away, or name another file",
            path.display()
        ))),
    }
}

/// That its records are sealed with this key, and what else is in it.
pub(super) fn prove(
    path: &Path,
    database: &Database,
    keys: &KeyFile,
) -> Result<Remains, StoreError> {
    let (proof, remains) = proof_and_remains(database).map_err(|error| explain(path, &error))?;
    if keys.is_proof(&proof) {
        Ok(remains)
    } else {
        Err(keys.another(&path.display()))
    }
}

fn step_up(
    path: &Path,
    database: &Database,
    keys: &KeyFile,
    from: Version,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let newest = migrations.len() as u64 + 1;
    let steps = || -> anyhow::Result<()> {
        let transaction = database.begin_write()?;
        for step in &migrations[from as usize - 1..] {
            step(&transaction, keys)?;
        }
        let mut schema = transaction.open_table(SCHEMA)?;
        schema.insert(VERSION, newest)?;
        schema.insert(REMAINS, 1)?;
        drop(schema);
        Ok(transaction.commit()?)
    };
    steps().map_err(|error| {
        StoreError::Failed(format!("the store {} could not be upgraded from schema {from} to {newest} and is as it was: {error}", path.display()))
    })?;
    tracing::info!(from, to = newest, store = %path.display(), key = %keys.path().display(), "the store was upgraded; its records are sealed with the key");
    Ok(())
}

/// What an opened file turns out to be.
enum Found {
    Nothing,
    Version(u64),
    Stranger,
}

fn current(database: &Database) -> Result<Found, redb::Error> {
    let transaction = database.begin_read()?;
    let names: Vec<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    if names.is_empty() && transaction.list_multimap_tables()?.next().is_none() {
        return Ok(Found::Nothing);
    }
    if !names.iter().any(|name| name == SCHEMA.name()) {
        return Ok(Found::Stranger);
    }
    match transaction.open_table(SCHEMA) {
        Ok(table) => Ok(table
            .get(VERSION)?
            .map_or(Found::Stranger, |version| Found::Version(version.value()))),
        Err(redb::TableError::TableTypeMismatch { .. }) => Ok(Found::Stranger),
        Err(error) => Err(error.into()),
    }
}

fn create(
    path: &Path,
    database: &Database,
    keys: &KeyFile,
    version: u64,
) -> Result<(), StoreError> {
    let proof = keys.proof()?;
    let made = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        for kind in KINDS {
            transaction.open_table(Table::new(kind))?;
        }
        history::create(&transaction)?;
        transaction
            .open_table(KEY)?
            .insert(PROOF, proof.as_slice())?;
        transaction.open_table(SCHEMA)?.insert(VERSION, version)?;
        Ok(transaction.commit()?)
    };
    made().map_err(|error| explain(path, &error))
}

fn proof_and_remains(database: &Database) -> Result<(Vec<u8>, Remains), redb::Error> {
    let transaction = database.begin_read()?;
    let proof = transaction
        .open_table(KEY)?
        .get(PROOF)?
        .map(|proof| proof.value().to_vec())
        .unwrap_or_default();
    let remains = if transaction.open_table(SCHEMA)?.get(REMAINS)?.is_some() {
        Remains::OfBefore
    } else {
        Remains::None
    };
    Ok((proof, remains))
}

/// All that is said here, but that there are remains.
pub(super) fn copy(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), redb::Error> {
    let mut schema = to.open_table(SCHEMA)?;
    for row in from.open_table(SCHEMA)?.iter()? {
        let (name, number) = row?;
        if name.value() != REMAINS {
            schema.insert(name.value(), number.value())?;
        }
    }
    let mut key = to.open_table(KEY)?;
    for row in from.open_table(KEY)?.iter()? {
        let (name, proof) = row?;
        key.insert(name.value(), proof.value())?;
    }
    Ok(())
}

/// From 1, in which records lay in clear, to 2.
fn seal_records_and_keep_points(
    transaction: &WriteTransaction,
    keys: &KeyFile,
) -> anyhow::Result<()> {
    for kind in KINDS {
        let mut table = transaction.open_table(Table::new(kind))?;
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (id, record) = row?;
            let (version, json) = record.value();
            rows.push((
                id.value().to_owned(),
                version,
                keys.seal_record(kind, id.value(), version, json)?,
            ));
        }
        for (id, version, sealed) in rows {
            table.insert(id.as_str(), (version, sealed.as_slice()))?;
        }
    }
    transaction
        .open_table(KEY)?
        .insert(PROOF, keys.proof()?.as_slice())?;
    Ok(history::create(transaction)?)
}
