//! A name server for the catalogue: the zone `micado`, over UDP and TCP. It is authoritative for
//! that zone and refuses all others. Only private addresses are answered.

mod message;
mod server;
mod zone;

pub use server::{BindError, Dns};
pub use zone::Zone;

#[cfg(test)]
mod tests;
