//! The lease: one document that every commit writes too, so that a replaced manager cannot write
//! any more.

use super::{Inner, StoreError};
use ::mongodb::{
    ClientSession, Collection,
    bson::{Bson, DateTime, Document, doc},
    error::Error,
    options::ReturnDocument,
};
use serde::Deserialize;
use std::{
    sync::Weak,
    time::{Duration, Instant},
};

/// Collection of the lease, and its `_id` there.
pub(super) const COLLECTION: &str = "lease";
const ID: &str = "manager";
/// Pause between two readings of a lease that another manager holds.
const LOOK: Duration = Duration::from_millis(250);

/// State of this manager while it owns the store.
pub(super) struct Hold {
    /// Session of all transactions. The lease names it, so that the next manager can end a
    /// transaction left open.
    pub(super) session: ClientSession,
    /// Rises each time the lease is taken: writes of an earlier epoch do not match the lease.
    epoch: i64,
    /// Begin of the time in which the lease is certainly ours.
    pub(super) renewed: Instant,
}

/// The lease as stored.
#[derive(Debug, Deserialize)]
struct Lease {
    owner: String,
    process: String,
    host: String,
    pid: i64,
    epoch: i64,
    /// Rises with every renewal.
    beats: i64,
    session: Document,
    /// Time of the last renewal, by the server's clock.
    seen: DateTime,
}

impl Inner {
    fn lease(&self) -> Collection<Document> {
        self.database.collection(COLLECTION)
    }

    fn in_use(&self, lease: &Lease) -> StoreError {
        StoreError::InUse(format!(
            "the store {} is in use by the manager on {} (process {}, seen {}): stop that one, or give this one a database of its own",
            self.shown, lease.host, lease.pid, lease.seen
        ))
    }
}

/// Filter for the lease of this hold, and the update of a renewal. The update is never empty, so
/// that two concurrent writers cannot both succeed.
pub(super) fn mine(inner: &Inner, hold: &Hold) -> (Document, Document) {
    (
        doc! { "_id": ID, "process": &inner.process, "epoch": hold.epoch },
        doc! { "$inc": { "beats": 1_i64 }, "$currentDate": { "seen": true } },
    )
}

/// Takes the lease: at once if it is free, ours, or of a manager that had our very lock and so has
/// ended; else once it has run out. All writes of the previous holder are settled by then: they are
/// in the database, or never will be.
pub(super) async fn take(inner: &Inner) -> Result<Hold, StoreError> {
    let begun = Instant::now();
    let mut first_beats = None;
    loop {
        let found = inner
            .within(async { look(inner).await.map_err(|error| inner.failed(&error)) })
            .await?;
        let beats = found.as_ref().map(|lease| lease.beats);
        if let Some(hold) = inner
            .within(async {
                try_take(inner, found.as_ref())
                    .await
                    .map_err(|error| inner.failed(&error))
            })
            .await?
        {
            return Ok(hold);
        }
        match found {
            Some(lease)
                if first_beats.is_some_and(|first| Some(first) != beats)
                    || begun.elapsed() > inner.pace.lease * 2 =>
            {
                return Err(inner.in_use(&lease));
            }
            _ => first_beats = first_beats.or(beats),
        }
        tokio::time::sleep(LOOK.min(inner.pace.lease / 4)).await;
    }
}

async fn look(inner: &Inner) -> Result<Option<Lease>, Error> {
    inner
        .database
        .collection(COLLECTION)
        .find_one(doc! { "_id": ID })
        .await
}

