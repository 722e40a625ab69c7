//! One commit: a transaction that writes the lease, checks the versions, and writes the records.

use super::{
    Inner, StoreError,
    document::{self, Batch},
    lease::{self, Hold},
};
use crate::store::{Key, Version};
use ::mongodb::{
    bson::{Document, doc},
    error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
};
use futures_util::TryStreamExt;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Pause before a transient failure is retried.
const PAUSE: Duration = Duration::from_millis(20);

/// Failure of an attempt.
enum Failed {
    Conflict(Key),
    /// Another manager holds the lease.
    Replaced,
    /// The server refuses the content of the commands.
    Refused(Document),
    Driver(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

/// Writes the whole batch or nothing; retries while it is certain that nothing was written. The
/// caller bounds the time.
pub(super) async fn write(inner: &Inner, hold: &mut Hold, batch: &Batch) -> Result<(), StoreError> {
    loop {
        let begun = Instant::now();
        match attempt(inner, hold, batch).await {
            Ok(()) => {
                hold.renewed = begun;
                return Ok(());
            }
            Err(Failed::Conflict(key)) => return Err(StoreError::Conflict(key)),
            Err(Failed::Replaced) => return Err(lease::replaced(inner).await),
            Err(Failed::Refused(reply)) => {
                return Err(StoreError::Failed(format!(
                    "the store {} refused to write: {reply}",
                    inner.shown
                )));
            }
            Err(Failed::Driver(error)) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                tracing::debug!(error = %error.kind, "a transaction is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(Failed::Driver(error)) => return Err(inner.failed(&error)),
        }
    }
}

async fn attempt(inner: &Inner, hold: &mut Hold, batch: &Batch) -> Result<(), Failed> {
    hold.session.start_transaction().await?;
    let written = in_transaction(inner, hold, batch).await;
    if let Err(failed) = written {
        // If the abort fails, the server has ended the transaction or cannot be reached: nothing of
        // it will be committed either.
        drop(hold.session.abort_transaction().await);
        return Err(failed);
    }
    loop {
        match hold.session.commit_transaction().await {
            // Repeating is safe: the server identifies the transaction by its number.
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                tokio::time::sleep(PAUSE).await
            }
            ended => return Ok(ended?),
        }
    }
}

/// Runs all commands inside the transaction.
async fn in_transaction(inner: &Inner, hold: &mut Hold, batch: &Batch) -> Result<(), Failed> {
    let (mine, beat) = lease::mine(inner, hold);
    let lease = inner.database.collection::<Document>(lease::COLLECTION);
    if lease
        .update_one(mine, beat)
        .session(&mut hold.session)
        .await?
        .matched_count
        == 0
    {
        return Err(Failed::Replaced);
    }
    for expected in &batch.expected {
        let ids: Vec<&str> = expected
            .records
            .iter()
            .map(|(id, ..)| id.as_str())
            .collect();
        let collection = inner.database.collection::<Document>(expected.kind);
        let mut found = collection
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "version": 1 })
            .session(&mut hold.session)
            .await?;
        let found: Vec<Document> = found.stream(&mut hold.session).try_collect().await?;
        let versions: HashMap<&str, Version> = found.iter().filter_map(version).collect();
        for (id, expected, key) in &expected.records {
            if versions.get(id.as_str()).copied().unwrap_or(0) != *expected {
                return Err(Failed::Conflict(key.clone()));
            }
        }
    }
    for command in &batch.commands {
        let reply = inner
            .database
            .run_command(command.clone())
            .session(&mut hold.session)
            .await?;
        if reply.contains_key("writeErrors") {
            return Err(Failed::Refused(reply));
        }
    }
    Ok(())
}

/// A document's id and version. A foreign document without a version gets one that no write
/// expects.
fn version(document: &Document) -> Option<(&str, Version)> {
    Some((
        document.get_str("_id").ok()?,
        document::version(document).unwrap_or(Version::MAX),
    ))
}
