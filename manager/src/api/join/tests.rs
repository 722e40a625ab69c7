//! Trades over real HTTPS, with the real core behind the gate: admissions, refusals and their
//! answers.

use super::*;
use crate::{
    api::tests::{Manager, core},
    clock,
    control::{Answer as Came, CallKey, Event},
    engine::Observation,
    pki::Pki,
};
use micado_api::{CloudName, InstanceId, StartRequest, Timestamp};
use rcgen::{CertificateParams, KeyPair};

/// A manager that rented one machine this many seconds ago.
pub(in crate::api) fn renting(seconds: u64) -> (Manager, InstanceId) {
    let mut core = core();
    let at = Timestamp(clock::now().0 - seconds * 1000);
    let start = StartRequest {
        cloud: CloudName::trusted("local"),
        application: "Node".to_owned(),
        flavour: "small".parse().expect("a name"),
        tag: "db01".parse().expect("a name"),
        location: "database".parse().expect("a name"),
        first: false,
        files: Default::default(),
    };
    let listed = Event::Answered(
        CallKey::List(start.cloud.clone()),
        Came::Listed(Ok(Vec::new())),
    );
    for event in [
        Event::Tick,
        Event::Observed(Observation::default()),
        listed,
        Event::Request(0, Request::Start(start)),
    ] {
        drop(core.handle(at, event));
    }
    let id = core.instances(false)[0].id.clone();
    (Manager::on(core), id)
}

fn credential(manager: &Manager, instance: &InstanceId) -> String {
    manager
        .pki
        .credential_key()
        .expect("a key")
        .credential(instance)
}

pub(in crate::api) fn csr(key: &KeyPair) -> String {
    CertificateParams::default()
        .serialize_request(key)
        .and_then(|request| request.pem())
        .expect("a request")
}

pub(in crate::api) fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Sends a trade without a token; returns status and body of the answer.
async fn post(manager: &Manager, body: String) -> (u16, String) {
    let url = format!("https://localhost:{}{PATH}", manager.address.port());
    let answer = manager
        .http()
        .post(url)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("an answer");
    (
        answer.status().as_u16(),
        answer.text().await.expect("a body"),
    )
}

async fn trade(manager: &Manager, credential: &str, csr: &str) -> (u16, String) {
    post(
        manager,
        serde_json::json!({ "credential": credential, "csr": csr }).to_string(),
    )
    .await
}

