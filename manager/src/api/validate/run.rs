//! Checks of the options of `docker run`. What the engine would refuse only on the machine is
//! refused here.

use super::{Checked, is_host_name, refuse};
use micado_api::{
    HealthCheck, MemoryBytes, Probe, RunOptions, ServiceSpec, Tmpfs, Ulimit, foreign::excerpt,
};
use std::collections::BTreeSet;

/// Capabilities that act within a container. The others act on its machine, which runs containers
/// of others, and the agent with the machine's key (capabilities(7)).
const CAPABILITIES: [&str; 21] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "LEASE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
    "SYS_PTRACE",
    "SYS_RESOURCE",
];

/// Resource limits that the engine knows (setrlimit(2)).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Upper bound for the stop grace: a machine cannot be returned before.
const GRACE_MAX: u64 = 3_600_000;
/// Upper bound for a host name (the kernel's `__NEW_UTS_LEN`).
const HOST_NAME_MAX: usize = 64;
/// Lower bound for the times of a health check: each costs the machine a process.
const HEALTH_MIN: u64 = 1_000;
/// Upper bound for the times of a health check.
const HEALTH_MAX: u64 = 86_400_000;
/// Upper bounds for the path of an agent's check, in bytes, and for its failures in a row.
const PATH_MAX: usize = 1024;
const RETRIES_MAX: u64 = 100;
/// Upper bound for processes and threads (the kernel's `PID_MAX_LIMIT`).
const PIDS_MAX: u64 = 4_194_304;
/// Upper bound for one text (the kernel's `MAX_ARG_STRLEN`, with the zero byte).
const TEXT_MAX: usize = 128 * 1024 - 1;
/// Upper bound for all texts of a service. It is kept twice in the Swarm, whose messages have at
/// most 1.5 MiB.
const TEXTS_MAX: usize = 512 * 1024;

/// Checks the options of a service, and the sizes of its texts.
pub(super) fn options(spec: &ServiceSpec) -> Checked {
    let run = &spec.run;
    sizes(spec)?;
    let named = [
        ("user", &run.user),
        ("working directory", &run.workdir),
        ("host name", &run.hostname),
        ("stop signal", &run.stop_signal),
    ];
    for (what, text) in named {
        if text
            .as_ref()
            .is_some_and(|text| text.is_empty() || text.contains('\0'))
        {
            return Err(refuse(format!("the {what} is empty or holds a zero byte")));
        }
    }
    if let Some(path) = run.workdir.as_ref().filter(|path| !path.starts_with('/')) {
        return Err(refuse(format!(
            "working directory `{path}` is not absolute"
        )));
    }
    let hostname = run
        .hostname
        .as_ref()
        .filter(|it| it.len() > HOST_NAME_MAX || !is_host_name(it));
    if let Some(name) = hostname {
        return Err(refuse(format!("host name `{name}` is none")));
    }
    run.stop_signal.as_deref().map_or(Ok(()), signal)?;
    if let Some(ms) = run.stop_grace_ms.filter(|ms| *ms > GRACE_MAX) {
        return Err(refuse(format!(
            "a stop grace of {} s is more than an hour",
            ms / 1_000
        )));
    }
    if let Some(most) = run.pids.filter(|most| *most > PIDS_MAX) {
        return Err(refuse(format!(
            "{most} processes are more than {PIDS_MAX}: the kernel has no more"
        )));
    }
    labels(run)?;
    in_memory(spec)?;
    capabilities(run)?;
    run.ulimits.iter().try_for_each(ulimit)?;
    run.health.as_ref().map_or(Ok(()), health)
}

