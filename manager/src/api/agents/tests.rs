//! Who may speak for an agent, over real TLS, and what is made of what it says.

mod credentials;
mod events;
mod figures;
mod health;
mod program;

use super::*;
use crate::{
    api::{
        join::tests::{csr, key, renting},
        tests::Manager,
    },
    pki::Identity,
};
use futures_util::{SinkExt, StreamExt};
use micado_api::agent::FromAgent;
use reqwest::{RequestBuilder, StatusCode, header};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::Role},
};

/// A client of this manager's that shows this certificate.
fn showing(manager: &Manager, identity: &Identity) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca =
        reqwest::Certificate::from_pem(manager.pki.authority().as_bytes()).expect("a certificate");
    let own =
        reqwest::Identity::from_pem(format!("{}{}", identity.key, identity.certificate).as_bytes())
            .expect("an identity");
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .identity(own)
        .no_proxy()
        .build()
        .expect("a client")
}

fn url(manager: &Manager, path: &str) -> String {
    format!("https://localhost:{}{path}", manager.address.port())
}

fn renewal(manager: &Manager, client: &reqwest::Client) -> RequestBuilder {
    client
        .post(url(manager, "/v1/agent/renew"))
        .json(&serde_json::json!({ "csr": csr(&key()) }))
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.expect("an answer").status()
}

async fn open(
    manager: &Manager,
    client: &reqwest::Client,
    path: &str,
) -> Result<WebSocketStream<reqwest::Upgraded>, StatusCode> {
    let request = client
        .get(url(manager, path))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket");
    let request = request.header(header::SEC_WEBSOCKET_VERSION, "13").header(
        header::SEC_WEBSOCKET_KEY,
        tungstenite::handshake::client::generate_key(),
    );
    let response = request.send().await.expect("an answer");
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(response.status());
    }
    Ok(WebSocketStream::from_raw_socket(
        response.upgrade().await.expect("upgraded"),
        Role::Client,
        None,
    )
    .await)
}

/// An agent's connection, as a test says things on it.
struct Agent(WebSocketStream<reqwest::Upgraded>);

impl Agent {
    /// Connects for this instance, as this run of its agent.
    async fn of(manager: &Manager, instance: &InstanceId, run: &str) -> Self {
        let client = showing(
            manager,
            &manager
                .pki
                .client_certificate(instance.as_str())
                .expect("a certificate"),
        );
        let mut agent = Self(
            open(manager, &client, "/v1/agent")
                .await
                .expect("a connection"),
        );
        agent
            .say(&FromAgent::Hello {
                version: "1".to_owned(),
                run: run.to_owned(),
                cgroup: 1,
            })
            .await;
        agent
    }
    async fn say(&mut self, frame: &FromAgent) {
        self.0
            .send(tungstenite::Message::text(
                serde_json::to_string(frame).expect("JSON"),
            ))
            .await
            .expect("sent");
    }
    /// Waits until everything said was heard; what was answered meanwhile.
    async fn heard(&mut self) -> Vec<ToAgent> {
        self.0
            .send(tungstenite::Message::Ping(Default::default()))
            .await
            .expect("sent");
        let mut answers = Vec::new();
        loop {
            match self.0.next().await.expect("it goes on").expect("readable") {
                tungstenite::Message::Pong(_) => return answers,
                message => answers.push(known(&message)),
            }
        }
    }
    async fn answer(&mut self) -> ToAgent {
        known(&self.0.next().await.expect("an answer").expect("readable"))
    }
}

fn known(message: &tungstenite::Message) -> ToAgent {
    serde_json::from_str(message.to_text().expect("text")).expect("known")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_opens_only_what_waits_for_it() {
    let (manager, instance) = renting(0);
    let client = showing(
        &manager,
        &manager
            .pki
            .client_certificate(instance.as_str())
            .expect("a certificate"),
    );
    assert_eq!(
        open(&manager, &client, "/v1/agent/sessions/0123")
            .await
            .err(),
        Some(StatusCode::NOT_FOUND)
    );
    assert_eq!(
        open(&manager, &manager.http(), "/v1/agent").await.err(),
        Some(StatusCode::UNAUTHORIZED)
    );
}

#[tokio::test]
async fn a_session_is_for_one_agent_and_one_connection() {
    let agents = Arc::new(Agents::default());
    let (one, other) = (InstanceId::trusted("i1"), InstanceId::trusted("i2"));
    let work = || SessionWork::CopyFrom {
        container: "c".to_owned(),
        path: "/".to_owned(),
    };
    assert!(agents.open(&one, work()).is_none(), "it is not connected");
    let (connection, mut orders) = agents.connect(&one);
    let pending = agents.open(&one, work()).expect("it is connected");
    let order = orders.recv().await.map(|order| *order);
    assert!(matches!(order, Some(ToAgent::Session { id, .. }) if id == pending.id));
    assert!(agents.claim(&pending.id, &other).is_none());
    assert!(agents.claim(&pending.id, &one).is_some());
    assert!(agents.claim(&pending.id, &one).is_none(), "once");
    let late = agents.open(&one, work()).expect("it is connected");
    let id = late.id.clone();
    drop(late);
    assert!(
        agents.claim(&id, &one).is_none(),
        "nobody waits for it any more"
    );
    let (_newer, _) = agents.connect(&one);
    agents.disconnect(&one, connection);
    assert!(
        agents.inner().connected.contains_key(&one),
        "the newer one stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_the_same_agent_ends_the_older_one_at_once() {
    let (manager, instance) = renting(0);
    let mut older = Agent::of(&manager, &instance, "a").await;
    assert_eq!(older.heard().await, []);
    let began = std::time::Instant::now();
    let mut newer = Agent::of(&manager, &instance, "a").await;
    assert!(
        !matches!(older.0.next().await, Some(Ok(_))),
        "nothing is said to it any more"
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(10),
        "it did not wait for silence"
    );
    assert_eq!(newer.heard().await, [], "it goes on");
}

#[tokio::test]
async fn a_frame_that_is_not_understood_is_logged_in_short_and_ends_the_connection() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().expect("open")))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (manager, instance) = renting(0);
    let identity = manager.pki.client_certificate(instance.as_str());
    let client = showing(&manager, &identity.expect("a certificate"));
    let forged = serde_json::json!({
        "type": format!("x\n2026 ERROR forged \u{1b}[2J{}", "y".repeat(1 << 20)),
    });

    let mut agent = Agent::of(&manager, &instance, "a").await;
    let frame = tungstenite::Message::text(forged.to_string());
    agent.0.send(frame).await.expect("sent");
    let end = agent.0.next().await.expect("a word").expect("readable");
    assert!(
        matches!(&end, tungstenite::Message::Close(Some(end)) if end.reason.as_str().contains("not understood")),
        "{end:?}"
    );
    let mut refused = 0;
    for _ in 0..30 {
        match open(&manager, &client, "/v1/agent").await {
            Ok(mut socket) => {
                let hello = tungstenite::Message::text(r#"{"type":"hello"}"#);
                drop(socket.send(hello).await);
            }
            Err(status) => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                refused += 1;
            }
        }
    }
    assert!(refused > 5, "{refused}");
    let log = std::fs::read_to_string(log.path()).expect("text");
    let reports = log.lines().filter(|line| line.contains(" WARN "));
    assert_eq!(reports.count(), 1, "{log}");
    assert!(
        log.lines()
            .all(|line| line.len() < 400 && !line.starts_with("2026 ERROR")),
        "{log}"
    );
    assert!(log.len() < 16 << 10 && !log.contains('\u{1b}'));
}
