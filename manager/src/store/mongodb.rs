//! The store in a MongoDB: one document per record in the collections that MiCADO has, written in
//! transactions by the one manager that holds the lease.

mod document;
mod events;
mod history;
mod lease;
mod schema;
mod send;
#[cfg(test)]
mod tests;
mod transaction;
mod verdicts;
mod view;

use super::{Change, Contents, IfNone, KINDS, KeyFile, Store, StoreError, Url};
use ::mongodb::{
    Client, Database,
    bson::{Document, doc},
    error::{Error, ErrorKind},
    options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};
use futures_util::TryStreamExt;
use lease::Hold;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::timeout,
};

/// Default database, if the URL names none.
const DATABASE: &str = "micado";
/// Default time-out of connecting, if the URL sets none.
const CONNECT: Duration = Duration::from_secs(3);
/// Default interval of the driver's checks of the servers. The driver's own 10 s would prolong a
/// short outage.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Upper bound for connections: one manager needs few.
const CONNECTIONS: u32 = 4;

/// Time-outs.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Time-out of a load or a commit; the outcome is unknown after that.
    answer: Duration,
    /// Duration of the lease: time after a manager's last renewal until another may take the store.
    lease: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            lease: Duration::from_secs(10),
        }
    }
}

/// The store in a database of a MongoDB replica set.
pub struct MongoStore {
    inner: Arc<Inner>,
    renewer: JoinHandle<()>,
}

struct Inner {
    client: Client,
    database: Database,
    /// Location, for messages.
    shown: String,
    keys: Arc<KeyFile>,
    pace: Pace,
    /// Identity of this opening of the store.
    process: String,
    /// The lease and the session to write with. `None` after a write with an unknown outcome, until
    /// taking the lease again settles it.
    hold: Mutex<Option<Hold>>,
    lost: watch::Sender<Option<StoreError>>,
}

impl MongoStore {
    /// Opens the store in the database that the URL names, made if it is missing. Waits some
    /// seconds for a manager that may have ended, not for a live one.
    ///
    /// # Errors
    /// `InUse` if another manager has it, `Schema` if it is no store, of another schema, of another
    /// key or not in a replica set, `Failed` if it does not answer.
    pub async fn open(url: &Url, keys: Arc<KeyFile>) -> Result<Self, StoreError> {
        Self::open_with(url, keys, IfNone::Make, Pace::default()).await
    }

    /// As [`Self::open`], for one of the two stores of a copy.
    pub(super) async fn open_for_copy(
        url: &Url,
        keys: Arc<KeyFile>,
        if_none: IfNone,
    ) -> Result<Self, StoreError> {
        Self::open_with(url, keys, if_none, Pace::default()).await
    }

    async fn open_with(
        url: &Url,
        keys: Arc<KeyFile>,
        if_none: IfNone,
        pace: Pace,
    ) -> Result<Self, StoreError> {
        let options = client_options(url, pace).await?;
        let name = options
            .default_database
            .clone()
            .unwrap_or_else(|| DATABASE.to_owned());
        let shown = url.to_string();
        let client = Client::with_options(options).map_err(|error| unreadable(url, &error))?;
        let inner = Inner {
            database: client.database(&name),
            client,
            shown,
            keys,
            pace,
            process: format!("{:032x}", rand::random::<u128>()),
            hold: Mutex::new(None),
            lost: watch::Sender::new(None),
        };
        let found = inner.within(schema::check(&inner)).await?;
        if !found && if_none == IfNone::Refuse {
            return Err(StoreError::Schema(format!(
                "there is no store at {}",
                inner.shown
            )));
        }
        let hold = lease::take(&inner).await?;
        if !found {
            inner.within(schema::create(&inner)).await?;
        }
        *inner.hold.lock().await = Some(hold);
        let inner = Arc::new(inner);
        let renewer = tokio::spawn(lease::renew(Arc::downgrade(&inner)));
        Ok(Self { inner, renewer })
    }
}

#[async_trait::async_trait]
impl Store for MongoStore {
    /// Makes sure, before it reads, that it holds the lease and that no write of its own is in
    /// flight.
    async fn load(&self) -> Result<Contents, StoreError> {
        let mut slot = self.inner.hold.lock().await;
        let hold = match slot.take() {
            Some(mut hold) => {
                self.inner
                    .within(async { lease::beat(&self.inner, &mut hold).await.map(|()| hold) })
                    .await?
            }
            None => lease::take(&self.inner).await?,
        };
        let contents = self.inner.within(self.inner.read_all()).await?;
        *slot = Some(hold);
        self.inner.lost.send_replace(None);
        Ok(contents)
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let batch = document::Batch::new(&self.inner.keys, changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut slot = self.inner.hold.lock().await;
        // Taken out of its slot while in use, so that an early return leaves none behind.
        let mut hold = slot.take().ok_or_else(|| self.inner.unsure())?;
        let outcome = self
            .inner
            .within(transaction::write(&self.inner, &mut hold, &batch))
            .await;
        if matches!(outcome, Ok(()) | Err(StoreError::Conflict(_))) {
            *slot = Some(hold);
        }
        outcome
    }

    async fn lost(&self) -> StoreError {
        let mut lost = self.inner.lost.subscribe();
        // The sender lives as long as this store, so the loop ends with an error.
        let error = lost
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|error| error.clone());
        error.unwrap_or_else(|| self.inner.silent())
    }

