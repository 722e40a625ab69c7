//! Domain names to containers. Filled by a later issue.