/// Texts of a service: each is at most as long as the kernel takes, all together as the Swarm does.
fn sizes(spec: &ServiceSpec) -> Checked {
    let run = &spec.run;
    let labels = run.labels.iter().flat_map(|(key, value)| [key, value]);
    let health = run.health.iter().filter_map(|check| check.command.as_ref());
    let texts = spec.environment.iter().chain(&spec.arguments);
    let texts = texts.chain(&spec.entrypoint).chain(labels).chain(health);
    let mut sum = 0;
    for text in texts {
        if text.len() > TEXT_MAX {
            let name: String = text.chars().take(20).collect();
            let name = name.split('=').next().unwrap_or_default();
            return Err(refuse(format!(
                "`{name}...` has {} bytes, more than the kernel's {TEXT_MAX}",
                text.len()
            ))
            .hint("put large values into the image, or copy them into a volume"));
        }
        sum += text.len();
    }
    if sum > TEXTS_MAX {
        return Err(refuse(format!(
            "environment, arguments and labels have {sum} bytes, more than {TEXTS_MAX}"
        ))
        .hint("put large values into the image, or copy them into a volume"));
    }
    Ok(())
}

fn signal(signal: &str) -> Checked {
    let name = signal.strip_prefix("SIG").unwrap_or(signal);
    let is_number = name
        .parse::<u8>()
        .is_ok_and(|number| (1..=64).contains(&number));
    let begins = name.starts_with(|c: char| c.is_ascii_uppercase());
    let is_name = begins
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "+-".contains(c));
    match is_number || is_name {
        true => Ok(()),
        false => Err(refuse(format!(
            "stop signal `{signal}` is neither a name such as `SIGQUIT` nor a number from 1 to 64"
        ))),
    }
}

fn labels(run: &RunOptions) -> Checked {
    for (key, value) in &run.labels {
        if key.is_empty() || key.contains(['\0', '=']) || value.contains('\0') {
            return Err(refuse(format!("label `{key}` is not `KEY=VALUE`")));
        }
        if let Some(owner) = ["micado.", "com.docker."]
            .into_iter()
            .find(|it| key.starts_with(it))
        {
            return Err(refuse(format!(
                "label `{key}`: those that begin with `{owner}` are not for services"
            )));
        }
    }
    Ok(())
}

/// Folders in memory: apart from each other and from the volumes.
fn in_memory(spec: &ServiceSpec) -> Checked {
    let run = &spec.run;
    if run.shm_size == Some(MemoryBytes(0)) {
        return Err(refuse("a /dev/shm of size 0 holds nothing"));
    }
    let volumes = spec.volumes.iter().map(|volume| volume.path.as_str());
    let shm = run.shm_size.map(|_| "/dev/shm");
    let mut taken: BTreeSet<&str> = volumes
        .chain(shm)
        .map(|it| it.trim_end_matches('/'))
        .collect();
    for Tmpfs { path, size } in &run.tmpfs {
        let inside = path.starts_with('/')
            && !path.contains('\0')
            && path.split('/').all(|part| part != "..")
            && !path.trim_matches('/').is_empty();
        if !inside {
            return Err(refuse(format!(
                "tmpfs needs an absolute path below `/` in the container, not `{path}`"
            )));
        }
        if *size == Some(MemoryBytes(0)) {
            return Err(refuse(format!("tmpfs `{path}` of size 0 holds nothing")));
        }
        if !taken.insert(path.trim_end_matches('/')) {
            return Err(refuse(format!("two mounts at `{path}`")));
        }
    }
    Ok(())
}

fn capabilities(run: &RunOptions) -> Checked {
    for name in &run.cap_add {
        if !CAPABILITIES.contains(&name.as_str()) {
            return Err(refuse(format!(
                "capability `{name}` is not given: it is unknown, or acts on the whole machine"
            ))
            .hint(format!("those that are given: {}", CAPABILITIES.join(", "))));
        }
    }
    let is_name = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    match run.cap_drop.iter().find(|name| !is_name(name)) {
        Some(name) => Err(refuse(format!("`{name}` is no name of a capability"))),
        None => Ok(()),
    }
}

