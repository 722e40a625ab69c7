//! What waits to be sent to the manager, and what was sent and not yet acknowledged: kept within a
//! bound, in order, sent again after a cut.

use micado_api::agent::{ContainerEvent, FromAgent, SampleBatch};
use std::collections::VecDeque;

/// The most batches that are kept.
pub const MOST_BATCHES: usize = 300;
/// The most that all that is kept may take, in bytes.
pub const MOST_BYTES: usize = 2 << 20;

/// Frames for the manager, oldest first.
#[derive(Debug, Default)]
pub struct Outbox {
    kept: VecDeque<Kept>,
    /// How many of `kept` were sent on the present connection.
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
    /// It was on its way once: it is never changed after that.
    tried: bool,
}

impl Outbox {
    /// A batch was measured.
    pub fn push_batch(&mut self, mut batch: SampleBatch) {
        batch.late = !self.connected;
        self.push(FromAgent::Samples(batch));
    }

    /// Something happened.
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

    /// There is a connection: everything kept is to be sent on it.
    pub fn connected(&mut self) {
        self.connected = true;
        self.sent = 0;
    }

    /// The connection is gone: what was never on its way is late.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.sent = 0;
        for kept in self.kept.iter_mut().filter(|kept| !kept.tried) {
            if let FromAgent::Samples(batch) = &mut kept.frame {
                batch.late = true;
            }
        }
    }

    /// The next frame to send on this connection; from here on it counts as sent.
    pub fn send_next(&mut self) -> Option<&FromAgent> {
        let kept = self.kept.get_mut(self.sent)?;
        self.sent += 1;
        kept.tried = true;
        Some(&kept.frame)
    }

    /// The manager has the batch of this sequence and all that was sent before it. One that was
    /// never sent acknowledges nothing.
    pub fn acknowledged(&mut self, sequence: u64) {
        let has = |kept: &Kept| matches!(&kept.frame, FromAgent::Samples(batch) if batch.sequence <= sequence);
        let Some(last) = self.kept.iter().take(self.sent).rposition(has) else {
            return;
        };
        for _ in 0..=last {
            self.forget_oldest();
        }
    }

    /// How many frames were dropped for want of room since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

fn is_batch(frame: &FromAgent) -> bool {
    matches!(frame, FromAgent::Samples(_))
}

/// Memory that a frame takes, about.
fn size(frame: &FromAgent) -> usize {
    let text = |id: &String, service: &Option<String>| {
        id.capacity() + service.as_ref().map_or(0, String::capacity)
    };
    size_of::<Kept>()
        + match frame {
            FromAgent::Hello { .. } => 0,
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
