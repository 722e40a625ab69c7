use super::{listen::ConsulListen, *};
use crate::{
    api::{
        server::{Api, Listen},
        tests::rig::Manager,
    },
    catalogue::{
        Entry, Status, manager_node,
        tests::{complete, entry, put},
    },
};
use micado_api::ClusterId;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{sync::oneshot, task::JoinHandle};

/// Consul's interface on a catalogue of the test's own, over plain HTTP.
struct Rig {
    catalogue: Catalogue,
    http: reqwest::Client,
    url: String,
    reader: String,
    all: String,
    manager: Manager,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Rig {
    async fn start(catalogue: Catalogue) -> Self {
        // Another test of this process may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let manager = Manager::start();
        let state = tempfile::tempdir().expect("a folder");
        let tokens = Tokens {
            all: Token::load_or_make(state.path()).expect("a token"),
            reader: Token::of_readers(state.path()).expect("a token"),
        };
        let text = |name| {
            let text = std::fs::read_to_string(state.path().join(name)).expect("a token");
            text.trim().to_owned()
        };
        let (all, reader) = (text("token"), text("consul-token"));
        let listen = ConsulListen {
            plain: Some(([127, 0, 0, 1], 0).into()),
            tls: None,
        };
        let names = ["localhost".to_owned()];
        let identity = manager.pki.server_certificate("test", &names);
        let identity = identity.expect("a certificate");
        let api = Api::bind(&Listen {
            socket: &state.path().join("s"),
            https: ([127, 0, 0, 1], 0).into(),
            certificate: identity.certificate.as_bytes(),
            key: identity.key.as_bytes(),
            authority: manager.pki.authority().as_bytes(),
        });
        let tls = api.expect("bound").tls();
        let own = manager_node(&ClusterId::trusted("c1"), "10.0.0.1");
        let consul = Consul::bind(&listen, tls, catalogue.clone(), tokens, own).expect("bound");
        let [plain, _] = consul.addresses().expect("addresses");
        let (stop, stopped) = oneshot::channel();
        let until = async { drop(stopped.await) };
        let served = tokio::spawn(consul.serve(manager.handle.clone(), until));
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        Self {
            catalogue,
            http: http.build().expect("a client"),
            url: format!("http://{}", plain.expect("it listens")),
            reader,
            all,
            manager,
            stop: Some(stop),
            served,
        }
    }

    /// Status, index and body of a read.
    async fn get(&self, path: &str) -> (u16, u64, String) {
        let request = self.http.get(format!("{}{path}", self.url));
        let request = request.header("x-consul-token", &self.reader);
        let response = request.send().await.expect("an answer");
        let index = response.headers().get("x-consul-index");
        let index = index.map(|index| index.to_str().expect("a text").parse());
        let index = index.map_or(0, |index| index.expect("a number"));
        let status = response.status().as_u16();
        (status, index, response.text().await.expect("a text"))
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    async fn count(&self, path: &str) -> usize {
        self.json(path).await.as_array().expect("a list").len()
    }

    /// Status of a registration or its end.
    async fn put(&self, path: &str, token: &str, body: &Value) -> u16 {
        let request = self.http.put(format!("{}{path}", self.url));
        let request = request.header("x-consul-token", token);
        // Consul's clients name no type of content.
        let request = request.body(body.to_string()).send();
        request.await.expect("an answer").status().as_u16()
    }
}

fn web(number: u32, status: Status) -> Entry {
    Entry {
        tags: vec!["traefik.enable=true".to_owned(), format!("n={number}")],
        ..entry("acme_web", number, status)
    }
}

fn two() -> Catalogue {
    let catalogue = complete(1_000);
    let entries = [web(1, Status::Passing), web(2, Status::Critical)];
    put(&catalogue, 1_001, &entries);
    catalogue
}

#[tokio::test]
async fn a_service_is_told_in_consul_s_forms() {
    let rig = Rig::start(two()).await;
    for (name, path) in [
        ("health", "/v1/health/service/acme_web?passing"),
        ("catalogue", "/v1/catalog/service/acme_web?tag=n%3D2"),
        ("checks", "/v1/health/checks/acme_web"),
        ("services", "/v1/catalog/services?dc=micado"),
    ] {
        let body = rig.json(path).await;
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&body).expect("JSON"));
    }
    let both = "/v1/health/service/acme_web?tag=traefik.enable%3Dtrue&tag=n%3D1";
    for (path, count) in [
        ("/v1/health/service/acme_web", 2),
        (both, 1),
        ("/v1/health/service/acme_web?tag=other", 0),
        ("/v1/health/state/critical", 1),
        ("/v1/health/state/any", 2),
        ("/v1/health/node/app1", 2),
        ("/v1/catalog/nodes", 0),
    ] {
        assert_eq!(rig.count(path).await, count, "{path}");
    }
    let node = rig.json("/v1/catalog/node/app1").await;
    assert_eq!(node["Services"].as_object().expect("a map").len(), 2);
    assert_eq!(rig.json("/v1/catalog/node/other").await, Value::Null);
    // Lists and maps are never `null`.
    assert_eq!(rig.json("/v1/health/service/none").await, json!([]));
    assert_eq!(rig.json("/v1/catalog/datacenters").await, json!(["micado"]));
    assert_eq!(rig.json("/v1/status/leader").await, json!("10.0.0.1:8300"));
    let own = rig.json("/v1/agent/self").await;
    assert_eq!(own["Config"]["Datacenter"], "micado");
}

