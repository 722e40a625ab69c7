//! The agent's own priority: a saturated machine must still be seen.

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

const NICE: i32 = -5;
/// The kernel looks for memory elsewhere first.
const OOM_SCORE: &str = "-500";

/// Raises it as far as this process may, and the number of files that it may keep open. What is
/// refused is logged and done without.
pub fn raise() {
    if let Err(error) = setpriority_process(None, NICE) {
        tracing::info!("the agent runs at the usual priority: {error}");
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE) {
        tracing::info!("the agent may be killed as soon as others when memory runs out: {error}");
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    ) {
        tracing::info!(
            "the agent may open no more files than usual, about 100 containers' worth: {error}"
        );
    }
}
