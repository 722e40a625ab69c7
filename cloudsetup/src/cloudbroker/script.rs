//! A broker that answers as it is told, for tests: no network, so that time can be a test's own.

use super::{
    credentials::{Credentials, CredentialsFile},
    http::{Answer, Body, Carrier, Request},
    link::Link,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// What happens to a call.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Answer(Answer),
    /// The connection breaks.
    Lost,
    /// Nothing comes until the limit has passed.
    Hang,
    /// The answer takes its time.
    Slow(Duration, Answer),
}

impl Reply {
    pub(super) fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Answer(Answer { status, body: body.into(), ..Answer::default() })
    }
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::status(200, body)
    }
    pub(super) fn errors(status: u16, words: &str, kind: &str) -> Self {
        Self::status(status, format!("<errors><error>{words}</error><type>{kind}</type></errors>"))
    }
    pub(super) fn busy(status: u16, seconds: Option<u64>) -> Self {
        Self::Answer(Answer { status, retry_after: seconds.map(Duration::from_secs), ..Answer::default() })
    }
}

/// A call that came.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) at: Duration,
    pub(super) call: String,
    pub(super) body: String,
    pub(super) password: String,
}

/// Answers by `METHOD /path`, with or without the query; the last answer for a call stays.
#[derive(Debug, Clone)]
pub(super) struct Script {
    told: Arc<Mutex<BTreeMap<String, VecDeque<Reply>>>>,
    came: Arc<Mutex<Vec<Came>>>,
    begun: Instant,
}

impl Script {
    pub(super) fn new() -> Self {
        Self { told: Arc::default(), came: Arc::default(), begun: Instant::now() }
    }
    pub(super) fn on(&self, call: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.told.lock().expect("unpoisoned").insert(call.to_owned(), replies.into_iter().collect());
        self
    }
    pub(super) fn came(&self) -> Vec<Came> {
        self.came.lock().expect("unpoisoned").clone()
    }
    /// The calls that came since this was asked last, without those that begin so.
    pub(super) fn calls_but(&self, without: &[&str]) -> Vec<String> {
        let came = std::mem::take(&mut *self.came.lock().expect("unpoisoned"));
        came.into_iter().map(|came| came.call).filter(|call| !without.iter().any(|it| call.starts_with(it))).collect()
    }
    pub(super) fn link(&self, file: CredentialsFile, limit: u64) -> Link {
        Link::new(Box::new(self.clone()), file, 1000, Duration::from_secs(limit))
    }
}

#[async_trait::async_trait]
impl Carrier for Script {
    async fn carry(&self, request: &Request, credentials: &Credentials, limit: Duration) -> Result<Answer, String> {
        let body = match &request.body {
            Body::Nothing => String::new(),
            Body::Xml(text) => text.clone(),
            Body::Upload { texts, name, content } => format!("{texts:?} {name} {}", String::from_utf8_lossy(content)),
        };
        let call = format!("{request:?}");
        let came = Came { at: self.begun.elapsed(), call: call.clone(), body, password: credentials.password.clone() };
        self.came.lock().expect("unpoisoned").push(came);
        let reply = {
            let mut told = self.told.lock().expect("unpoisoned");
            let bare = call.split('?').next().unwrap_or_default().to_owned();
            let key = if told.contains_key(&call) { call.clone() } else { bare };
            let replies = told.get_mut(&key);
            replies.and_then(|replies| if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() })
        };
        match reply {
            None => panic!("nobody expects {call}"),
            Some(Reply::Answer(answer)) => Ok(answer),
            Some(Reply::Lost) => Err("no answer: connection reset".to_owned()),
            Some(Reply::Hang) => {
                sleep(limit).await;
                Err("no answer in time".to_owned())
            }
            Some(Reply::Slow(time, answer)) => {
                sleep(time).await;
                Ok(answer)
            }
        }
    }
}

/// A good credentials file, there as long as the folder is.
pub(super) fn credentials() -> (tempfile::TempDir, CredentialsFile) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = CredentialsFile(folder.path().join("cbcredentials"));
    write_credentials(&file, "secret");
    (folder, file)
}

pub(super) fn write_credentials(file: &CredentialsFile, password: &str) {
    fs::write(&file.0, format!("me@example.net\n{password}\n")).expect("a file");
    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o600)).expect("our file");
}