    async fn close(&self) {
        self.renewer.abort();
        if let Some(hold) = self.inner.hold.lock().await.take() {
            // If this fails, the next manager merely waits a little.
            drop(timeout(CONNECT, lease::release(&self.inner, hold)).await);
        }
        drop(timeout(CONNECT, self.inner.client.clone().shutdown()).await);
    }
}

impl Drop for MongoStore {
    fn drop(&mut self) {
        self.renewer.abort();
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore")
            .field("at", &self.inner.shown)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn read_all(&self) -> Result<Contents, StoreError> {
        let mut contents = Contents::new();
        for kind in KINDS {
            let collection = self.database.collection::<Document>(kind);
            let found = collection
                .find(doc! {})
                .projection(doc! { "version": 1, "record": 1 });
            let documents: Vec<Document> = async { found.await?.try_collect().await }
                .await
                .map_err(|error| self.failed(&error))?;
            for document in documents {
                contents.push(document::read(self, kind, &document)?);
            }
        }
        Ok(contents)
    }

    /// Returns true if the store is ours to write to. Waits for a commit in flight.
    async fn held(&self) -> bool {
        self.hold.lock().await.is_some()
    }

    /// Runs the work, or fails after the time-out.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        timeout(self.pace.answer, work)
            .await
            .unwrap_or_else(|_| Err(self.silent()))
    }

    /// Error for uncertain ownership, with the reason if a renewal of the lease failed.
    fn unsure(&self) -> StoreError {
        let unknown = || {
            StoreError::Failed(format!(
                "the store {} is about to be loaded again",
                self.shown
            ))
        };
        self.lost.borrow().clone().unwrap_or_else(unknown)
    }

    fn silent(&self) -> StoreError {
        StoreError::Failed(format!(
            "the store {} does not answer within {} s",
            self.shown,
            self.pace.answer.as_secs_f32()
        ))
    }

    /// Converts the driver's error, and names the store.
    fn failed(&self, error: &Error) -> StoreError {
        StoreError::Failed(match &*error.kind {
            // The message is about the servers, not about the URL.
            ErrorKind::ServerSelection { message, .. }
                if message.contains("invalid peer certificate") =>
            {
                format!(
                    "the store {} shows a certificate that is not to be trusted: name the file of its authority with `tlsCAFile=` in the URL",
                    self.shown
                )
            }
            ErrorKind::ServerSelection { .. } => format!(
                "the store {} does not answer: no server is there that takes writes",
                self.shown
            ),
            ErrorKind::Io(error) => format!("the store {} does not answer: {error}", self.shown),
            ErrorKind::ConnectionPoolCleared { .. } => format!(
                "the store {} does not answer: its connections broke",
                self.shown
            ),
            ErrorKind::Authentication { message, .. } => format!(
                "the store {} lets nobody in with this user and password: {message}",
                self.shown
            ),
            ErrorKind::Command(error) => format!(
                "the store {} failed: {} ({})",
                self.shown, error.message, error.code_name
            ),
            other => format!("the store {} failed: {other}", self.shown),
        })
    }
}

/// The URL's options, overridden by those that our guarantees need: primary, majority.
async fn client_options(url: &Url, pace: Pace) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(url.expose())
        .await
        .map_err(|error| unreadable(url, &error))?;
    options.app_name.get_or_insert_with(|| "micado".to_owned());
    options.connect_timeout.get_or_insert(CONNECT);
    options
        .server_selection_timeout
        .get_or_insert(pace.answer / 2);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.max_pool_size.get_or_insert(CONNECTIONS);
    options.retry_writes = Some(true);
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(WriteConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}

/// Error for an unreadable URL. The driver quotes the faulty part, which may be the password.
fn unreadable(url: &Url, error: &Error) -> StoreError {
    let words = if url.has_secret() {
        "is it well formed? In a user or password, `@ : / ? # [ ] %` are written `%40` and so on"
            .to_owned()
    } else {
        error.kind.to_string()
    };
    StoreError::Failed(format!("the store's URL {url} cannot be used: {words}"))
}
