//! The embedded store's schema: its version, and proof of the key that its records are sealed with.

use super::{Table, events, explain, history, verdicts};
use crate::store::{KINDS, KeyFile, StoreError};
use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};
use std::path::Path;

/// The version that this micado reads and writes.
pub(super) const VERSION: u64 = 1;

const SCHEMA: TableDefinition<&str, u64> = TableDefinition::new("schema");
const VERSION_ROW: &str = "version";
/// A proof of the key.
const KEY: TableDefinition<&str, &[u8]> = TableDefinition::new("key");
const PROOF_ROW: &str = "proof";

/// Content of an opened file.
enum Found {
    Nothing,
    Version(u64),
    Foreign,
}

/// Checks the version and the key. Returns false if the file holds nothing yet.
pub(super) fn check(path: &Path, database: &Database, keys: &KeyFile) -> Result<bool, StoreError> {
    match current(database).map_err(|error| explain(path, &error))? {
        Found::Nothing => return Ok(false),
        Found::Version(VERSION) => {}
        Found::Version(version) => {
            return Err(StoreError::Schema(format!(
                "the store {} has schema {version} and this micado reads schema {VERSION}: start the micado that wrote it",
                path.display()
            )));
        }
        Found::Foreign => {
            return Err(StoreError::Schema(format!(
                "{} is a redb file of another program, not a store of micado: move it away, or name another file",
                path.display()
            )));
        }
    }
    let proof = proof(database).map_err(|error| explain(path, &error))?;
    if keys.is_proof(&proof) {
        Ok(true)
    } else {
        Err(keys.another(&path.display()))
    }
}

/// Makes all tables in one transaction.
pub(super) fn create(path: &Path, database: &Database, keys: &KeyFile) -> Result<(), StoreError> {
    let proof = keys.proof()?;
    let made = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        for kind in KINDS {
            transaction.open_table(Table::new(kind))?;
        }
        history::create(&transaction)?;
        events::create(&transaction)?;
        verdicts::create(&transaction)?;
        transaction
            .open_table(KEY)?
            .insert(PROOF_ROW, proof.as_slice())?;
        transaction
            .open_table(SCHEMA)?
            .insert(VERSION_ROW, VERSION)?;
        Ok(transaction.commit()?)
    };
    made().map_err(|error| explain(path, &error))
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
        return Ok(Found::Foreign);
    }
    match transaction.open_table(SCHEMA) {
        Ok(table) => Ok(table
            .get(VERSION_ROW)?
            .map_or(Found::Foreign, |version| Found::Version(version.value()))),
        Err(redb::TableError::TableTypeMismatch { .. }) => Ok(Found::Foreign),
        Err(error) => Err(error.into()),
    }
}

fn proof(database: &Database) -> Result<Vec<u8>, redb::Error> {
    let table = database.begin_read()?.open_table(KEY)?;
    Ok(table
        .get(PROOF_ROW)?
        .map(|proof| proof.value().to_vec())
        .unwrap_or_default())
}
