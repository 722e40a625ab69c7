//! Writing commands outside of transactions. They are idempotent, so each is retried until its
//! success is known; the driver itself sends such commands once.

use super::{Inner, StoreError};
use ::mongodb::{
    bson::{Bson, Document, RawDocumentBuf},
    error::{Error, ErrorKind},
};
use std::time::Duration;

/// Pause before a command is retried.
const PAUSE: Duration = Duration::from_millis(50);
/// The server's codes for transient failures: change, start or end of a primary, unreachable
/// members, and concurrent creation of a document.
const PASSING: [i32; 15] = [
    6, 7, 89, 91, 112, 189, 262, 9001, 10107, 11000, 11600, 11602, 13388, 13435, 13436,
];

impl Inner {
    /// Sends a command until it succeeds, within the time-out of an answer.
    pub(super) async fn send(&self, command: Document) -> Result<(), StoreError> {
        let command = RawDocumentBuf::try_from(&command).map_err(|error| {
            StoreError::Failed(format!("a command cannot be written as BSON: {error}"))
        })?;
        let sending = async {
            loop {
                match self.database.run_raw_command(command.clone()).await {
                    Ok(reply) => match refusal(&reply) {
                        None => return Ok(()),
                        Some(code) if PASSING.contains(&code) => {}
                        Some(_) => {
                            return Err(StoreError::Failed(format!(
                                "the store {} refused to write: {reply}",
                                self.shown
                            )));
                        }
                    },
                    Err(error) if passes(&error) => {
                        tracing::debug!(error = %error.kind, "a command is sent again")
                    }
                    Err(error) => return Err(self.failed(&error)),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        self.within(sending).await
    }
}

fn passes(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => true,
        ErrorKind::Command(error) => PASSING.contains(&error.code),
        _ => false,
    }
}

/// Code of the most serious error in a reply.
fn refusal(reply: &Document) -> Option<i32> {
    let codes = |error: &Bson| {
        error
            .as_document()
            .and_then(|error| error.get_i32("code").ok())
            .unwrap_or(-1)
    };
    let of_writes = reply
        .get_array("writeErrors")
        .into_iter()
        .flatten()
        .map(codes);
    of_writes
        .chain(reply.get("writeConcernError").map(codes))
        .min_by_key(|code| PASSING.contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::mongodb::bson::doc;

    #[test]
    fn the_worst_that_is_wrong_counts() {
        assert_eq!(refusal(&doc! { "ok": 1, "n": 2 }), None);
        assert_eq!(
            refusal(&doc! { "ok": 1, "writeConcernError": { "code": 91 } }),
            Some(91)
        );
        assert_eq!(
            refusal(&doc! { "ok": 1, "writeErrors": [{ "code": 11000 }, { "code": 17419 }] }),
            Some(17419)
        );
        assert_eq!(
            refusal(&doc! { "ok": 1, "writeErrors": [{ "code": 11000 }], "writeConcernError": {} }),
            Some(-1)
        );
    }
}
