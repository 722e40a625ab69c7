//! Tests of requests on the wire, against a socket.

use super::*;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};

/// Answers the first connections with these bytes, and reports each request; an empty answer is a
/// broken connection.
fn serve(answers: Vec<String>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a caller");
            tell.send(request(&mut stream)).expect("somebody listens");
            stream
                .write_all(answer.as_bytes())
                .expect("the caller waits");
        }
    });
    (address, told)
}

/// Reads a request up to the length in its head.
fn request(stream: &mut impl Read) -> String {
    let (mut whole, mut piece) = (Vec::new(), [0; 65536]);
    loop {
        let text = String::from_utf8_lossy(&whole).into_owned();
        let lower = text.to_ascii_lowercase();
        if let Some(head) = lower.find("\r\n\r\n") {
            let length = lower
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a number"));
            if whole.len() >= head + 4 + length {
                return text;
            }
        }
        let read = stream.read(&mut piece).expect("the caller sends");
        assert!(read > 0, "the request is cut off: {text}");
        whole.extend_from_slice(&piece[..read]);
    }
}

fn answer(head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Body,
) -> Result<Answer, String> {
    let credentials = Credentials {
        user: "me@example.net".to_owned(),
        password: "pass: wörd".to_owned(),
    };
    let http = Http::new(&format!("http://{address}/"), &[]).expect("loopback");
    let request = Request {
        method,
        path: path.to_owned(),
        body,
    };
    http.carry(&request, &credentials, Duration::from_secs(5))
        .await
}

