use super::{
    message::{Transport, answer},
    server::is_private,
    zone::Zone,
};
use crate::catalogue::{
    Catalogue, Entry, Status,
    tests::{complete, entry, put},
};
use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};

proptest::proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let zone = zone(complete(1_000));
        drop(answer(&zone, &bytes, Transport::Udp));
        // As a query of one question, with anything behind its head.
        let head = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let query = [&head[..], &bytes].concat();
        if let Some(answer) = answer(&zone, &query, Transport::Udp) {
            assert!(answer.len() <= 1232);
        }
    }
}

fn web(number: u32, address: &str) -> Entry {
    Entry {
        address: address.to_owned(),
        port: 8000 + u16::try_from(number).expect("a small number"),
        tags: vec!["blue".to_owned(), "image=web:2".to_owned()],
        ..entry("Acme_web", number, Status::Passing)
    }
}

fn zone(catalogue: Catalogue) -> Zone {
    Zone {
        catalogue,
        own: Some([10, 0, 0, 1].into()),
        ttl: 0,
    }
}

fn two() -> Zone {
    let catalogue = complete(1_000);
    let down = Entry {
        status: Status::Critical,
        ..web(3, "10.0.0.4")
    };
    put(
        &catalogue,
        1_001,
        &[web(1, "10.0.0.2"), web(2, "10.0.0.3"), down],
    );
    zone(catalogue)
}

fn query(name: &str, kind: RecordType, payload: Option<u16>) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message
}

fn ask(zone: &Zone, query: &Message, transport: Transport) -> (Message, usize) {
    let bytes = answer(zone, &query.to_vec().expect("bytes"), transport).expect("an answer");
    (Message::from_vec(&bytes).expect("a message"), bytes.len())
}

/// Code, answers and additional records as text.
fn told(zone: &Zone, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>, Vec<String>) {
    let (message, _) = ask(zone, &query(name, kind, None), Transport::Udp);
    let lines = |records: &[hickory_proto::rr::Record]| {
        let mut lines: Vec<String> = records.iter().map(ToString::to_string).collect();
        lines.sort();
        lines
    };
    (
        message.metadata.response_code,
        lines(&message.answers),
        lines(&message.additionals),
    )
}

const OK: ResponseCode = ResponseCode::NoError;

#[test]
fn a_service_has_the_addresses_of_its_passing_entries() {
    let zone = two();
    for name in ["acme_web", "ACME_WEB", "acme-web", "blue.acme_web"] {
        let (code, answers, _) = told(&zone, &format!("{name}.service.micado."), RecordType::A);
        assert_eq!(code, OK, "{name}");
        let addresses = [
            format!("{name}.service.micado. 0 IN A 10.0.0.2"),
            format!("{name}.service.micado. 0 IN A 10.0.0.3"),
        ];
        assert_eq!(answers, addresses);
    }
    for name in ["acme_we", "red.acme_web", "acme.web", "x.blue.acme_web"] {
        let (code, answers, _) = told(&zone, &format!("{name}.service.micado."), RecordType::A);
        assert_eq!((code, answers.len()), (ResponseCode::NXDomain, 0), "{name}");
    }
}

#[test]
fn a_name_of_two_services_by_dashes_is_of_neither() {
    let catalogue = complete(1_000);
    let entries = ["a_b", "a.b", "a-c", "a_c"].map(|name| entry(name, 1, Status::Passing));
    put(&catalogue, 1_001, &entries);
    let zone = zone(catalogue);
    let code = |name: &str| told(&zone, &format!("{name}.service.micado."), RecordType::A).0;
    assert_eq!(code("a-b"), ResponseCode::NXDomain);
    for name in ["a_b", "a.b", "a-c", "a_c"] {
        assert_eq!(code(name), OK, "{name}");
    }
}

#[test]
fn servers_are_told_with_their_ports_and_addresses() {
    let zone = two();
    let target = |host: &str| format!("{host}.addr.micado.");
    for name in ["_acme_web._tcp.service.micado.", "acme_web.service.micado."] {
        let (code, answers, additionals) = told(&zone, name, RecordType::SRV);
        assert_eq!(code, OK);
        let servers = [
            format!("{name} 0 IN SRV 1 1 8001 {}", target("0a000002")),
            format!("{name} 0 IN SRV 1 1 8002 {}", target("0a000003")),
        ];
        assert_eq!(answers, servers);
        let addresses = [
            format!("{} 3600 IN A 10.0.0.2", target("0a000002")),
            format!("{} 3600 IN A 10.0.0.3", target("0a000003")),
        ];
        assert_eq!(additionals, addresses);
    }
    let (code, answers, _) = told(&zone, "_acme_web._udp.service.micado.", RecordType::SRV);
    assert_eq!((code, answers.len()), (OK, 0));
    let (_, answers, _) = told(&zone, "0a000002.addr.micado.", RecordType::A);
    assert_eq!(answers, ["0a000002.addr.micado. 3600 IN A 10.0.0.2"]);
}

