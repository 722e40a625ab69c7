//! Where images for nodes live.
