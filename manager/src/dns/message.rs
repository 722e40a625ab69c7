//! A query's bytes to its answer's bytes. No I/O.

use super::zone::{Answers, Found, Zone};
use hickory_proto::{
    op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, Record, RecordType},
};
use rand::seq::SliceRandom;

/// Upper bound for an answer over UDP to a client that names none, and to one that does.
const PLAIN_MAX: usize = 512;
const UDP_MAX: usize = 1232;

/// Size of the smallest record: a bound for the number of those that are encoded.
const RECORD_MIN: usize = 16;

/// Transport of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The answer to a query; `None` for bytes that are no query.
pub(super) fn answer(zone: &Zone, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let Ok(query) = Message::from_vec(query) else {
        return malformed(query);
    };
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = response(&query);
    let limit = match (transport, &query.edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => PLAIN_MAX,
        (Transport::Udp, Some(edns)) => usize::from(edns.max_payload()).clamp(PLAIN_MAX, UDP_MAX),
    };
    let code = match question(&query) {
        Err(code) => code,
        Ok(_) if !zone.catalogue.is_complete() => ResponseCode::ServFail,
        Ok(question) => match zone.look_up(question.name(), question.query_type()) {
            Found::Elsewhere => ResponseCode::Refused,
            Found::Unknown => {
                response.add_authority(zone.soa());
                ResponseCode::NXDomain
            }
            Found::Name(answers) => {
                fill(&mut response, zone, answers, limit);
                ResponseCode::NoError
            }
        },
    };
    response.metadata.response_code = code;
    response.metadata.authoritative =
        matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
    fit(response, limit)
}

/// The answer to bytes with an id that are no query.
fn malformed(query: &[u8]) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes(query.first_chunk::<2>().copied()?);
    let is_response = query.get(2)? & 0x80 != 0;
    let error = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    (!is_response).then(|| error.to_vec().ok()).flatten()
}

fn response(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX as u16);
        response.set_edns(edns);
    }
    response
}

/// The one question of a query, or the code of its refusal.
fn question(query: &Message) -> Result<&Query, ResponseCode> {
    if query.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    let [question] = query.queries.as_slice() else {
        return Err(ResponseCode::FormErr);
    };
    let is_transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    if question.query_class() != DNSClass::IN || is_transfer {
        return Err(ResponseCode::Refused);
    }
    Ok(question)
}

fn fill(response: &mut Message, zone: &Zone, mut found: Answers, limit: usize) {
    if found.answers.is_empty() {
        response.add_authority(zone.soa());
        return;
    }
    found.answers.shuffle(&mut rand::rng());
    let most = limit / RECORD_MIN;
    let is_cut = found.answers.len() > most;
    found.answers.truncate(most);
    response.metadata.truncation = is_cut && response.edns.is_some();
    response.add_answers(found.answers);
    let targets = found.additionals.into_iter();
    response.add_additionals(targets.take(most));
}

/// Drops records until the answer fits: a part of the answers serves as well as all, because they
/// are in no order. It is marked as a part only for clients that know how to ask for the rest, and
/// if nothing is left.
fn fit(mut response: Message, limit: usize) -> Option<Vec<u8>> {
    loop {
        let bytes = response.to_vec().ok();
        if let Some(bytes) = bytes.as_ref().filter(|bytes| bytes.len() <= limit) {
            return Some(bytes.clone());
        }
        // An answer that cannot be encoded at all is longer than any that can.
        let size = bytes.map_or(2 * limit, |bytes| bytes.len());
        let less = |records: &[Record]| {
            let part = records.len() * limit / size;
            part.min(records.len().saturating_sub(1))
        };
        if !response.additionals.is_empty() {
            let left = less(&response.additionals);
            response.additionals.truncate(left);
        } else if !response.answers.is_empty() {
            let left = less(&response.answers);
            response.answers.truncate(left);
            response.metadata.truncation |= response.edns.is_some() || left == 0;
        } else if !response.authorities.is_empty() {
            response.authorities.clear();
        } else {
            return None;
        }
    }
}
