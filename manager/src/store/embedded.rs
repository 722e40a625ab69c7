//! The default store: one redb file beside the manager, every commit on disk before it is
//! acknowledged.

mod events;
mod history;
mod schema;
mod slot;
#[cfg(test)]
mod tests;
mod verdicts;

use super::{Change, Contents, IfNone, KINDS, Key, KeyFile, Record, Store, StoreError, Version};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use slot::Slot;
use std::{
    fmt::Display,
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use tokio::sync::Mutex;

/// redb takes 1 GiB by default; the whole store is a few megabytes, and the manager keeps its own
/// view in memory.
const CACHE_BYTES: usize = 4 << 20;

/// Number of changes from which on a commit is sealed on two threads.
const LARGE: usize = 1000;

/// A record's version and sealed JSON, by id.
type Table = TableDefinition<'static, &'static str, (Version, &'static [u8])>;

/// A change with its record already sealed, so that a blocking thread can own it.
struct Write {
    key: Key,
    /// Text of the key's id.
    id: String,
    expected: Version,
    sealed: Option<Vec<u8>>,
}

/// The store in one file. The file is locked while this lives.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    path: Arc<Path>,
    database: Arc<Slot>,
    keys: Arc<KeyFile>,
    /// Held while writing. redb allows one writer at a time without any order; this lock is fair.
    turn: Arc<Mutex<()>>,
}

impl EmbeddedStore {
    /// Opens the store in this file (mode 0600), made if it is missing. Its records are sealed with
    /// the key.
    ///
    /// # Errors
    /// `InUse` if another manager has it open, `Schema` if it is no store, of another schema or of
    /// another key, `Failed` if the file cannot be read or written.
    pub async fn open(path: impl Into<PathBuf>, keys: Arc<KeyFile>) -> Result<Self, StoreError> {
        Self::open_for_copy(path, keys, IfNone::Make).await
    }

    /// As [`Self::open`], for one of the two stores of a copy.
    pub(super) async fn open_for_copy(
        path: impl Into<PathBuf>,
        keys: Arc<KeyFile>,
        if_none: IfNone,
    ) -> Result<Self, StoreError> {
        let path = path.into();
        blocking(move || Self::open_with(path, keys, if_none)).await
    }

    fn open_with(path: PathBuf, keys: Arc<KeyFile>, if_none: IfNone) -> Result<Self, StoreError> {
        let database = database(&path, if_none)?;
        if !schema::check(&path, &database, &keys)? {
            schema::create(&path, &database, &keys)?;
        }
        let file = path.clone();
        let reopen = move || self::database(&file, IfNone::Refuse);
        Ok(Self::of(Slot::new(path, database, reopen), keys))
    }

    fn of(database: Slot, keys: Arc<KeyFile>) -> Self {
        Self {
            path: database.path().into(),
            database: Arc::new(database),
            keys,
            turn: Arc::default(),
        }
    }

    /// Writes after all earlier writers.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (store, turn) = (self.clone(), self.turn.clone().lock_owned().await);
        let (written, _turn) = blocking(move || Ok((work(&store)?, turn))).await?;
        Ok(written)
    }

    fn read_all(&self) -> Result<Contents, StoreError> {
        self.database.recover()?;
        let rows = self.database.with(rows)?;
        rows.into_iter().map(|row| self.unseal(row)).collect()
    }

    fn unseal(&self, (kind, id, version, sealed): Row) -> Result<(Record, Version), StoreError> {
        let unreadable = |why: &dyn Display| {
            StoreError::Failed(format!(
                "{kind} `{id}` in the store {} cannot be read: {why}",
                self.path.display()
            ))
        };
        let json = self
            .keys
            .unseal_record(kind, &id, version, &sealed)
            .ok_or_else(|| unreadable(&"it was changed, or sealed with another key"))?;
        let record = Record::decode(kind, &json).map_err(|error| unreadable(&error))?;
        Ok((record, version))
    }

    fn write_all(&self, writes: &[Write]) -> Result<(), StoreError> {
        // Dropping the transaction, on a conflict or an error, undoes it. Its commit is durable:
        // redb's default is to sync the file before it returns.
        let conflict = self.database.with(|database| {
            let transaction = database.begin_write()?;
            // Opening a table costs more than a write. Changes come kind by kind.
            for writes in writes.chunk_by(|a, b| a.key.kind() == b.key.kind()) {
                let mut table = transaction.open_table(Table::new(writes[0].key.kind()))?;
                for write in writes {
                    if !apply(&mut table, write)? {
                        return Ok(Some(write.key.clone()));
                    }
                }
            }
            transaction.commit()?;
            Ok(None)
        })?;
        conflict.map_or(Ok(()), |key| Err(StoreError::Conflict(key)))
    }
}

#[async_trait::async_trait]
impl Store for EmbeddedStore {
    async fn load(&self) -> Result<Contents, StoreError> {
        let store = self.clone();
        blocking(move || store.read_all()).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let writes = seal_all(&self.keys, changes)?;
        self.write(move |store| store.write_all(&writes)).await
    }

    async fn lost(&self) -> StoreError {
        self.database.failure().await
    }
}

/// Opens and locks the database in the file.
fn database(path: &Path, if_none: IfNone) -> Result<Database, StoreError> {
    let file = claim(path, if_none)?;
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_file(file)
        .map_err(|error| explain(path, &error.into()))
}

