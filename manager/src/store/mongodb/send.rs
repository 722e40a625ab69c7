//! Commands that write beside the transactions. Doing one of them again changes nothing, so each is
//! sent until it is known to be done: the driver sends such commands once.

use super::{Inner, StoreError};
use ::mongodb::{
    bson::{Bson, Document, RawDocumentBuf},
    error::{Error, ErrorKind},
};
use std::time::Duration;

/// Before a command is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// The server's codes for what passes: a primary that changes, starts or ends, members that do not
/// reach each other, two that made the same document.
const PASSING: [i32; 15] = [
    6, 7, 89, 91, 112, 189, 262, 9001, 10107, 11000, 11600, 11602, 13388, 13435, 13436,
];

impl Inner {
    /// Sends it until the server has done it, for as long as an answer may take.
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

/// The code of the worst that an answer says is wrong.
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
