//! Unsent and unacknowledged frames for the manager: bounded, in order, resent after a cut.

use micado_api::agent::{ContainerEvent, FromAgent, SampleBatch};
use std::collections::VecDeque;

/// Upper bound for batches.
pub const MOST_BATCHES: usize = 300;
/// Upper bound for all frames, in bytes.
pub const MOST_BYTES: usize = 2 << 20;

/// Frames for the manager, oldest first.
#[derive(Debug, Default)]
pub struct Outbox {
    kept: VecDeque<Kept>,
    /// Number of frames in `kept` that were sent on the present connection.
    sent: usize,
    batches: usize,
    bytes: usize,
    connected: bool,
    dropped: u64,
}

#[derive(Debug)]
struct Kept {
    frame: FromAgent,
    bytes: usize,
    /// Sent at least once: unchanged from then on.
    tried: bool,
}

impl Outbox {
    /// Adds a batch.
    pub fn push_batch(&mut self, mut batch: SampleBatch) {
        batch.late = !self.connected;
        self.push(FromAgent::Samples(batch));
    }

    /// Adds an event.
    pub fn push_event(&mut self, event: ContainerEvent) {
        self.push(FromAgent::Event(event));
    }

    fn push(&mut self, frame: FromAgent) {
        let bytes = size(&frame);
        self.batches += usize::from(is_batch(&frame));
        self.bytes += bytes;
        self.kept.push_back(Kept {
            frame,
            bytes,
            tried: false,
        });
        while (self.batches > MOST_BATCHES || self.bytes > MOST_BYTES) && self.kept.len() > 1 {
            self.forget_oldest();
            self.dropped += 1;
        }
    }

    fn forget_oldest(&mut self) -> Option<FromAgent> {
        let oldest = self.kept.pop_front()?;
        self.batches -= usize::from(is_batch(&oldest.frame));
        self.bytes -= oldest.bytes;
        self.sent = self.sent.saturating_sub(1);
        Some(oldest.frame)
    }

    /// A connection is open: everything kept must be sent on it.
    pub fn connected(&mut self) {
        self.connected = true;
        self.sent = 0;
    }

    /// The connection is gone: batches that were never sent are late.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.sent = 0;
        for kept in self.kept.iter_mut().filter(|kept| !kept.tried) {
            if let FromAgent::Samples(batch) = &mut kept.frame {
                batch.late = true;
            }
        }
    }

    /// The next frame for this connection; counts as sent from here on.
    pub fn send_next(&mut self) -> Option<&FromAgent> {
        let kept = self.kept.get_mut(self.sent)?;
        self.sent += 1;
        kept.tried = true;
        Some(&kept.frame)
    }

    /// The manager has the batch of this sequence and everything sent before it. The sequence of an
    /// unsent batch acknowledges nothing.
    pub fn acknowledged(&mut self, sequence: u64) {
        let has = |kept: &Kept| matches!(&kept.frame, FromAgent::Samples(batch) if batch.sequence <= sequence);
        let Some(last) = self.kept.iter().take(self.sent).rposition(has) else {
            return;
        };
        for _ in 0..=last {
            self.forget_oldest();
        }
    }

    /// Number of frames dropped for lack of room since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

fn is_batch(frame: &FromAgent) -> bool {
    matches!(frame, FromAgent::Samples(_))
}

/// Approximate memory of a frame.
fn size(frame: &FromAgent) -> usize {
    let text = |id: &String, service: &Option<String>| {
        id.capacity() + service.as_ref().map_or(0, String::capacity)
    };
    size_of::<Kept>()
        + match frame {
            FromAgent::Hello { .. } | FromAgent::Health { .. } => 0,
            FromAgent::Event(event) => text(&event.id, &event.service),
            FromAgent::Samples(batch) => {
                batch.containers.capacity() * size_of::<micado_api::agent::ContainerSample>()
                    + batch
                        .containers
                        .iter()
                        .map(|sample| text(&sample.id, &sample.service))
                        .sum::<usize>()
            }
        }
}

#[cfg(test)]
mod tests;
