//! What is made of what node agents measure: figures of this moment, points to be kept, roll-ups of
//! those, and what images need. Pure functions of values.

mod footprint;
mod happening;
mod history;
mod meter;
mod point;
mod rollup;

pub use footprint::{LEARN_AFTER, Seen, Used};
pub use happening::{EVENTS_KEPT, EVENTS_MOST, First, Happening, Identity, Placed, RecallEvents};
pub use history::{History, Recall, Whose};
pub use meter::Meter;
pub use point::{ContainerPoint, MachinePoint, Point, Resolution, per_second};
pub use rollup::roll_up;
