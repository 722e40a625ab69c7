//! A small manager for the agent's protocol, with real TLS and client certificates.

use crate::authority::{Authority, Span};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use micado_api::agent::{FromAgent, SampleBatch, SessionNote, SessionWork, ToAgent, channel};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Upper bound for every wait in a test.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Manager {
    pub port: u16,
    agents: mpsc::UnboundedReceiver<Agent>,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    authority: Arc<Authority>,
    agents: mpsc::UnboundedSender<Agent>,
    sessions: Mutex<HashMap<String, oneshot::Sender<Session>>>,
    renewals: AtomicU64,
    refused_handshakes: AtomicU64,
    /// Set once the agent's instance is no longer ours.
    revoked: AtomicBool,
    /// Times at which agents were refused for that.
    turned_away: Mutex<Vec<Instant>>,
}

/// An agent's own connection.
pub struct Agent {
    /// `None` once it was cut.
    socket: Option<Socket>,
    pub hello: FromAgent,
}

/// A session. Dropping it cuts it.
pub struct Session {
    socket: Socket,
}

/// Result of a session.
#[derive(Debug, Default)]
pub struct Outcome {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub last: Option<SessionNote>,
}

impl Manager {
    /// Listens on some port; its own certificate and those of its clients are signed by this
    /// authority.
    pub async fn start(authority: &Arc<Authority>) -> Self {
        let listener = bind(0).await;
        let (agents_in, agents) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            authority: Arc::clone(authority),
            agents: agents_in,
            sessions: Mutex::default(),
            renewals: AtomicU64::new(0),
            refused_handshakes: AtomicU64::new(0),
            revoked: AtomicBool::new(false),
            turned_away: Mutex::default(),
        });
        let port = listener.local_addr().expect("an address").port();
        let listening = tokio::spawn(listen(
            listener,
            acceptor(authority, &good(authority)),
            Arc::clone(&shared),
        ));
        Self {
            port,
            agents,
            shared,
            listening,
        }
    }

    /// The next agent that connects.
    pub async fn agent(&mut self) -> Agent {
        timeout(PATIENCE, self.agents.recv())
            .await
            .expect("an agent in time")
            .expect("an agent")
    }

    pub fn renewals(&self) -> u64 {
        self.shared.renewals.load(Ordering::SeqCst)
    }

    pub fn refused_handshakes(&self) -> u64 {
        self.shared.refused_handshakes.load(Ordering::SeqCst)
    }

    /// Requests a session from the agent.
    pub async fn session(&self, agent: &mut Agent, work: SessionWork) -> Session {
        let (open, opened) = oneshot::channel();
        let id = format!("{:032x}", rand::random::<u128>());
        self.shared
            .sessions
            .lock()
            .expect("lock")
            .insert(id.clone(), open);
        agent.say(&ToAgent::Session { id, work }).await;
        timeout(PATIENCE, opened)
            .await
            .expect("a session in time")
            .expect("a session")
    }

    /// Refuses new connections; open ones stay.
    pub async fn stop(&mut self) {
        self.listening.abort();
        drop((&mut self.listening).await);
    }

    /// Listens on the same port again, with a valid certificate of `own`.
    pub async fn listen_again(&mut self, own: &Authority) {
        self.listen_with(&good(own)).await;
    }

    /// Listens on the same port again, with this certificate and key.
    pub async fn listen_with(&mut self, own: &(String, String)) {
        let listener = bind(self.port).await;
        self.listening = tokio::spawn(listen(
            listener,
            acceptor(&self.shared.authority, own),
            Arc::clone(&self.shared),
        ));
    }

    /// Refuses the agent from now on.
    pub fn revoke(&self) {
        self.shared.revoked.store(true, Ordering::SeqCst);
    }

    /// Times of these refusals.
    pub fn turned_away(&self) -> Vec<Instant> {
        self.shared.turned_away.lock().expect("lock").clone()
    }

    /// True if no further agent has connected.
    pub fn nobody_came(&mut self) -> bool {
        self.agents.try_recv().is_err()
    }
}

impl Agent {
    pub async fn say(&mut self, what: &ToAgent) {
        let socket = self.socket.as_mut().expect("a connection");
        socket
            .send(Message::text(serde_json::to_string(what).expect("JSON")))
            .await
            .expect("sent");
    }

    /// Cuts the connection without closing it.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// The next frame, parsed and as written.
    pub async fn next(&mut self) -> (FromAgent, String) {
        loop {
            let socket = self.socket.as_mut().expect("a connection");
            let message = timeout(PATIENCE, socket.next())
                .await
                .expect("a frame in time")
                .expect("a frame")
                .expect("no error");
            if let Message::Text(text) = message {
                return (
                    serde_json::from_str(&text).expect("a frame of the contract"),
                    text.to_string(),
                );
            }
        }
    }

