//! Fault points: named places where a debug build kills itself if the environment says so. Tests
//! crash the manager at each of them.

/// The place to die at, as `NAME:HIT`: the HIT-th time that NAME is reached (1 is the first).
pub const FAULT: &str = "MICADO_FAULT";

/// Dies here by SIGKILL if `MICADO_FAULT` names this place and hit. Nothing in release builds.
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    debug::reached(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod debug {
    use std::{
        collections::HashMap,
        sync::{LazyLock, Mutex, PoisonError},
    };

    static WANTED: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let setting = std::env::var(super::FAULT).ok()?;
        let (name, hit) = setting.rsplit_once(':')?;
        Some((name.to_owned(), hit.parse().ok()?))
    });
    static HITS: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);

    pub(super) fn reached(name: &str) {
        let Some((wanted, hit)) = WANTED.as_ref() else {
            return;
        };
        if wanted != name && wanted != "any" {
            return;
        }
        let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = hits.entry(wanted.clone()).or_insert(0);
        *count += 1;
        if count == hit {
            tracing::warn!(name, hit, "fault point: dying");
            let me = std::process::id().to_string();
            // A SIGKILL, not an exit: nothing is flushed, no destructor runs.
            let _ = std::process::Command::new("kill")
                .args(["-9", &me])
                .status();
            std::process::abort();
        }
    }
}
