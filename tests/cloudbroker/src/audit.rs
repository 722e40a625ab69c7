//! The log of calls.

use crate::{CallKind, Fault, locked};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Mutex;

/// A call, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// When its request was there.
    pub at: Timestamp,
    /// What it was.
    pub kind: CallKind,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Name and description of the one job or instance that it was about.
    pub subject: Option<String>,
    /// The answer's status; none when no answer was given.
    pub status: Option<u16>,
    /// What went wrong on purpose.
    pub fault: Option<Fault>,
}

/// All calls since the program was started.
#[derive(Debug, Default)]
pub(crate) struct Audit(Mutex<Vec<CallRecord>>);

impl Audit {
    pub(crate) fn note(&self, call: CallRecord) {
        tracing::debug!(kind = ?call.kind, path = call.path, status = call.status, fault = ?call.fault, "{}", call.method);
        locked(&self.0).push(call);
    }

    pub(crate) fn calls(&self) -> Vec<CallRecord> {
        locked(&self.0).clone()
    }
}