#[tokio::test]
async fn indexed_answers_have_the_headers_that_clients_need() {
    let rig = Rig::start(two()).await;
    let request = rig
        .http
        .get(format!("{}/v1/health/service/acme_web", rig.url));
    let response = request.bearer_auth(&rig.reader).send().await;
    let response = response.expect("an answer");
    for (name, value) in [
        ("x-consul-index", "1001"),
        ("x-consul-lastcontact", "0"),
        ("x-consul-knownleader", "true"),
        ("x-consul-effective-consistency", "consistent"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(response.headers()[name], value, "{name}");
    }
    let (status, index, body) = rig.get("/v1/kv/some/key?recurse").await;
    assert_eq!((status, index, body.as_str()), (404, 1_001, ""));
    let (status, _, body) = rig.get("/v1/session/list").await;
    assert!(status == 404 && body.contains("subset"), "{body}");
}

#[tokio::test]
async fn nobody_without_a_token_is_told_anything() {
    let rig = Rig::start(two()).await;
    let url = format!("{}/v1/catalog/services", rig.url);
    let wrong = "x".repeat(64);
    for sent in [None, Some(&wrong)] {
        let mut request = rig.http.get(&url);
        if let Some(sent) = sent {
            request = request.header("x-consul-token", sent);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 403);
    }
    let by_query = format!("{url}?token={}", rig.reader);
    let response = rig.http.get(by_query).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
}

#[tokio::test]
async fn a_reader_writes_nothing() {
    let rig = Rig::start(two()).await;
    let register = "/v1/agent/service/register";
    let body = json!({"Name": "db", "Address": "10.0.0.9", "Port": 5432});
    assert_eq!(rig.put(register, &rig.reader, &body).await, 403);
    assert_eq!(rig.put(register, &rig.all, &body).await, 200);
    let with_check = json!({"Name": "db", "Address": "10.0.0.9", "Port": 1, "Check": {}});
    assert_eq!(rig.put(register, &rig.all, &with_check).await, 400);
    let made = rig.manager.by_socket().registrations().await;
    let made = made.expect("a list");
    assert_eq!((made.len(), made[0].service.as_str()), (1, "db"));
    let deregister = "/v1/agent/service/deregister/db";
    for (token, status) in [(&rig.reader, 403), (&rig.all, 200), (&rig.all, 404)] {
        assert_eq!(rig.put(deregister, token, &Value::Null).await, status);
    }
}

#[tokio::test]
async fn nothing_is_told_before_the_cluster_was_read() {
    let rig = Rig::start(Catalogue::default()).await;
    for path in ["/v1/catalog/services", "/v1/health/service/x?index=5"] {
        let (status, _, body) = rig.get(path).await;
        assert!(
            status == 500 && body.starts_with("No cluster leader"),
            "{body}"
        );
    }
    assert_eq!(rig.get("/v1/agent/self").await.0, 200);
}

#[tokio::test]
async fn a_query_waits_for_its_own_service_alone() {
    let rig = Rig::start(two()).await;
    let begun = Instant::now();
    // Any index but the present one is answered at once.
    for index in [0, 1_000, 5_000] {
        let path = format!("/v1/health/service/acme_web?index={index}&wait=60s");
        assert_eq!(rig.get(&path).await.1, 1_001);
    }
    let soon = "/v1/health/service/acme_web?index=1001&wait=50ms";
    assert_eq!(rig.get(soon).await.1, 1_001);
    assert!(begun.elapsed() < Duration::from_secs(5));

    let paths = [
        "/v1/health/service/acme_web?index=1001&wait=60s",
        "/v1/health/state/any?index=1001&wait=60s",
        "/v1/health/service/unknown?index=1000&wait=60s",
        "/v1/catalog/services?index=1001&wait=60s",
    ];
    let mut waiting = paths.map(|path| Box::pin(rig.get(path)));
    for query in &mut waiting {
        let early = tokio::time::timeout(Duration::from_millis(50), query).await;
        assert!(early.is_err(), "it waits");
    }
    put(&rig.catalogue, 1_002, &[web(2, Status::Passing)]);
    let [own, all, unknown, names] = waiting;
    let (_, index, body) = own.await;
    assert_eq!(index, 1_002);
    assert!(!body.contains("critical"), "{body}");
    assert_eq!(all.await.1, 1_002);
    // Names and tags are as before.
    let mut others = [unknown, names];
    for query in &mut others {
        let early = tokio::time::timeout(Duration::from_millis(50), query).await;
        assert!(early.is_err(), "it still waits");
    }
    let entries = [entry("unknown", 1, Status::Passing)];
    put(&rig.catalogue, 1_003, &entries);
    for query in others {
        assert_eq!(query.await.1, 1_003);
    }
}

#[tokio::test]
async fn queries_that_wait_are_answered_when_the_manager_stops() {
    let mut rig = Rig::start(two()).await;
    let stop = rig.stop.take().expect("it was not stopped");
    let path = "/v1/health/service/acme_web?index=1001&wait=600s";
    let mut waiting = Box::pin(rig.get(path));
    let waits = async {
        while rig.catalogue.waiting("acme_web") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = &mut waiting => panic!("it waits: {answer:?}"),
        () = waits => stop.send(()).expect("it serves"),
    }
    let (status, index, _) = waiting.await;
    assert_eq!((status, index), (200, 1_001));
    rig.served.await.expect("no panic").expect("it ended well");
}
