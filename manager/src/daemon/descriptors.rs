//! The number of files and connections that the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for thousands of machines with sessions.
const WANTED: u64 = 65_536;
/// With fewer than these, some hundred connections fill the manager.
const ENOUGH: u64 = 4096;

/// Raises the soft limit, which systemd and shells set to 1024, as far as the hard one allows.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let raised = WANTED.min(limit.maximum.unwrap_or(u64::MAX)).max(soft);
    let wanted = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    let reached = if raised > soft && setrlimit(Resource::Nofile, wanted).is_err() {
        soft
    } else {
        raised
    };
    if reached < ENOUGH {
        tracing::warn!(
            "at most {reached} files and connections can be open; raise the limit (`LimitNOFILE=` of systemd, `ulimit -n`)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_and_the_hard_one_kept() {
        let before = getrlimit(Resource::Nofile);
        raise();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(before.maximum, after.maximum);
        let reachable = before.maximum.unwrap_or(u64::MAX).min(WANTED);
        assert!(after.current.unwrap_or(u64::MAX) >= reachable);
    }
}
