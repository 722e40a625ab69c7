//! Calls to one account at the broker: paced, authenticated, repeated where that is safe, and
//! judged.

use super::{
    credentials::{Credentials, CredentialsFile},
    failure::{Failure, No, Verdict, judge},
    http::{Body, Carrier, Request},
    pace::Pace,
    records::identified,
};
use crate::dom::{self, Element};
use reqwest::Method;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Upper bound for attempts of a repeatable call.
const ATTEMPTS: u32 = 4;
/// Pause before a call is repeated; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// Time for which refused credentials are not sent again; each further time it is twice as long.
const FIRST_LOCK: Duration = Duration::from_secs(30);
const LONGEST_LOCK: Duration = Duration::from_secs(300);

/// Calls to one account at the broker.
#[derive(Debug)]
pub(super) struct Link {
    carrier: Box<dyn Carrier>,
    credentials: CredentialsFile,
    pace: Pace,
    lock: Mutex<Option<Lock>>,
    limit: Duration,
}

/// Credentials that the broker refuses.
#[derive(Debug)]
struct Lock {
    credentials: Credentials,
    words: String,
    until: Instant,
    length: Duration,
}

impl Link {
    /// `limit` bounds a call with all its repetitions and pauses.
    pub(super) fn new(
        carrier: Box<dyn Carrier>,
        credentials: CredentialsFile,
        calls_per_second: u32,
        limit: Duration,
    ) -> Self {
        Self {
            carrier,
            credentials,
            pace: Pace::new(calls_per_second),
            lock: Mutex::default(),
            limit,
        }
    }

    /// A GET of a document, parsed by `read` from its root.
    pub(super) async fn read<T>(
        &self,
        path: impl Into<String>,
        purpose: &str,
        read: impl FnOnce(&Element) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let request = Request {
            method: Method::GET,
            path: path.into(),
            body: Body::Nothing,
        };
        let answer = self.repeated(&request).await;
        answer
            .and_then(|body| read(&document(&body)?))
            .map_err(|failure| failure.doing(purpose))
    }

    /// Creates a record; returns the broker's representation. Never sent twice.
    pub(super) async fn create<T>(
        &self,
        path: impl Into<String>,
        body: Body,
        purpose: &str,
        read: impl FnOnce(&Element) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let request = Request {
            method: Method::POST,
            path: path.into(),
            body,
        };
        let answer = self.repeated(&request).await;
        answer
            .and_then(|body| read(&document(&body)?))
            .map_err(|failure| failure.doing(purpose))
    }

    /// Sends a file. Never sent twice. Only a `data-file` with an id confirms it: after any other
    /// answer the file may or may not be there.
    pub(super) async fn upload(&self, file: Body, purpose: &str) -> Result<(), Failure> {
        let confirmed = |root: &Element| identified(root, "data-file").map(drop);
        self.create("/data_files.xml", file, purpose, confirmed)
            .await
    }

    /// Acts on a record. The broker's answer is ignored, and may be empty.
    pub(super) async fn act(
        &self,
        method: Method,
        path: impl Into<String>,
        purpose: &str,
    ) -> Result<(), Failure> {
        let request = Request {
            method,
            path: path.into(),
            body: Body::Nothing,
        };
        self.repeated(&request)
            .await
            .map(drop)
            .map_err(|failure| failure.doing(purpose))
    }

    async fn repeated(&self, request: &Request) -> Result<String, Failure> {
        let deadline = Instant::now() + self.limit;
        let attempts = if request.method == Method::POST {
            1
        } else {
            ATTEMPTS
        };
        let (mut attempt, mut pause, mut last) = (1, PAUSE, None);
        loop {
            self.shown()?;
            if let Err(left) = self.pace.turn(deadline).await {
                let overrun = || {
                    Failure::Lost(format!(
                        "not asked: too many calls wait, or the broker wants a pause (of {} s more)",
                        left.as_secs()
                    ))
                };
                return Err(last.unwrap_or_else(overrun));
            }
            let outcome = self.attempt(request, deadline).await;
            tracing::debug!(call = ?request, attempt, ok = outcome.is_ok(), "CloudBroker");
            match outcome {
                Err(lost @ Failure::Lost(_))
                    if attempt < attempts && Instant::now() + pause < deadline =>
                {
                    last = Some(lost);
                    sleep(pause).await;
                    (attempt, pause) = (attempt + 1, pause * 2);
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, request: &Request, deadline: Instant) -> Result<String, Failure> {
        // Earlier calls may have shown that they are wrong.
        let credentials = self.shown()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self
            .carrier
            .carry(request, &credentials, left)
            .await
            .map_err(Failure::Lost)?;
        match judge(&answer) {
            Verdict::Yes => {
                self.welcome();
                Ok(answer.body)
            }
            Verdict::No(No::Credentials, words) => Err(self.shut(credentials, &words)),
            Verdict::No(no, words) => {
                self.welcome();
                Err(Failure::No(no, words))
            }
            Verdict::Overrun(words) => {
                self.pace.slow_down(answer.retry_after);
                Err(Failure::Lost(words))
            }
            Verdict::Unclear(words) => Err(Failure::Lost(words)),
        }
    }

    /// The broker has accepted our credentials.
    fn welcome(&self) {
        self.pace.fine();
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The credentials in the file, unless the broker has just refused them.
    fn shown(&self) -> Result<Credentials, Failure> {
        let credentials = self.credentials.read().map_err(Failure::no)?;
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        match &*lock {
            Some(lock) if lock.credentials == credentials && Instant::now() < lock.until => {
                Err(Failure::No(No::Credentials, lock.words.clone()))
            }
            _ => Ok(credentials),
        }
    }

    /// Notes that these credentials are wrong, so that not every call tries them again (the broker
    /// may lock the account).
    fn shut(&self, credentials: Credentials, said: &str) -> Failure {
        let words = format!(
            "the broker does not take the user and the password of {}: {said}: correct the file",
            self.credentials
        );
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let length = match &*lock {
            // Among concurrent calls, the first counts.
            Some(known) if known.credentials == credentials && now < known.until => {
                return Failure::No(No::Credentials, words);
            }
            Some(known) if known.credentials == credentials => (known.length * 2).min(LONGEST_LOCK),
            _ => FIRST_LOCK,
        };
        tracing::warn!(seconds = length.as_secs(), "{words}");
        *lock = Some(Lock {
            credentials,
            words: words.clone(),
            until: now + length,
            length,
        });
        Failure::No(No::Credentials, words)
    }
}

fn document(body: &str) -> Result<Element, Failure> {
    dom::parse(body).map_err(|error| {
        Failure::Lost(format!(
            "the answer is no XML (line {}, column {}: {})",
            error.place.line, error.place.column, error.cause
        ))
    })
}

#[cfg(test)]
mod tests;