#[test]
fn a_name_without_a_record_exists_all_the_same() {
    let catalogue = complete(1_000);
    put(&catalogue, 1_001, &[entry("down", 1, Status::Critical)]);
    let zone = zone(catalogue);
    let cases = [
        ("down.service.micado.", RecordType::A),
        ("down.service.micado.", RecordType::AAAA),
        ("down.service.micado.", RecordType::MX),
        ("service.micado.", RecordType::A),
        ("micado.", RecordType::A),
    ];
    for (name, kind) in cases {
        let (message, _) = ask(&zone, &query(name, kind, None), Transport::Udp);
        assert_eq!(message.metadata.response_code, OK, "{name} {kind}");
        assert!(message.answers.is_empty(), "{name} {kind}");
        let soa = message.authorities[0].to_string();
        assert!(soa.starts_with("micado. 1 IN SOA ns.micado."), "{soa}");
        assert!(message.metadata.authoritative && !message.metadata.recursion_available);
    }
}

#[test]
fn other_zones_and_transfers_are_refused() {
    let zone = two();
    let code = |name: &str, kind| told(&zone, name, kind).0;
    assert_eq!(code("example.org.", RecordType::A), ResponseCode::Refused);
    assert_eq!(
        code("micado.example.", RecordType::A),
        ResponseCode::Refused
    );
    assert_eq!(code("micado.", RecordType::AXFR), ResponseCode::Refused);
    let (_, any, _) = told(&zone, "acme_web.service.micado.", RecordType::ANY);
    assert_eq!(any.len(), 1);
    assert!(any[0].contains("HINFO"), "{any:?}");
    let mut update = query("micado.", RecordType::A, None);
    update.metadata.op_code = OpCode::Update;
    // An update has other sections: it is refused either way.
    let refused = answer(&zone, &update.to_vec().expect("bytes"), Transport::Udp);
    let refused = Message::from_vec(&refused.expect("an answer")).expect("a message");
    assert_ne!(refused.metadata.response_code, OK);
    let (_, ns, additionals) = told(&zone, "micado.", RecordType::NS);
    assert_eq!(ns, ["micado. 60 IN NS ns.micado."]);
    assert_eq!(additionals, ["ns.micado. 60 IN A 10.0.0.1"]);
}

#[test]
fn nothing_is_told_before_the_cluster_was_read() {
    let (code, ..) = told(
        &zone(Catalogue::default()),
        "x.service.micado.",
        RecordType::A,
    );
    assert_eq!(code, ResponseCode::ServFail);
}

#[test]
fn what_is_too_much_is_a_part() {
    let catalogue = complete(1_000);
    let entries: Vec<Entry> = (0..300)
        .map(|number| web(number, &format!("10.0.{}.{}", number / 250, number % 250)))
        .collect();
    put(&catalogue, 1_001, &entries);
    let zone = zone(catalogue);
    let name = "acme_web.service.micado.";
    let cases = [
        (RecordType::A, None, 512, false),
        (RecordType::A, Some(4096), 1232, true),
        (RecordType::SRV, None, 512, false),
        (RecordType::SRV, Some(900), 900, true),
    ];
    for (kind, payload, limit, truncated) in cases {
        let (message, size) = ask(&zone, &query(name, kind, payload), Transport::Udp);
        assert!(
            size <= limit && size > limit / 2,
            "{kind} {payload:?}: {size}"
        );
        assert!(!message.answers.is_empty());
        assert_eq!(message.metadata.truncation, truncated, "{kind} {payload:?}");
    }
    let (all, _) = ask(
        &zone,
        &query(name, RecordType::A, Some(1232)),
        Transport::Tcp,
    );
    assert_eq!((all.answers.len(), all.metadata.truncation), (300, false));
    let (all, _) = ask(&zone, &query(name, RecordType::SRV, None), Transport::Tcp);
    assert_eq!((all.answers.len(), all.additionals.len()), (300, 300));
}

#[test]
fn bytes_that_are_no_query_do_no_harm() {
    let zone = two();
    let good = query("acme_web.service.micado.", RecordType::SRV, Some(1232));
    let good = good.to_vec().expect("bytes");
    assert_eq!(answer(&zone, &[], Transport::Udp), None);
    assert_eq!(answer(&zone, &[1], Transport::Udp), None);
    let response = answer(&zone, &good, Transport::Udp).expect("an answer");
    // Two servers must not answer each other for ever.
    assert_eq!(answer(&zone, &response, Transport::Udp), None);
    for at in 0..good.len() {
        drop(answer(&zone, &good[..at], Transport::Udp));
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            drop(answer(&zone, &bad, Transport::Tcp));
        }
    }
}

#[test]
fn only_private_addresses_are_answered() {
    for address in ["127.0.0.1", "10.1.2.3", "::1", "fd00::1", "::ffff:10.0.0.1"] {
        assert!(
            is_private(address.parse().expect("an address")),
            "{address}"
        );
    }
    for address in ["8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"] {
        assert!(
            !is_private(address.parse().expect("an address")),
            "{address}"
        );
    }
}
