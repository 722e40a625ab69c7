//! The zone `micado`: records of a name, from the catalogue. No I/O.

use crate::catalogue::{Catalogue, Entry, ServiceRows};
use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, HINFO, NS, SOA, SRV},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// The zone's name.
const ZONE: &str = "micado";

/// Time for which an answer that there is nothing may be kept, in seconds.
const NEGATIVE_TTL: u32 = 1;

/// Time for which the address of a name that contains it may be kept, in seconds.
const ADDRESS_TTL: u32 = 3600;

/// The zone.
#[derive(Debug, Clone)]
pub struct Zone {
    pub catalogue: Catalogue,
    /// Address of the name server; `None` if the manager's address is a host name.
    pub own: Option<IpAddr>,
    /// Time for which answers about services and machines may be kept, in seconds.
    pub ttl: u32,
}

/// Records of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Records of the wanted type, in any order. None stands for a name without such a record.
    pub(super) answers: Vec<Record>,
    /// Addresses of the answers' targets.
    pub(super) additionals: Vec<Record>,
}

/// Result of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The name is in another zone.
    Elsewhere,
    /// There is no such name.
    Unknown,
    Name(Answers),
}

/// A name below the zone.
enum Subject {
    Zone,
    /// A name that has others below it, and nothing else.
    Branch,
    Address(IpAddr),
    Node(IpAddr),
    /// Passing entries of a service.
    Service(Vec<Arc<Entry>>),
}

impl Zone {
    /// Records of this type at this name.
    pub(super) fn look_up(&self, name: &Name, kind: RecordType) -> Found {
        let labels: Option<Vec<String>> = name
            .iter()
            .map(|label| Some(std::str::from_utf8(label).ok()?.to_lowercase()))
            .collect();
        let Some(mut labels) = labels else {
            return Found::Elsewhere;
        };
        if labels.pop().as_deref() != Some(ZONE) {
            return Found::Elsewhere;
        }
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match self.subject(&labels) {
            Some(subject) if kind == RecordType::ANY => {
                drop(subject);
                let hinfo = HINFO::new("RFC8482".to_owned(), String::new());
                let record = Record::from_rdata(name.clone(), ADDRESS_TTL, RData::HINFO(hinfo));
                Found::Name(Answers {
                    answers: vec![record],
                    ..Answers::default()
                })
            }
            Some(subject) => Found::Name(self.records(name, kind, &subject)),
            None => Found::Unknown,
        }
    }

    /// The zone's SOA, for answers without a record too.
    pub(super) fn soa(&self) -> Record {
        let serial = u32::try_from(self.catalogue.index() / 1000).unwrap_or(u32::MAX);
        let names = [named("ns"), named("hostmaster")];
        let [server, mailbox] = names;
        let minimum = NEGATIVE_TTL;
        let soa = SOA::new(server, mailbox, serial, 3600, 600, 86_400, minimum);
        Record::from_rdata(zone(), NEGATIVE_TTL, RData::SOA(soa))
    }

    /// Labels are in lower case and without the zone's own.
    fn subject(&self, labels: &[&str]) -> Option<Subject> {
        match labels {
            [] => Some(Subject::Zone),
            ["ns"] => Some(self.own.map_or(Subject::Branch, Subject::Address)),
            ["service" | "node" | "addr"] => Some(Subject::Branch),
            [address, "addr"] => address_of(address).map(Subject::Address),
            [tag @ .., "node"] => self.node(&tag.join(".")).map(Subject::Node),
            [name @ .., "service"] => self.entries(name).map(Subject::Service),
            _ => None,
        }
    }

    fn node(&self, tag: &str) -> Option<IpAddr> {
        let nodes = self.catalogue.nodes();
        let mut nodes = nodes.iter().map(|node| &node.value);
        let node = nodes.find(|node| node.name.to_lowercase() == tag)?;
        node.address.parse().ok()
    }

