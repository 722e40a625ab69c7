//! The agent's own priority: it must report from a saturated machine too.

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

const NICE: i32 = -5;
/// The kernel prefers other processes for OOM kills.
const OOM_SCORE: &str = "-500";

/// Raises priority and the open-file limit as far as this process may. A refusal is logged and
/// ignored.
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
