//! The control core: a state machine that maps `(now, event)` to actions. No I/O, no clock, no
//! randomness except the seed that it is made with.

mod adopt;
mod calls;
mod clouds;
mod config;
mod copies;
mod core;
mod dirty;
mod draining;
mod event;
mod foreign;
mod happened;
mod headroom;
mod images;
mod index;
mod instances;
mod joining;
mod journal;
mod kept;
mod leads;
mod leaving;
mod ledger;
mod lookup;
mod monitoring;
mod moves;
mod nodes;
mod observed;
mod orders;
mod owner;
mod pace;
mod placing;
mod policies;
mod protect;
mod replacing;
mod requests;
mod returns;
mod scaling;
mod services;
mod signals;
mod silent;
mod spans;
mod spare;
mod tally;
#[cfg(test)]
mod tests;
mod view;
mod warming;

pub use self::core::Core;
pub use config::{Config, DOWN_TIMEOUT, HOLD, heartbeat_for};
pub use event::{Action, Answer, Call, CallKey, Event, Reply, Request, Ticket};
pub use lookup::{LogSource, SessionPlace};
pub use monitoring::{MonitoredContainer, Overview, ScaledState};
pub use policies::refused;
pub use scaling::{Foreseen, ServiceLoad};
pub use signals::{Signal, Source};
pub use tally::{ScaledChanges, ScaledService, Version};