    /// Passing entries of a service: by its name, by `_NAME._tcp`, or by `TAG.NAME`.
    fn entries(&self, labels: &[&str]) -> Option<Vec<Arc<Entry>>> {
        let of = |service: &ServiceRows, is: &dyn Fn(&Entry) -> bool| {
            let entries = service.rows().map(|row| &row.value);
            let entries = entries.filter(|entry| entry.is_passing() && is(entry));
            entries.cloned().collect::<Vec<_>>()
        };
        if let [name, protocol @ ("_tcp" | "_udp")] = labels {
            let service = self.catalogue.by_dns(name.strip_prefix('_')?)?;
            let wanted = protocol.trim_start_matches('_');
            let is_of = |entry: &Entry| {
                let protocol = entry.meta.get("protocol").map(String::as_str);
                protocol.unwrap_or("tcp") == wanted
            };
            return Some(of(&service, &is_of));
        }
        if let Some(service) = self.catalogue.by_dns(&labels.join(".")) {
            return Some(of(&service, &|_| true));
        }
        let (tag, name) = labels.split_first()?;
        let service = self.catalogue.by_dns(&name.join("."))?;
        let has = |entry: &Entry| entry.tags.iter().any(|it| it.to_lowercase() == *tag);
        let is_tag = service.rows().any(|row| has(&row.value));
        is_tag.then(|| of(&service, &has))
    }

    fn records(&self, name: &Name, kind: RecordType, subject: &Subject) -> Answers {
        let at = |address: IpAddr, ttl| {
            let record = address_record(name.clone(), ttl, address);
            Answers {
                answers: Vec::from_iter(Some(record).filter(|it| it.record_type() == kind)),
                ..Answers::default()
            }
        };
        match subject {
            Subject::Zone if kind == RecordType::SOA => Answers {
                answers: vec![self.soa()],
                ..Answers::default()
            },
            Subject::Zone if kind == RecordType::NS => {
                let server = named("ns");
                let address = self.own.map(|own| address_record(server.clone(), 60, own));
                Answers {
                    answers: vec![Record::from_rdata(zone(), 60, RData::NS(NS(server)))],
                    additionals: Vec::from_iter(address),
                }
            }
            Subject::Zone | Subject::Branch => Answers::default(),
            Subject::Address(address) => at(*address, ADDRESS_TTL),
            Subject::Node(address) => at(*address, self.ttl),
            Subject::Service(entries) if kind == RecordType::SRV => self.servers(name, entries),
            Subject::Service(entries) => {
                let addresses = entries.iter();
                let addresses: BTreeSet<IpAddr> = addresses
                    .filter_map(|entry| entry.address.parse().ok())
                    .collect();
                let records = addresses.into_iter();
                let records =
                    records.map(|address| address_record(name.clone(), self.ttl, address));
                Answers {
                    answers: records.filter(|it| it.record_type() == kind).collect(),
                    ..Answers::default()
                }
            }
        }
    }

    fn servers(&self, name: &Name, entries: &[Arc<Entry>]) -> Answers {
        let mut found = Answers::default();
        let mut targets = BTreeSet::new();
        for entry in entries {
            let address: Option<IpAddr> = entry.address.parse().ok();
            let target = match address {
                Some(address) => Some(address_name(address)),
                // An entry made by hand has a host name.
                None => Name::from_ascii(format!("{}.", entry.address)).ok(),
            };
            let Some(target) = target else { continue };
            if let Some(address) = address.filter(|address| targets.insert(*address)) {
                let record = address_record(target.clone(), ADDRESS_TTL, address);
                found.additionals.push(record);
            }
            let server = SRV::new(1, 1, entry.port, target);
            let record = Record::from_rdata(name.clone(), self.ttl, RData::SRV(server));
            found.answers.push(record);
        }
        found
    }
}

fn zone() -> Name {
    named("")
}

/// A name below the zone, or the zone's own.
fn named(below: &str) -> Name {
    let dot = if below.is_empty() { "" } else { "." };
    Name::from_ascii(format!("{below}{dot}{ZONE}.")).expect("short labels of letters and digits")
}

/// Name of an address: its hexadecimal digits.
fn address_name(address: IpAddr) -> Name {
    named(&match address {
        IpAddr::V4(address) => format!("{:08x}.addr", address.to_bits()),
        IpAddr::V6(address) => format!("{:032x}.addr", address.to_bits()),
    })
}

fn address_of(label: &str) -> Option<IpAddr> {
    // A sign would be read as part of the number.
    if !label.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match label.len() {
        8 => {
            let bits = u32::from_str_radix(label, 16).ok()?;
            Some(Ipv4Addr::from_bits(bits).into())
        }
        32 => {
            let bits = u128::from_str_radix(label, 16).ok()?;
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}

fn address_record(name: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name, ttl, data)
}
