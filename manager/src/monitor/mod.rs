//! Monitoring by Prometheus: the manager's own counters, and the values and text of a scrape.

mod counters;
mod exposition;
mod family;
mod process;
mod scrape;
#[cfg(test)]
pub(crate) mod tests;

pub use counters::{CallLabels, Counters};
pub use exposition::Format;
pub use scrape::{LeaseReading, Scrape, Scraped};
