//! A store's file written anew: what an older schema had written in clear is in no free page of the
//! new one.

use super::{Table, database, events, explain, history, schema, sync_folder};
use crate::store::{StoreError, codec::KINDS};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::{io, path::Path};

/// Puts a copy of the store, beside it at first, into its place: a kill leaves the one or the
/// other. The old file is locked until the new one is there, which is locked too. Of a file that
/// cannot be replaced, as one that is a mount, the old one goes on as it is.
pub(super) fn rewrite(
    path: &Path,
    old: Database,
    rename: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<Database, StoreError> {
    // A link stays, and what it leads to is replaced.
    let path = &path.canonicalize().map_err(|error| {
        StoreError::Failed(format!(
            "the store {} cannot be found: {error}",
            path.display()
        ))
    })?;
    let beside = path.with_added_extension("new");
    let failed = |error: io::Error| {
        StoreError::Failed(format!(
            "the store {} cannot be written anew as {}: {error}",
            path.display(),
            beside.display()
        ))
    };
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let new = database(&beside)?;
    copy(&old, &new).map_err(|error| explain(&beside, &error))?;
    if let Err(error) = rename(&beside, path) {
        drop(new);
        std::fs::remove_file(&beside).map_err(failed)?;
        tracing::warn!(
            store = %path.display(), %error,
            "the store's file cannot be replaced: its records are sealed, but what they were before may be in free blocks of it; it is tried again at the next start \
             (mount the folder, not the file)"
        );
        return Ok(old);
    }
    sync_folder(path).map_err(failed)?;
    Ok(new)
}

fn copy(old: &Database, new: &Database) -> Result<(), redb::Error> {
    let (from, to) = (old.begin_read()?, new.begin_write()?);
    for kind in KINDS {
        copy_records(&from, &to, Table::new(kind))?;
    }
    history::copy(&from, &to)?;
    events::copy(&from, &to)?;
    schema::copy(&from, &to)?;
    Ok(to.commit()?)
}

fn copy_records(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: Table,
) -> Result<(), redb::Error> {
    let mut copied = to.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (id, record) = row?;
        copied.insert(id.value(), record.value())?;
    }
    Ok(())
}