fn ulimit(limit: &Ulimit) -> Checked {
    let Ulimit { name, soft, hard } = limit;
    if !ULIMITS.contains(&name.as_str()) {
        return Err(refuse(format!("ulimit `{name}` is unknown"))
            .hint(format!("those that are known: {}", ULIMITS.join(", "))));
    }
    if *soft < -1 || *hard < -1 || *hard != -1 && (*soft == -1 || soft > hard) {
        return Err(refuse(format!(
            "ulimit `{limit}`: the soft limit is at most the hard one, and -1 is no limit"
        )));
    }
    Ok(())
}

fn health(check: &HealthCheck) -> Checked {
    let HealthCheck {
        off,
        command,
        probe,
        interval_ms,
        timeout_ms,
        retries,
        start_ms,
        restart_after_ms,
    } = check;
    if let Some(probe) = probe {
        return probe_of(check, probe);
    }
    if restart_after_ms.is_some() {
        return Err(refuse(
            "`--restart-after` is of checks by the agent: the engine restarts what it finds unhealthy",
        )
        .hint("set one with `--health-http` or `--health-tcp`"));
    }
    let set = command.is_some()
        || retries.is_some()
        || [interval_ms, timeout_ms, start_ms]
            .into_iter()
            .any(Option::is_some);
    if *off && set {
        return Err(refuse(
            "without a health check, there is nothing to set of it",
        ));
    }
    if command
        .as_ref()
        .is_some_and(|it| it.trim().is_empty() || it.contains('\0'))
    {
        return Err(refuse("the health command is empty or holds a zero byte"));
    }
    let times = [
        ("interval", interval_ms),
        ("timeout", timeout_ms),
        ("start", start_ms),
    ];
    for (name, time) in times {
        let out = time.filter(|ms| !(HEALTH_MIN..=HEALTH_MAX).contains(ms));
        if let Some(ms) = out {
            return Err(refuse(format!(
                "health {name} of {ms} ms: it may be 1 second to 24 hours"
            )));
        }
    }
    Ok(())
}

/// A check of the agent, and its times.
fn probe_of(check: &HealthCheck, probe: &Probe) -> Checked {
    if check.command.is_some() {
        return Err(refuse(format!(
            "`--health-cmd` and `--{}` exclude each other: the times are of one check",
            probe.flag()
        ))
        .hint("an image's own HEALTHCHECK may stand beside the agent's check"));
    }
    if probe.port() == Some(0) {
        return Err(refuse("the health check's port is 0, which is no port"));
    }
    if let Probe::Http { path, status, .. } = probe {
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_path || path.contains('#') || path.len() > PATH_MAX {
            return Err(refuse(format!(
                "health path `{}` is no path: it begins with `/`, has no spaces and at most {PATH_MAX} characters",
                excerpt(path, 100)
            )));
        }
        if let Some(status) = status.filter(|status| !(200..=599).contains(status)) {
            return Err(refuse(format!(
                "health status {status} is none that a server ends with: 200 to 599"
            )));
        }
    }
    if let Some(most) = check.retries.filter(|most| most.get() > RETRIES_MAX) {
        return Err(refuse(format!(
            "{most} failed checks in a row are more than {RETRIES_MAX}"
        )));
    }
    let times = [
        (
            "interval",
            check.interval_ms,
            250,
            3_600_000,
            "250 ms to 1 hour",
        ),
        ("timeout", check.timeout_ms, 10, 60_000, "10 ms to 1 minute"),
        ("start", check.start_ms, 0, 3_600_000, "at most 1 hour"),
        (
            "restart-after",
            check.restart_after_ms,
            1_000,
            HEALTH_MAX,
            "1 second to 24 hours",
        ),
    ];
    for (name, time, least, most, words) in times {
        if let Some(ms) = time.filter(|ms| !(least..=most).contains(ms)) {
            return Err(refuse(format!(
                "health {name} of {ms} ms: by the agent it may be {words}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
