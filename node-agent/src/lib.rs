//! The agent on every rented machine: measures the machine and its containers, reports to the
//! manager, and opens sessions for it.

pub mod agent;
pub mod backoff;
pub mod clock;
pub mod dialer;
pub mod engine;
pub mod health;
pub mod identity;
pub mod link;
pub mod mailbox;
pub mod outbox;
pub mod priority;
pub mod renewal;
pub mod sampler;
pub mod session;
pub mod settings;
pub mod watch;