/// Tries once to take the lease as found; `None` if it is not free, or another manager was quicker.
async fn try_take(inner: &Inner, found: Option<&Lease>) -> Result<Option<Hold>, Error> {
    let renewed = Instant::now();
    let lasts = i64::try_from(inner.pace.lease.as_millis()).unwrap_or(i64::MAX);
    let free = match found {
        None => doc! { "_id": ID },
        Some(lease) => {
            let mut same = doc! { "_id": ID, "process": &lease.process, "epoch": lease.epoch };
            if lease.process != inner.process && lease.owner != inner.keys.owner() {
                same.insert(
                    "$expr",
                    doc! { "$lt": [{ "$add": ["$seen", "$lasts_ms"] }, "$$NOW"] },
                );
            }
            same
        }
    };
    if let Some(lease) = found
        && inner.lease().find_one(free.clone()).await?.is_some()
    {
        end_transactions(inner, &lease.session).await;
    }
    let session = inner.client.start_session().await?;
    let ours = doc! {
        "$set": {
            "owner": inner.keys.owner(), "process": &inner.process, "host": host(), "pid": i64::from(std::process::id()),
            "session": session.id().clone(), "lasts_ms": lasts,
        },
        "$inc": { "epoch": 1_i64, "beats": 1_i64 },
        "$currentDate": { "seen": true },
    };
    // If there was none, this is an upsert: of two concurrent ones, one creates the document, and
    // the other finds it or gets a duplicate key error.
    let taken = inner
        .lease()
        .find_one_and_update(free, ours)
        .upsert(found.is_none())
        .return_document(ReturnDocument::After)
        .await;
    match taken {
        Ok(taken) => Ok(taken
            .and_then(|lease| lease.get_i64("epoch").ok())
            .map(|epoch| Hold {
                session,
                epoch,
                renewed,
            })),
        Err(error) if is_duplicate(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends transactions of a session. A manager that died during one leaves it open, and with it the
/// lease locked, for a minute. Failure is harmless.
async fn end_transactions(inner: &Inner, session: &Document) {
    let command = doc! { "killSessions": [session.clone()] };
    if let Err(error) = inner.client.database("admin").run_command(command).await {
        tracing::debug!(error = %error.kind, "the session of the manager before could not be ended");
    }
}

/// Renews the lease.
pub(super) async fn beat(inner: &Inner, hold: &mut Hold) -> Result<(), StoreError> {
    let now = Instant::now();
    let (mine, beat) = mine(inner, hold);
    let updated = inner
        .lease()
        .update_one(mine, beat)
        .await
        .map_err(|error| inner.failed(&error))?;
    if updated.matched_count == 0 {
        return Err(replaced(inner).await);
    }
    hold.renewed = now;
    Ok(())
}

/// Error that names the manager that has replaced us.
pub(super) async fn replaced(inner: &Inner) -> StoreError {
    match look(inner).await {
        Ok(Some(lease)) => inner.in_use(&lease),
        Ok(None) => StoreError::Failed(format!(
            "the store {} was emptied while it was in use",
            inner.shown
        )),
        Err(error) => inner.failed(&error),
    }
}

/// Renews the lease until the store is closed, and reports when ownership becomes uncertain.
pub(super) async fn renew(store: Weak<Inner>) {
    let Some(pause) = store.upgrade().map(|inner| inner.pace.lease / 4) else {
        return;
    };
    loop {
        tokio::time::sleep(pause).await;
        let Some(inner) = store.upgrade() else { return };
        let mut slot = inner.hold.lock().await;
        // Without a hold, the loss was reported already.
        let Some(hold) = slot.as_mut().filter(|hold| hold.renewed.elapsed() >= pause) else {
            continue;
        };
        let left = inner.pace.lease.saturating_sub(hold.renewed.elapsed());
        let beaten = tokio::time::timeout(left, beat(&inner, hold))
            .await
            .unwrap_or_else(|_| Err(inner.silent()));
        match beaten {
            Err(error @ StoreError::Failed(_)) if hold.renewed.elapsed() < inner.pace.lease => {
                tracing::warn!(%error, "the lease of the store could not be renewed yet")
            }
            Err(error) => {
                *slot = None;
                inner.lost.send_replace(Some(error));
            }
            Ok(()) => {}
        }
    }
}

/// Lets the lease expire now.
pub(super) async fn release(inner: &Inner, hold: Hold) -> Result<(), StoreError> {
    let (mine, _) = mine(inner, &hold);
    drop(hold);
    let over = doc! { "$set": { "seen": DateTime::from_millis(0) }, "$inc": { "beats": 1_i64 } };
    inner
        .lease()
        .update_one(mine, over)
        .await
        .map(drop)
        .map_err(|error| inner.failed(&error))
}

fn is_duplicate(error: &Error) -> bool {
    use ::mongodb::error::{ErrorKind, WriteFailure};
    match &*error.kind {
        ErrorKind::Command(error) => error.code == 11000,
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == 11000,
        _ => false,
    }
}

fn host() -> Bson {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "an unknown machine".into(), |name| name.trim().into())
}
