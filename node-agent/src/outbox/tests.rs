//! No batch is lost within the bound, none changes once it was sent, and the oldest are dropped
//! first.

use super::*;
use micado_api::{
    Timestamp,
    agent::{ContainerHappening, ContainerSample, MachineSample},
};

fn batch(sequence: u64, containers: usize) -> SampleBatch {
    let containers = (0..containers)
        .map(|n| ContainerSample {
            id: format!("{n:064}"),
            ..ContainerSample::default()
        })
        .collect();
    SampleBatch {
        sequence,
        at: Timestamp(sequence * 2000),
        late: false,
        machine: MachineSample::default(),
        containers,
    }
}

fn event(id: &str) -> ContainerEvent {
    ContainerEvent {
        id: id.to_owned(),
        service: None,
        at: Timestamp(1),
        what: ContainerHappening::Started,
    }
}

/// Frames sent now: sequences, `!` if late, and ids of events.
fn send_all(outbox: &mut Outbox) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(frame) = outbox.send_next() {
        sent.push(match frame {
            FromAgent::Samples(batch) => {
                format!("{}{}", batch.sequence, if batch.late { "!" } else { "" })
            }
            FromAgent::Event(event) => event.id.clone(),
            FromAgent::Hello { .. } | FromAgent::Health { .. } => "hello".to_owned(),
        });
    }
    sent
}

#[test]
fn what_is_not_acknowledged_is_sent_again_unchanged() {
    let mut outbox = Outbox::default();
    outbox.push_batch(batch(1, 0));
    outbox.connected();
    outbox.push_event(event("a"));
    outbox.push_batch(batch(2, 0));
    outbox.push_event(event("b"));
    assert_eq!(send_all(&mut outbox), ["1!", "a", "2", "b"]);
    outbox.push_batch(batch(3, 0));
    outbox.acknowledged(1);
    outbox.disconnected();
    outbox.push_batch(batch(4, 0));
    outbox.connected();
    assert_eq!(
        send_all(&mut outbox),
        ["a", "2", "b", "3!", "4!"],
        "2 had been on its way in time, 3 had not"
    );
    outbox.acknowledged(3);
    outbox.acknowledged(2);
    outbox.disconnected();
    outbox.connected();
    assert_eq!(send_all(&mut outbox), ["4!"]);
    outbox.acknowledged(4);
    assert_eq!((outbox.kept.len(), outbox.batches, outbox.bytes), (0, 0, 0));
}

#[test]
fn nothing_is_acknowledged_before_it_was_sent() {
    let mut outbox = Outbox::default();
    outbox.push_batch(batch(1, 0));
    outbox.connected();
    outbox.acknowledged(9);
    assert_eq!(send_all(&mut outbox), ["1!"]);
}

#[test]
fn the_oldest_go_first_and_it_is_said() {
    let mut outbox = Outbox::default();
    for sequence in 1..=310 {
        outbox.push_batch(batch(sequence, 0));
    }
    assert_eq!(outbox.take_dropped(), 10);
    outbox.connected();
    assert_eq!(
        send_all(&mut outbox).first().map(String::as_str),
        Some("11!")
    );
    // 100 containers in each: the bytes are the bound.
    for sequence in 311..=700 {
        outbox.push_batch(batch(sequence, 100));
    }
    assert!(
        outbox.bytes <= MOST_BYTES && outbox.kept.len() > 50,
        "{} bytes in {} frames",
        outbox.bytes,
        outbox.kept.len()
    );
    assert!(outbox.take_dropped() > 300);
    let sent = send_all(&mut outbox);
    assert_eq!(
        sent.len(),
        outbox.kept.len(),
        "what was sent and then dropped is not counted as sent"
    );
    assert_eq!(sent.last().map(String::as_str), Some("700"));
}
