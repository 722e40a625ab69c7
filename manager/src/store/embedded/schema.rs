//! The embedded store's schema: its version, and the steps from an older one to this.

use super::{Table, explain, history};
use crate::store::{StoreError, codec::KINDS};
use redb::{Database, ReadableDatabase, TableDefinition, TableHandle, WriteTransaction};
use std::path::Path;

/// One step, from the version that is its place in the list (the first is from 1 to 2).
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// All steps there are: 2 has points. Append only, and never change a step that was released.
pub(super) const MIGRATIONS: &[Migration] = &[history::create];

const SCHEMA: TableDefinition<&str, u64> = TableDefinition::new("schema");
const VERSION: &str = "version";

/// Brings the store to the newest version in one transaction: all steps or none.
pub(super) fn upgrade(path: &Path, database: &Database, migrations: &[Migration]) -> Result<(), StoreError> {
    let newest = migrations.len() as u64 + 1;
    match current(database).map_err(|error| explain(path, &error))? {
        Found::Nothing => create(database, newest).map_err(|error| explain(path, &error)),
        Found::Version(version) if version == newest => Ok(()),
        Found::Version(version) if (1..newest).contains(&version) => {
            let from = version as usize - 1;
            let steps = || -> Result<(), redb::Error> {
                let transaction = database.begin_write()?;
                for step in &migrations[from..] {
                    step(&transaction)?;
                }
                transaction.open_table(SCHEMA)?.insert(VERSION, newest)?;
                Ok(transaction.commit()?)
            };
            steps().map_err(|error| {
                StoreError::Failed(format!("the store {} could not be upgraded from schema {version} to {newest} and is as it was: {error}", path.display()))
            })
        }
        Found::Version(version) => Err(StoreError::Schema(format!(
            "the store {} has schema {version} and this micado knows up to {newest}: start the micado that wrote it, or a newer one",
            path.display()
        ))),
        Found::Stranger => {
            Err(StoreError::Schema(format!("{} is a redb file of another program, not a store of micado: move it away, or name another file", path.display())))
        }
    }
}

/// What an opened file turns out to be.
enum Found {
    Nothing,
    Version(u64),
    Stranger,
}

fn current(database: &Database) -> Result<Found, redb::Error> {
    let transaction = database.begin_read()?;
    let names: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
    if names.is_empty() && transaction.list_multimap_tables()?.next().is_none() {
        return Ok(Found::Nothing);
    }
    if !names.iter().any(|name| name == SCHEMA.name()) {
        return Ok(Found::Stranger);
    }
    match transaction.open_table(SCHEMA) {
        Ok(table) => Ok(table.get(VERSION)?.map_or(Found::Stranger, |version| Found::Version(version.value()))),
        Err(redb::TableError::TableTypeMismatch { .. }) => Ok(Found::Stranger),
        Err(error) => Err(error.into()),
    }
}

fn create(database: &Database, version: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for kind in KINDS {
        transaction.open_table(Table::new(kind))?;
    }
    history::create(&transaction)?;
    transaction.open_table(SCHEMA)?.insert(VERSION, version)?;
    Ok(transaction.commit()?)
}
