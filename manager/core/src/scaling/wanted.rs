//! Answer of one policy.

use super::why::{Cause, Unknown};

/// Count that a policy wants, or the reason why it cannot tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    Count(u32, Cause),
    Unknown(Unknown),
}
