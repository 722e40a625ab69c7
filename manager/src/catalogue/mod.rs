//! The catalogue of services: every published port of every copy, and the entries made by hand, with
//! the machines that they are on. It follows the core by level: rows are made anew from the views of
//! the subjects that a pass touched, and of all at every full pass.

mod keeper;
mod row;
mod service;
mod table;
mod topic;

pub use keeper::Keeper;
pub use row::{Entry, MANAGER, Node, Status, dns_name, manager as manager_node};
pub use service::{Form, Row, Selection, ServiceRows};
pub use table::{Catalogue, Change, Source};
pub use topic::{Indexed, Topic};

#[cfg(test)]
pub(crate) mod tests;