/// A request with a fixed boundary in place of the random one.
fn plain(sent: &str) -> String {
    let boundary = sent
        .split("boundary=")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let plain = boundary.map_or_else(|| sent.to_owned(), |boundary| sent.replace(boundary, "B"));
    let lines = plain.replace('\r', "");
    lines
        .lines()
        .filter(|line| !line.starts_with("host:"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn requests_on_the_wire() {
    let bodies = [
        (Method::GET, "/jobs.xml?page=1&per_page=1000", Body::Nothing),
        (Method::PUT, "/jobs/1/submit.xml", Body::Nothing),
        (Method::DELETE, "/jobs/1.xml", Body::Nothing),
        (
            Method::POST,
            "/jobs.xml",
            Body::Xml("<job><name>x</name></job>".to_owned()),
        ),
        (
            Method::POST,
            "/data_files.xml",
            Body::Upload {
                texts: vec![("job_id", "1".to_owned()), ("archive", "false".to_owned())],
                name: "a \"b\" é.tar".to_owned(),
                content: Bytes::from_static(b"bytes"),
            },
        ),
    ];
    let (address, told) = serve(vec![answer("200 OK", "<ok/>"); bodies.len()]);
    let mut all = String::new();
    for (method, path, body) in bodies {
        let answered = send(address, method, path, body).await.expect("an answer");
        assert_eq!((answered.status, answered.body.as_str()), (200, "<ok/>"));
        all += &format!("{}\n----\n", plain(&told.recv().expect("a request")));
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn heads_are_read() {
    let later = Timestamp::now() + Duration::from_secs(100);
    let date = later.strftime("%a, %d %b %Y %H:%M:%S GMT");
    let (address, _told) = serve(vec![
        answer("429 Too Many\r\nRetry-After: 7", "slow"),
        answer(&format!("503 Down\r\nRetry-After: {date}"), ""),
        answer("503 Down\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT", ""),
        answer("503 Down\r\nRetry-After: soon", ""),
        answer(
            "301 Moved\r\nLocation: https://elsewhere.example/jobs.xml",
            "",
        ),
    ]);
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(
            send(address, Method::GET, "/jobs.xml", Body::Nothing)
                .await
                .expect("an answer"),
        );
    }
    assert_eq!(
        (
            answers[0].status,
            answers[0].retry_after,
            answers[0].body.as_str()
        ),
        (429, Some(Duration::from_secs(7)), "slow")
    );
    assert!(
        answers[1]
            .retry_after
            .is_some_and(|pause| (98..=100).contains(&pause.as_secs())),
        "{answers:?}"
    );
    assert_eq!(
        (answers[2].retry_after, answers[3].retry_after),
        (Some(Duration::ZERO), None)
    );
    // Not followed, although somebody might listen there.
    assert_eq!(
        (answers[4].status, answers[4].location.as_deref()),
        (301, Some("https://elsewhere.example/jobs.xml"))
    );
}

#[tokio::test]
async fn a_broken_connection_is_not_tried_again_behind_our_back() {
    for method in [Method::GET, Method::POST, Method::PUT] {
        let (address, told) = serve(vec![String::new(), answer("200 OK", "<ok/>")]);
        let error = send(
            address,
            method.clone(),
            "/jobs.xml",
            Body::Xml("<job/>".to_owned()),
        )
        .await
        .expect_err("no answer");
        assert!(
            error.starts_with(&format!("no answer from http://{address}: "))
                && !error.contains("rd"),
            "{error}"
        );
        assert!(
            told.recv().is_ok() && told.try_recv().is_err(),
            "{method} came twice"
        );
    }
}

#[tokio::test]
async fn a_silent_broker_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let http = Http::new(
        &format!("http://{}", listener.local_addr().expect("bound")),
        &[],
    )
    .expect("loopback");
    let credentials = Credentials {
        user: "u".to_owned(),
        password: "p".to_owned(),
    };
    let request = Request {
        method: Method::GET,
        path: "/".to_owned(),
        body: Body::Nothing,
    };
    let error = http
        .carry(&request, &credentials, Duration::from_millis(100))
        .await
        .expect_err("silence");
    assert!(error.ends_with("within 1 s"), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let endless = "x".repeat(LONGEST_ANSWER + 10);
    let (address, _told) = serve(vec![answer("200 OK", &endless)]);
    assert_eq!(
        send(address, Method::GET, "/jobs.xml", Body::Nothing)
            .await
            .map(|answer| answer.body.len()),
        Ok(LONGEST_ANSWER)
    );
}

#[test]
fn endpoints_that_would_show_the_password_are_refused() {
    for good in [
        "https://platform.example",
        "https://platform.example//",
        "http://127.0.0.1:8080",
        "http://[::1]:80/",
        "http://localhost/",
        "https://x.example/api",
    ] {
        assert!(address(good).is_ok(), "{good}");
    }
    let refused = [
        (
            "http://platform.example",
            "its endpoint `http://platform.example/` begins with `http`",
        ),
        ("http://10.0.0.1", "begins with `http`"),
        ("http://localhost.example", "begins with `http`"),
        ("ftp://127.0.0.1", "begins with `ftp`"),
        ("platform.example", "its endpoint is no URL such as"),
        (
            "https://me:hush@platform.example",
            "holds a user or a password",
        ),
        ("https://platform.example/?key=hush", "must end where"),
    ];
    for (endpoint, words) in refused {
        let error = address(endpoint).expect_err(endpoint);
        assert!(
            error.contains(words) && !error.contains("me:hush"),
            "{error}"
        );
    }
}

#[test]
fn an_authority_must_be_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (absent, empty) = (
        folder.path().join("absent.pem"),
        folder.path().join("empty.pem"),
    );
    std::fs::write(&empty, "no certificate").expect("a file");
    let refused = |path: &PathBuf| {
        Http::new("https://platform.example", std::slice::from_ref(path)).expect_err("no authority")
    };
    assert!(
        refused(&absent).contains("absent.pem` cannot be read"),
        "{}",
        refused(&absent)
    );
    assert!(
        refused(&empty).contains("empty.pem` holds no certificate"),
        "{}",
        refused(&empty)
    );
}

/// An authority, and a server's configuration with a certificate by it for 127.0.0.1.
fn authority() -> (String, rustls::ServerConfig) {
    let parts = || -> Result<_, rcgen::Error> {
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let (key, own) = (rcgen::KeyPair::generate()?, rcgen::KeyPair::generate()?);
        let certificate = params.self_signed(&key)?;
        let issuer = rcgen::Issuer::new(params, key);
        let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?
            .signed_by(&own, &issuer)?;
        Ok((certificate.pem(), server.der().clone(), own.serialize_der()))
    };
    let (pem, certificate, key) = parts().expect("good parameters");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring's versions");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
    (
        pem,
        config
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair"),
    )
}

#[tokio::test]
async fn only_known_authorities_are_trusted_and_one_more_if_it_is_named() {
    let (pem, config) = authority();
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, other) = (
        folder.path().join("ours.pem"),
        folder.path().join("other.pem"),
    );
    std::fs::write(&ours, pem).expect("a file");
    std::fs::write(&other, authority().0).expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection =
                rustls::ServerConnection::new(config.clone()).expect("a good configuration");
            let mut stream = rustls::StreamOwned::new(connection, stream.expect("a caller"));
            // A client that does not trust us hangs up.
            let mut piece = [0; 4096];
            if stream.read(&mut piece).is_ok_and(|read| read > 0) {
                stream
                    .write_all(answer("200 OK", "<ok/>").as_bytes())
                    .expect("the caller waits");
                stream.conn.send_close_notify();
                stream.flush().expect("the caller waits");
            }
        }
    });
    let ask = async |authorities: &[PathBuf]| {
        let credentials = Credentials {
            user: "u".to_owned(),
            password: "p".to_owned(),
        };
        let request = Request {
            method: Method::GET,
            path: "/jobs.xml".to_owned(),
            body: Body::Nothing,
        };
        Http::new(&url, authorities)
            .expect("usable")
            .carry(&request, &credentials, Duration::from_secs(5))
            .await
    };
    assert_eq!(
        ask(std::slice::from_ref(&ours))
            .await
            .map(|answer| answer.body),
        Ok("<ok/>".to_owned())
    );
    assert_eq!(
        ask(&[other.clone(), ours])
            .await
            .map(|answer| answer.status),
        Ok(200)
    );
    let distrust = ask(&[other]).await.expect_err("no trust");
    assert!(distrust.contains("certificate"), "{distrust}");
}