/// Checks that a trade is refused with this status and code, and that the answer does not repeat
/// the credential.
async fn refused(
    manager: &Manager,
    credential: &str,
    csr: &str,
    wanted: (u16, ErrorCode),
) -> String {
    let (status, body) = trade(manager, credential, csr).await;
    let error: ErrorBody =
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!((status, error.code), wanted, "{body}");
    assert!(
        credential.is_empty() || !body.contains(credential),
        "{body}"
    );
    error.message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_gets_all_that_it_needs_and_may_ask_again() {
    let (manager, id) = renting(0);
    let (credential, key) = (credential(&manager, &id), key());
    let (status, body) = trade(&manager, &credential, &csr(&key)).await;
    assert_eq!(status, 200, "{body}");
    let raw: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let swarm = serde_json::json!({ "ListenAddr": "0.0.0.0:2377", "RemoteAddrs": ["10.0.0.1:2377"], "JoinToken": "SWMTKN-secret" });
    assert_eq!(raw["swarm"], swarm, "as the engine takes it");
    let answer: JoinAnswer = serde_json::from_str(&body).expect("an answer");
    assert_eq!(
        (answer.authority.as_str(), answer.registry.host.as_str()),
        (manager.pki.authority(), "images.example.org:5000")
    );
    assert!(
        answer.registry.key.is_some() && answer.hosts.is_empty(),
        "a registry that was there already: its key is shared, its name known"
    );
    assert!(!format!("{answer:?}").contains("secret"));
    assert_client(&answer.certificate, &key, id.as_str());

    let (again, _) = trade(&manager, &credential, &csr(&key)).await;
    assert_eq!(again, 200, "the answer may have been lost");
    let words = refused(
        &manager,
        &credential,
        &csr(&self::key()),
        (409, ErrorCode::Conflict),
    )
    .await;
    assert_eq!(words, "the credential of `db01` was used with another key");
}

/// Checks that a certificate is for this key and this name.
fn assert_client(pem: &str, key: &KeyPair, name: &str) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    assert!(
        certificate
            .windows(name.len())
            .any(|bytes| bytes == name.as_bytes()),
        "its name is the instance's"
    );
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
    rustls::sign::CertifiedKey::from_der(
        vec![certificate],
        key,
        &rustls::crypto::ring::default_provider(),
    )
    .expect("certificate and key belong together");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_not_ours_gets_nothing_and_learns_nothing() {
    let (manager, id) = renting(0);
    let stranger = tempfile::tempdir().expect("a folder");
    let theirs = Pki::open(stranger.path())
        .and_then(|pki| pki.credential_key())
        .expect("a key")
        .credential(&id);
    let ours = credential(&manager, &id);
    let (_, tag) = ours.split_once('.').expect("two parts");
    for forged in [
        "",
        "0",
        &theirs,
        &format!("deadbeef.{tag}"),
        &format!("{ours}A"),
    ] {
        let words = refused(
            &manager,
            forged,
            &csr(&key()),
            (401, ErrorCode::Unauthorized),
        )
        .await;
        assert_eq!(words, "the credential is not good");
    }
    assert_eq!(
        trade(&manager, &ours, &csr(&key())).await.0,
        200,
        "it is as good as before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_request_for_a_certificate_nothing_is_traded() {
    let (manager, id) = renting(0);
    let credential = credential(&manager, &id);
    let good = csr(&key());
    for bad in ["", "none", &good[..good.len() / 2], manager.pki.authority()] {
        refused(&manager, &credential, bad, (400, ErrorCode::BadRequest)).await;
    }
    let without = serde_json::json!({ "credential": credential }).to_string();
    assert_eq!(post(&manager, without).await.0, 400);
    assert_eq!(post(&manager, " ".repeat(BODY_MAX + 1)).await.0, 413);
    assert_eq!(
        trade(&manager, &credential, &good).await.0,
        200,
        "no key was bound"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_credential_is_refused_for_good_and_an_unknown_instance_for_now() {
    let (manager, id) = renting(3600);
    refused(
        &manager,
        &credential(&manager, &id),
        &csr(&key()),
        (410, ErrorCode::Gone),
    )
    .await;
    let unknown = credential(&manager, &InstanceId::trusted("0123abcd"));
    refused(
        &manager,
        &unknown,
        &csr(&key()),
        (503, ErrorCode::Unavailable),
    )
    .await;
    let blind = Manager::start();
    refused(
        &blind,
        &credential(&blind, &id),
        &csr(&key()),
        (503, ErrorCode::Unavailable),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_open_and_nothing_beside_it() {
    let (manager, id) = renting(0);
    let http = manager.http();
    for path in ["/v1/status", "/v1/join/", "/v1/join/x", "/v1/instances"] {
        let request = http
            .get(format!(
                "https://localhost:{}{path}",
                manager.address.port()
            ))
            .bearer_auth(credential(&manager, &id));
        assert_eq!(
            request.send().await.expect("an answer").status(),
            401,
            "{path}"
        );
    }
}

#[test]
fn refused_trades_are_counted_and_said_once_a_second() {
    let (said, begin) = (RefusedTrades::default(), Instant::now());
    assert_eq!(said.count(begin), Some(1));
    for _ in 0..5 {
        assert_eq!(said.count(begin + LOG_EVERY / 2), None);
    }
    assert_eq!(said.count(begin + LOG_EVERY), Some(6));
    assert_eq!(said.count(begin + LOG_EVERY), None);
}
