//! Evaluation of the metrics that node agents report: current use, points for the store, roll-ups,
//! and footprints of images. Pure functions of values.

mod event;
mod footprint;
mod history;
mod meter;
mod point;
mod rollup;
mod sums;
mod total;
mod verdict;

pub use event::{EVENTS_KEPT, EVENTS_MOST, EventRecord, Identity, Order, Placed, RecallEvents};
pub use footprint::{LEARN_AFTER, Seen, Used};
pub use history::{History, Recall, Series};
pub use meter::{InUse, Meter};
pub use point::{ContainerPoint, MachinePoint, Point, Resolution, per_second};
pub use rollup::roll_up;
pub use sums::Summing;
pub use total::{cpu_slots, totals};
pub use verdict::{RecallVerdicts, VERDICTS_KEPT, VERDICTS_MOST};
