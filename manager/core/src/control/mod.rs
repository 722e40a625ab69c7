//! The control core: a state machine that takes `(now, event)` and gives actions. No I/O, no clock,
//! no randomness but the seed it is made with.

mod adopt;
mod clouds;
mod containers;
mod core;
mod event;
mod forget;
mod happened;
mod images;
mod instances;
mod joining;
mod journal;
mod ledger;
mod placing;
mod requests;
mod services;
mod sight;
mod silent;
mod strangers;
#[cfg(test)]
mod tests;
mod view;

pub use self::core::{Config, Core, DOWN_TIMEOUT, heartbeat_for};
pub use event::{Action, Answer, Call, CallKey, Event, Reply, Request, Ticket};
pub use view::{LogSource, SessionPlace};
