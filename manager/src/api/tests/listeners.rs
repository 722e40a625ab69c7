//! The socket and the HTTPS listener: who is let in, and how they end.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_its_owner_and_replaces_a_stale_one() {
    let manager = Manager::start();
    assert_eq!(
        fs::metadata(manager.socket())
            .expect("there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert!(matches!(
        bind(&manager.socket(), &manager.pki),
        Err(BindError::Taken(_))
    ));
    let stale = manager.state.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("bound"));
    let api = bind(&stale, &manager.pki).expect("a stale socket is in nobody's way");
    drop(UnixStream::connect(&stale).expect("it answers now"));
    drop(api);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_streams_and_takes_the_socket_away() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let mut steps = Box::pin(client.progress("acme_web.1").await.expect("a stream"));
    steps.next().await.expect("a step").expect("readable");
    // The first client may still have a connection, which could break with another error.
    let (socket, later) = (manager.socket(), manager.by_socket());
    manager.stop.send(()).expect("it listens");
    assert!(steps.next().await.is_none());
    manager
        .served
        .await
        .expect("no panic")
        .expect("it ended well");
    assert!(!socket.exists());
    assert_eq!(
        later.status().await.expect_err("stopped").to_string(),
        format!("no manager answers at unix://{}", socket.display())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn https_needs_the_token_and_the_authority() {
    let manager = Manager::start();
    assert!(manager.by_https(manager.known()).status().await.is_ok());

    let other = manager.state.path().join("other");
    fs::write(&other, "f".repeat(64)).expect("written");
    let wrong_token = ConnectOptions {
        token_file: Some(other),
        ..manager.known()
    };
    assert_eq!(
        refusal(manager.by_https(wrong_token).status().await).message,
        "the token is not the manager's"
    );
    let no_token = ConnectOptions {
        ca: Some(manager.state.path().join("ca.crt")),
        ..ConnectOptions::default()
    };
    assert_eq!(
        refusal(manager.by_https(no_token).status().await).code,
        ErrorCode::Unauthorized
    );

    let stranger = tempfile::tempdir().expect("a folder");
    let stranger_ca = stranger.path().join("ca.crt");
    fs::write(
        &stranger_ca,
        Pki::open(&stranger.path().join("pki"))
            .expect("an authority")
            .authority(),
    )
    .expect("written");
    let wrong_authority = ConnectOptions {
        ca: Some(stranger_ca),
        ..manager.known()
    };
    assert!(matches!(
        manager.by_https(wrong_authority).status().await,
        Err(ClientError::Untrusted { .. })
    ));
    let by_address = Client::connect(&format!("https://{}", manager.address), &manager.known())
        .expect("usable files");
    assert!(
        matches!(
            by_address.status().await,
            Err(ClientError::Untrusted { .. })
        ),
        "a name that the certificate does not have"
    );

    let http = manager.http();
    let healthz = |path: &str| {
        http.get(format!(
            "https://localhost:{}/{path}",
            manager.address.port()
        ))
        .send()
    };
    assert_eq!(
        healthz("healthz").await.expect("an answer").status(),
        200,
        "health is no secret"
    );
    let refused = healthz("readyz").await.expect("an answer");
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers()["www-authenticate"].as_bytes()
        ),
        (401, b"Bearer".as_slice())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_the_token_unless_its_document_says_that_it_is_open() {
    let manager = Manager::start();
    let http = manager.http();
    let ask = async |method: &str, path: &str| {
        let url = format!("https://localhost:{}{path}", manager.address.port());
        let method = method.to_uppercase().parse().expect("a method");
        let answer = http.request(method, url).send().await.expect("an answer");
        answer.status().as_u16()
    };
    let document = serde_json::to_value(document()).expect("JSON");
    let mut open = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let status = ask(method, &path.replace(['{', '}'], "")).await;
            if operation["security"] == serde_json::json!([{}]) {
                open.push(path.as_str());
                assert_ne!(status, 401, "{method} {path}");
            } else {
                assert_eq!(status, 401, "{method} {path}");
            }
        }
    }
    assert_eq!(open, ["/healthz", JOIN_PATH]);
    for (method, path) in [
        ("get", "/v1/agent"),
        ("get", "/v1/agent/sessions/0"),
        ("post", "/v1/agent/renew"),
        ("get", "/v1/agent/program?machine=x"),
        ("get", "/v1/nothing"),
        ("put", "/v1/containers"),
    ] {
        assert_eq!(ask(method, path).await, 401, "{method} {path}");
    }
    let (status, refused) = manager.raw("GET /v1/agent", "");
    assert_eq!((status, refused.code), (401, ErrorCode::Unauthorized));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_while_it_serves() {
    let manager = Manager::start();
    assert!(manager.by_https(manager.known()).status().await.is_ok());
    assert!(matches!(
        manager.certificate.replace(b"", b""),
        Err(BindError::Certificate(_))
    ));
    assert!(manager.by_https(manager.known()).status().await.is_ok());
    let other = manager
        .pki
        .server_certificate("https", &["elsewhere".to_owned()])
        .expect("a certificate");
    manager
        .certificate
        .replace(other.certificate.as_bytes(), other.key.as_bytes())
        .expect("usable");
    assert!(
        matches!(
            manager.by_https(manager.known()).status().await,
            Err(ClientError::Untrusted { .. })
        ),
        "its name is another now"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_not_answered() {
    let manager = Manager::start();
    let mut stream = TcpStream::connect(manager.address).expect("connected");
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    // A TLS alert, or nothing.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn certificates_that_are_none_are_refused() {
    let state = tempfile::tempdir().expect("a folder");
    let socket = state.path().join("s");
    let refused = Api::bind(&Listen {
        socket: &socket,
        https: "127.0.0.1:0".parse().expect("an address"),
        certificate: b"",
        key: b"",
        authority: b"",
    });
    assert!(matches!(refused, Err(BindError::Certificate(_))));
}
