//! The `micado` command line.
