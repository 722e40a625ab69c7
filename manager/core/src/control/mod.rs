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
mod images;
mod index;
mod instances;
mod joining;
mod journal;
mod ledger;
mod lookup;
mod moves;
mod nodes;
mod observed;
mod orders;
mod owner;
mod placing;
mod policies;
mod requests;
mod scaling;
mod services;
mod silent;
#[cfg(test)]
mod tests;
mod view;

pub use self::core::Core;
pub use config::{Config, DOWN_TIMEOUT, heartbeat_for};
pub use event::{Action, Answer, Call, CallKey, Event, Reply, Request, Ticket};
pub use lookup::{LogSource, SessionPlace};
pub use scaling::{Foreseen, ScaledService, ServiceLoad};