/// Opens and locks the file, made if it is missing and may be. If a first start was killed while
/// redb laid the file out, the place of redb's mark, which is written last, is zero: then the
/// layout is started again.
fn claim(path: &Path, if_none: IfNone) -> Result<File, StoreError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound if if_none == IfNone::Refuse => no_store(path),
        _ => StoreError::Failed(format!(
            "the store {} cannot be opened: {error}",
            path.display()
        )),
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(if_none == IfNone::Make)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path)),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    if is_blank(&file).map_err(failed)? {
        if if_none == IfNone::Refuse {
            return Err(no_store(path));
        }
        file.set_len(0).map_err(failed)?;
        sync_folder(path).map_err(failed)?;
    }
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(failed)?;
    Ok(file)
}

/// Returns true if redb has not laid it out.
fn is_blank(file: &File) -> io::Result<bool> {
    let mut mark = [0; 9];
    file.read_at(&mut mark, 0)?;
    Ok(mark == [0; 9])
}

/// Syncs a new file's name: without it, a power cut could lose the file although its content was
/// synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Seals the records of a commit: those of a large one on two threads, because callers wait for it.
fn seal_all(keys: &KeyFile, changes: &[Change]) -> Result<Vec<Write>, StoreError> {
    let sealed = |changes: &[Change]| -> Result<Vec<Write>, StoreError> {
        changes.iter().map(|change| seal(keys, change)).collect()
    };
    if changes.len() < LARGE {
        return sealed(changes);
    }
    let (head, tail) = changes.split_at(changes.len() / 2);
    thread::scope(|scope| {
        let tail = scope.spawn(|| sealed(tail));
        let mut writes = sealed(head)?;
        writes.extend(tail.join().expect("sealing does not panic")?);
        Ok(writes)
    })
}

fn seal(keys: &KeyFile, change: &Change) -> Result<Write, StoreError> {
    let (key, id) = (&change.key, change.key.id());
    let sealed = match &change.record {
        Some(record) if record.key() != *key => {
            return Err(StoreError::Failed(format!(
                "{key:?} cannot hold the record {:?}",
                record.key()
            )));
        }
        Some(record) => {
            let json = record.encode().map_err(|error| {
                StoreError::Failed(format!("{key:?} cannot be written as JSON: {error}"))
            })?;
            Some(keys.seal_record(key.kind(), &id, change.expected + 1, &json)?)
        }
        None => None,
    };
    Ok(Write {
        key: key.clone(),
        id,
        expected: change.expected,
        sealed,
    })
}

/// Makes one write; false if the record was not at the expected version. The transaction must be
/// dropped then.
fn apply(
    table: &mut redb::Table<'_, &'static str, (Version, &'static [u8])>,
    write: &Write,
) -> Result<bool, redb::Error> {
    let id = &write.id;
    let old = match &write.sealed {
        Some(sealed) => table.insert(id.as_str(), (write.expected + 1, sealed.as_slice()))?,
        None => table.remove(id.as_str())?,
    };
    Ok(old.map_or(0, |row| row.value().0) == write.expected)
}

/// A record as stored: kind, id, version, sealed JSON.
type Row = (&'static str, String, Version, Vec<u8>);

fn rows(database: &Database) -> Result<Vec<Row>, redb::Error> {
    let transaction = database.begin_read()?;
    let mut rows = Vec::new();
    for kind in KINDS {
        let table = match transaction.open_table(Table::new(kind)) {
            // The kind is newer than the file.
            Err(redb::TableError::TableDoesNotExist(_)) => continue,
            table => table?,
        };
        for row in table.iter()? {
            let (id, value) = row?;
            let (version, sealed) = value.value();
            rows.push((kind, id.value().to_owned(), version, sealed.to_vec()));
        }
    }
    Ok(rows)
}

fn no_store(path: &Path) -> StoreError {
    StoreError::Schema(format!("there is no store at {}", path.display()))
}

fn in_use(path: &Path) -> StoreError {
    StoreError::InUse(format!(
        "the store {} is in use by another manager: stop that one, or give this one a state directory of its own",
        path.display()
    ))
}

/// Converts redb's errors, and adds the name of the file.
fn explain(path: &Path, error: &redb::Error) -> StoreError {
    use redb::Error::{Corrupted, DatabaseAlreadyOpen, Io, PreviousIo, UpgradeRequired};
    let path_shown = path.display();
    match error {
        DatabaseAlreadyOpen => in_use(path),
        Io(error) if error.kind() == ErrorKind::InvalidData => StoreError::Schema(format!(
            "{path_shown} is not a store of micado: move it away, or name another file"
        )),
        UpgradeRequired(_) => StoreError::Schema(format!(
            "{path_shown} has a file format that this micado cannot read: {error}"
        )),
        Corrupted(_) => StoreError::Failed(format!(
            "the store {path_shown} is damaged ({error}): move it away, and the manager rebuilds what the engine and the clouds still show"
        )),
        Io(error) => StoreError::Failed(format!(
            "the store {path_shown} failed: {error}: nothing can be recorded until its disk takes writes again"
        )),
        PreviousIo => StoreError::Failed(format!(
            "the store {path_shown} has failed before: nothing can be recorded until its disk takes writes again"
        )),
        error => StoreError::Failed(format!("the store {path_shown} failed: {error}")),
    }
}

/// Runs disk work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(StoreError::Failed(format!(
                "work on the store did not end: {error}"
            )))
        })
}
