use super::*;
use crate::api::tests::{Manager, core};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

const TIGHT: Limits = Limits {
    handshakes: Limit {
        total: 8,
        of_one: 4,
    },
    strangers: Limit {
        total: 10,
        of_one: 5,
    },
    machines: Limit {
        total: 4,
        of_one: 2,
    },
    patience: Duration::from_secs(3),
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn descriptors_are_left_over() {
    for descriptors in [0, 512, 1024, 65_536, 1 << 30] {
        let limits = Limits::within(descriptors);
        let all = limits.handshakes.total + limits.strangers.total + limits.machines.total;
        assert!(
            all + RESERVED <= descriptors.max(2 * RESERVED),
            "{limits:?}"
        );
        for limit in [limits.handshakes, limits.strangers, limits.machines] {
            assert!(limit.of_one > 0 && limit.of_one < limit.total, "{limits:?}");
        }
    }
}

#[test]
fn a_connection_counts_for_one_holder_until_it_is_dropped() {
    let admission = Arc::new(Admission::new(TIGHT));
    let name = |name: &str| Some(Arc::from(name));
    let enter = |from: &str| admission.enter(address(from));
    // Of one address; another one still comes in.
    let mut waiting: Vec<_> = (0..4).map(|_| enter("10.0.0.1").expect("room")).collect();
    assert!(enter("10.0.0.1").is_err() && enter("::ffff:10.0.0.1").is_err());
    assert!(enter("10.0.0.2").is_ok());
    // Behind one address there may be many machines, and each has its own bound.
    let mut taken = Vec::new();
    for (permit, machine) in waiting.iter_mut().zip(["i1", "i1", "i1", "i2"]) {
        taken.push(permit.identify(name(machine)).is_ok());
    }
    assert_eq!(taken, [true, true, false, true]);
    drop(waiting);
    assert!(admission.counts().of.is_empty());
    // One network of IPv6 is one caller.
    let one: Vec<_> = (1..5)
        .map(|n| enter(&format!("2001:db8::{n}")).expect("room"))
        .collect();
    assert!(enter("2001:db8::9").is_err() && enter("2001:db8:0:1::1").is_ok());
    drop(one);
    assert_eq!(admission.counts().handshakes, 0);
}

#[test]
fn strangers_take_no_place_of_machines() {
    let admission = Arc::new(Admission::new(TIGHT));
    let identified = |from: &str, name: Option<&str>| {
        let mut permit = admission.enter(address(from)).expect("room");
        permit.identify(name.map(Arc::from)).map(|()| permit)
    };
    let mut held = Vec::new();
    for n in 0..10 {
        let from = format!("10.0.0.{}", n / 5);
        held.push(identified(&from, None).expect("room"));
    }
    assert!(identified("10.0.0.0", None).is_err(), "of one address");
    assert!(identified("10.0.0.9", None).is_err(), "in all");
    let first = identified("10.0.0.0", Some("i1")).expect("a machine");
    let _second = identified("10.0.0.0", Some("i1")).expect("again");
    assert!(
        identified("10.0.0.0", Some("i1")).is_err(),
        "of one machine"
    );
    drop(first);
    assert!(identified("10.0.0.0", Some("i1")).is_ok());
}

/// A TLS connection from outside, after its handshake. Nothing is sent on it.
fn idle(manager: &Manager) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    let authority = manager.pki.authority().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(authority).expect("a certificate"))
        .expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let tls = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(manager.address).expect("a connection");
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("a time-out");
    let mut stream = rustls::StreamOwned::new(tls, stream);
    // Fails if it was refused.
    let _ = stream.conn.complete_io(&mut stream.sock);
    stream
}

/// Whether the manager ends it, and not the time-out of the test.
fn is_ended(stream: &mut impl Read) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_and_keep_nobody_else_out() {
    let manager = Manager::admitting(core(), Admission::new(TIGHT));
    let mut held: Vec<_> = (0..TIGHT.strangers.of_one)
        .map(|_| idle(&manager))
        .collect();
    assert!(
        is_ended(&mut idle(&manager)),
        "one too many of this address"
    );
    manager
        .by_socket()
        .status()
        .await
        .expect("the unix socket answers");
    let identity = manager.pki.client_certificate("i1").expect("a certificate");
    let (own, ca) = (
        format!("{}{}", identity.key, identity.certificate),
        manager.pki.authority(),
    );
    let machine = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).expect("a certificate")])
        .identity(reqwest::Identity::from_pem(own.as_bytes()).expect("an identity"))
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("https://localhost:{}/readyz", manager.address.port());
    machine.get(&url).send().await.expect("a machine comes in");
    for stream in &mut held {
        assert!(is_ended(stream), "it never sent anything");
    }
    manager
        .http()
        .get(&url)
        .send()
        .await
        .expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begun_request_has_a_limit_too_and_http_2_is_refused() {
    let manager = Manager::admitting(core(), Admission::new(TIGHT));
    for begun in ["P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = idle(&manager);
        stream.write_all(begun.as_bytes()).expect("sent");
        stream.flush().expect("sent");
        assert!(is_ended(&mut stream), "{begun:?}");
    }
}
