//! A broker that fails on command: a proxy in front of the host engine's socket that loses answers,
//! refuses, or stalls.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Notify,
};

/// Size of a read. Callers send the head of a request in one piece, so one read contains it.
const BUFFER: usize = 64 << 10;

/// Fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Executed; the answer is lost.
    LoseAnswer,
    /// Not executed; answered with this status, falsely in case of 200.
    Answer(u16),
    /// Not executed; the connection is closed.
    Refuse,
    /// Held until [`FaultyBroker::mend`], then executed, even if its caller is gone.
    Stall,
}

/// Number of faults left, and the requests concerned: those with a word in their first line, as in
/// `POST /v1.41/containers/create?name=x`.
#[derive(Debug)]
struct Rule {
    fault: Fault,
    word: String,
    left: u32,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    happened: Mutex<u32>,
    over: Notify,
}

/// The proxy; it forwards everything without a rule.
#[derive(Debug)]
pub struct FaultyBroker {
    socket: PathBuf,
    shared: Arc<Shared>,
}

impl FaultyBroker {
    /// Listens in this folder, in front of the engine at this endpoint.
    pub(crate) fn start(folder: &Path, endpoint: &str) -> Self {
        let socket = folder.join("cloud.sock");
        let listener = UnixListener::bind(&socket).expect("the proxy's socket");
        let target = PathBuf::from(
            endpoint
                .strip_prefix("unix://")
                .expect("the host's engine is on a unix socket"),
        );
        let shared = Arc::new(Shared::default());
        let all = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, target.clone(), all.clone()));
            }
        });
        Self { socket, shared }
    }

    /// Endpoint of the cloud for the manager.
    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Adds a fault of the next `times` requests with this word in their first line.
    pub fn fail(&self, fault: Fault, word: &str, times: u32) {
        lock(&self.shared.rules).push(Rule {
            fault,
            word: word.to_owned(),
            left: times,
        });
    }

    /// Removes all rules; stalled requests continue.
    pub fn mend(&self) {
        lock(&self.shared.rules).clear();
        self.shared.over.notify_waiters();
    }

    /// Number of faults so far.
    #[must_use]
    pub fn happened(&self) -> u32 {
        *lock(&self.shared.happened)
    }
}

impl Shared {
    /// Fault of a caller's piece, if it is the head of a request that matches a rule, and not a
    /// piece of a body.
    fn fault_of(&self, piece: &[u8]) -> Option<Fault> {
        let first_line = std::str::from_utf8(piece.split(|byte| *byte == b'\r').next()?)
            .ok()
            .filter(|line| line.ends_with(" HTTP/1.1"))?;
        let mut rules = lock(&self.rules);
        let rule = rules
            .iter_mut()
            .find(|rule| rule.left > 0 && first_line.contains(&rule.word))?;
        rule.left -= 1;
        *lock(&self.happened) += 1;
        Some(rule.fault)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one caller's connection. A failed connection is closed, as it would be without a proxy.
async fn serve(mut client: UnixStream, target: PathBuf, shared: Arc<Shared>) -> io::Result<()> {
    let mut engine = UnixStream::connect(&target).await?;
    let (mut request, mut answer) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut loses_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let request = &request[..read?];
                match shared.fault_of(request) {
                    _ if request.is_empty() => return Ok(()),
                    Some(Fault::Refuse) => return Ok(()),
                    Some(Fault::Answer(status)) => return answer_and_drain(client, status).await,
                    Some(Fault::LoseAnswer) => loses_answer = true,
                    Some(Fault::Stall) => shared.over.notified().await,
                    None => {}
                }
                engine.write_all(request).await?;
            }
            read = engine.read(&mut answer) => match read? {
                0 => return Ok(()),
                _ if loses_answer => return Ok(()),
                size => client.write_all(&answer[..size]).await?,
            }
        }
    }
}

/// Answers as a failing engine, and reads the rest of the request: if closed too early, the caller
/// would see a broken pipe and no answer.
async fn answer_and_drain(mut client: UnixStream, status: u16) -> io::Result<()> {
    let body = r#"{"message":"the cloud is out of order"}"#;
    let head = format!(
        "HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await?;
    client.shutdown().await?;
    tokio::io::copy(&mut client, &mut tokio::io::sink())
        .await
        .map(drop)
}