    /// The next batch; events before it are skipped.
    pub async fn batch(&mut self) -> SampleBatch {
        loop {
            if let (FromAgent::Samples(batch), _) = self.next().await {
                return batch;
            }
        }
    }

    pub async fn acknowledge(&mut self, sequence: u64) {
        self.say(&ToAgent::Ack { sequence }).await;
    }
}

impl Session {
    pub async fn input(&mut self, data: &[u8]) {
        let frame = [&[channel::IN], data].concat();
        self.socket
            .send(Message::binary(frame))
            .await
            .expect("sent");
    }

    pub async fn note(&mut self, note: &SessionNote) {
        self.socket
            .send(Message::text(serde_json::to_string(note).expect("JSON")))
            .await
            .expect("sent");
    }

    pub async fn resize(&mut self, columns: u16, rows: u16) {
        self.note(&SessionNote::Resize { columns, rows }).await;
    }

    /// The next data, with its channel; `None` after the last note, which goes into `outcome`.
    pub async fn next(&mut self, outcome: &mut Outcome) -> Option<(u8, Bytes)> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame in time")
                .expect("a frame")
                .expect("no error");
            match message {
                // Flow-control credit is for the sender of the input.
                Message::Binary(frame) if frame[0] == channel::IN => {}
                Message::Binary(mut frame) => {
                    let data = frame.split_off(1);
                    return Some((frame[0], data));
                }
                Message::Text(text) => {
                    outcome.last = Some(serde_json::from_str(&text).expect("a note"));
                    return None;
                }
                _ => {}
            }
        }
    }

    /// Reads everything up to the last note.
    pub async fn outcome(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some((channel, data)) = self.next(&mut outcome).await {
            if channel == channel::ERROR {
                &mut outcome.err
            } else {
                &mut outcome.out
            }
            .extend_from_slice(&data);
        }
        outcome
    }

    /// Reads output until it holds this text.
    pub async fn until(&mut self, text: &str) -> String {
        let mut outcome = Outcome::default();
        let mut seen = String::new();
        while !seen.contains(text) {
            let Some((_, data)) = self.next(&mut outcome).await else {
                panic!("no `{text}` in `{seen}`, but {outcome:?}")
            };
            seen.push_str(&String::from_utf8_lossy(&data));
        }
        seen
    }
}

/// A port used a moment ago may still have closing connections.
async fn bind(port: u16) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("reuse");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], port)))
        .expect("a port");
    socket.listen(64).expect("listening")
}

fn good(own: &Authority) -> (String, String) {
    own.server("127.0.0.1", Span::LONG)
}

fn acceptor(authority: &Authority, (certificate, key): &(String, String)) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).expect("PEM"))
        .expect("an authority");
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("a verifier");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
        )
        .expect("a certificate");
    TlsAcceptor::from(Arc::new(config))
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                shared.refused_handshakes.fetch_add(1, Ordering::SeqCst);
                return;
            };
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await,
            );
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if shared.revoked.load(Ordering::SeqCst) {
        shared
            .turned_away
            .lock()
            .expect("lock")
            .push(Instant::now());
        let mut response = Response::new(Full::from(
            "the certificate's instance is not one that is rented",
        ));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    if path == "/v1/agent/renew" {
        let body = request.into_body().collect().await?.to_bytes();
        let question: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        shared.renewals.fetch_add(1, Ordering::SeqCst);
        let certificate = shared
            .authority
            .renew(question["csr"].as_str().expect("a request"));
        return Ok(Response::new(
            serde_json::json!({ "certificate": certificate })
                .to_string()
                .into(),
        ));
    }
    let session = path
        .strip_prefix("/v1/agent/sessions/")
        .and_then(|id| shared.sessions.lock().expect("lock").remove(id));
    if path != "/v1/agent" && session.is_none() {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let key = derive_accept_key(
        request
            .headers()
            .get(header::SEC_WEBSOCKET_KEY)
            .expect("a WebSocket")
            .as_bytes(),
    );
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.expect("an upgrade");
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        match session {
            Some(open) => drop(open.send(Session { socket })),
            None => {
                let Some(Ok(Message::Text(text))) = socket.next().await else {
                    return;
                };
                let hello = serde_json::from_str(&text).expect("a frame of the contract");
                drop(shared.agents.send(Agent {
                    socket: Some(socket),
                    hello,
                }));
            }
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, key);
    Ok(response.body(Full::default()).expect("a response"))
}
