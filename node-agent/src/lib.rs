//! What runs on every rented machine: samples, service registration, exec and copy sessions. Filled by a later issue.
