//! The log of calls.

use crate::{CallKind, Fault, locked};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Mutex;

/// A call with its reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// Time at which the request was complete.
    pub at: Timestamp,
    pub kind: CallKind,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Name and description of the one job or instance concerned.
    pub subject: Option<String>,
    /// Status of the reply; `None` without a reply.
    pub status: Option<u16>,
    /// Injected fault.
    pub fault: Option<Fault>,
}

/// All calls since the program's start.
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
