//! Trees of version 2 that `scripts/record-cgroups` recorded on real machines, each at two moments,
//! beside the engine's report of the same containers in between. docs/testing.md names the machines
//! and the behaviour of the containers.

use crate::{copy, tree};
use micado_api::{
    MemoryBytes,
    agent::{ContainerSample, MachineSample},
};
use micado_node_agent::sampler::{Sampler, files::Kernel};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const MACHINES: [&str; 3] = ["v2-systemd", "v2-systemd-6.12", "v2-cgroupfs"];
const MACHINE_IN_A_CONTAINER: &str = "v2-container";
const MIB: u64 = 1 << 20;
/// Below this change of usage, the file cache is not read again.
const CHARGE: u64 = 256 << 10;

fn all() -> impl Iterator<Item = &'static str> {
    MACHINES.into_iter().chain([MACHINE_IN_A_CONTAINER])
}

/// A copy of a tree at the first moment, and a sampler that knows its containers.
struct Recording {
    name: &'static str,
    about: Value,
    folder: tempfile::TempDir,
    sampler: Sampler,
}

type Samples = BTreeMap<String, ContainerSample>;

impl Recording {
    fn open(name: &'static str) -> Self {
        Self::changed(name, |_| ())
    }

    /// A tree with files changed before the sampler sees them.
    fn changed(name: &'static str, change: impl FnOnce(&Self)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        copy(&tree(name).join("1"), folder.path());
        let sampler = Sampler::new(Kernel::below(folder.path())).expect("cgroups");
        let mut recording = Self {
            name,
            about: read(&tree(name).join("about.json")),
            folder,
            sampler,
        };
        change(&recording);
        let resets = recording.about["peak_can_be_reset"]
            .as_bool()
            .expect("a word");
        // With the kernel's modes; the test writes to them once they are open.
        recording.set_mode_of_peaks(if resets { 0o644 } else { 0o444 });
        for (container, said) in recording.containers() {
            let id = said["Id"].as_str().expect("an id");
            let pid = u32::try_from(number(&said, "/State/Pid")).expect("a pid");
            assert!(
                recording.sampler.started(id, Some(container), None, pid),
                "{name}: the container is found"
            );
        }
        recording.set_mode_of_peaks(0o644);
        recording
    }

    /// The engine's report of them, by name.
    fn containers(&self) -> BTreeMap<String, Value> {
        serde_json::from_value(self.about["containers"].clone()).expect("containers")
    }

    /// The cgroup of a container.
    fn group(&self, container: &str) -> PathBuf {
        let id = self.containers()[container]["Id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let top = self.folder.path().join("sys/fs/cgroup");
        let places = [
            top.join(format!("system.slice/docker-{id}.scope")),
            top.join("docker").join(&id),
            top.join("c").join(&id),
        ];
        places
            .into_iter()
            .find(|place| place.exists())
            .expect("its group")
    }

    fn set_mode_of_peaks(&self, mode: u32) {
        for container in self.containers().keys() {
            let file = self.group(container).join("memory.peak");
            if file.exists() {
                std::fs::set_permissions(file, Permissions::from_mode(mode)).expect("permitted");
            }
        }
    }

    /// Advances to the second moment.
    fn go_on(&self) {
        copy(&tree(self.name).join("2"), self.folder.path());
    }

    fn sweep(&mut self) -> (MachineSample, Samples) {
        let (machine, containers) = self.sampler.sweep();
        (
            machine,
            containers
                .into_iter()
                .map(|sample| (sample.service.clone().expect("its name"), sample))
                .collect(),
        )
    }

    /// As `sweep`, with a complete reading of each container.
    fn look(&mut self) -> (MachineSample, Samples) {
        for said in self.containers().values() {
            assert!(self.sampler.look(said["Id"].as_str().expect("an id")));
        }
        self.sweep()
    }

    /// Both moments.
    fn both(&mut self) -> [(MachineSample, Samples); 2] {
        let before = self.look();
        self.go_on();
        [before, self.look()]
    }

    /// The engine's report at one of the moments.
    fn engine(&self, moment: u8, container: &str) -> Value {
        read(&tree(self.name).join(moment.to_string()).join("engine.json"))[container].clone()
    }

    /// Seconds between the moments.
    fn seconds(&self) -> f64 {
        let [before, after] = ["1", "2"].map(|moment| {
            let text = std::fs::read_to_string(tree(self.name).join(moment).join("proc/uptime"))
                .expect("a clock");
            text.split(' ')
                .next()
                .and_then(|seconds| seconds.parse::<f64>().ok())
                .expect("seconds")
        });
        after - before
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON")
}

fn number(said: &Value, pointer: &str) -> u64 {
    said.pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("the engine says no {pointer}: {said}"))
}

/// Bytes read and written; the engine omits a container that did neither.
fn block(said: &Value) -> (u64, u64) {
    let entries = said["blkio_stats"]["io_service_bytes_recursive"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let sum = |op: &str| {
        entries
            .iter()
            .filter(|entry| entry["op"] == op)
            .map(|entry| number(entry, "/value"))
            .sum()
    };
    (sum("read"), sum("write"))
}

#[test]
fn figures_are_the_engines_own() {
    for name in all() {
        let mut recording = Recording::open(name);
        let [(_, before), (_, after)] = recording.both();
        for (container, inspected) in recording.containers() {
            let (before, after) = (&before[&container], &after[&container]);
            let (first, second) = (
                recording.engine(1, &container),
                recording.engine(2, &container),
            );
            let rises = |what: &str, told: fn(&ContainerSample) -> u64, pointer: &str| {
                let figures = [
                    told(before),
                    number(&first, pointer),
                    number(&second, pointer),
                    told(after),
                ];
                assert!(
                    figures.is_sorted(),
                    "{name}: {container}: {what}: the engine's are not between ours: {figures:?}"
                );
            };
            rises(
                "CPU",
                |sample| sample.cpu_ns,
                "/cpu_stats/cpu_usage/total_usage",
            );
            rises(
                "throttled",
                |sample| sample.cpu_throttled_ns,
                "/cpu_stats/throttling_data/throttled_time",
            );
            rises(
                "received",
                |sample| sample.received,
                "/networks/eth0/rx_bytes",
            );
            for (sample, said, about) in [(before, &first, 0), (after, &second, CHARGE)] {
                let set = number(said, "/memory_stats/usage")
                    - number(said, "/memory_stats/stats/inactive_file");
                assert!(
                    sample.working_set.0.abs_diff(set) <= about,
                    "{name}: {container}: {set} and {:?}",
                    sample.working_set
                );
                assert_eq!(
                    sample.sent,
                    number(said, "/networks/eth0/tx_bytes"),
                    "{name}: {container}"
                );
                assert_eq!(
                    (sample.read, sample.written),
                    block(said),
                    "{name}: {container}"
                );
                let limit = number(&inspected, "/HostConfig/Memory");
                assert_eq!(
                    sample.memory_limit,
                    (limit > 0).then_some(MemoryBytes(limit)),
                    "{name}: {container}"
                );
            }
        }
    }
}

#[test]
fn what_happened_in_between_is_seen() {
    for name in all() {
        let mut recording = Recording::open(name);
        let [(_, before), (_, after)] = recording.both();
        let rose = |container: &str, told: fn(&ContainerSample) -> u64| {
            told(&after[container]) - told(&before[container])
        };
        let ns = recording.seconds() * 1e9;
        let cores = rose("busy", |sample| sample.cpu_ns) as f64 / ns;
        assert!(
            (0.45..0.55).contains(&cores),
            "{name}: it may use half a core and uses {cores}"
        );
        let refused = rose("busy", |sample| sample.cpu_throttled_ns) as f64 / ns;
        assert!(
            (0.25..0.55).contains(&refused),
            "{name}: it wants a whole core and is refused {refused}"
        );
        assert_eq!(
            rose("files", |sample| sample.cpu_throttled_ns),
            0,
            "{name}: it has no quota"
        );
        assert!(
            after["busy"]
                .cpu_pressure
                .is_some_and(|percent| percent > 1.0),
            "{name}: {:?}",
            after["busy"]
        );

        let written = [
            before["files"].written,
            rose("files", |sample| sample.written),
        ];
        assert!(
            written[0] >= 24 * MIB && (4 * MIB..6 * MIB).contains(&written[1]),
            "{name}: {written:?}"
        );
        assert!(
            (4 * MIB..6 * MIB).contains(&rose("files", |sample| sample.read)),
            "{name}: {before:?} {after:?}"
        );
        assert!(
            (4 * MIB..5 * MIB).contains(&rose("files", |sample| sample.sent)),
            "{name}: {before:?} {after:?}"
        );

        let kills = |samples: &Samples| {
            samples
                .values()
                .map(|sample| (sample.service.clone().expect("a name"), sample.oom_kills))
                .collect::<Vec<_>>()
        };
        let counted = |killed| {
            [("busy", 0), ("files", 0), ("killed", killed), ("nested", 0)]
                .map(|(name, kills)| (name.to_owned(), kills))
        };
        assert_eq!(
            (kills(&before), kills(&after)),
            (counted(1).to_vec(), counted(2).to_vec()),
            "{name}"
        );
    }
}

#[test]
fn the_working_set_is_what_a_container_holds_without_the_files_that_it_read() {
    for name in all() {
        let [(_, before), (_, after)] = Recording::open(name).both();
        for samples in [&before, &after] {
            for (container, holds) in [
                ("files", 20 * MIB),
                ("nested", 20 * MIB),
                ("busy", 0),
                ("killed", 0),
            ] {
                let set = samples[container].working_set.0;
                assert!(
                    (holds..holds + 4 * MIB).contains(&set),
                    "{name}: {container} holds {holds} and is said to use {set}"
                );
            }
        }
    }
}

#[test]
fn a_peak_is_told_once() {
    for name in all() {
        let mut recording = Recording::open(name);
        let resets = recording.about["peak_can_be_reset"] == true;
        let [(_, before), (_, after)] = recording.both();
        // The container holds 20 MiB and has allocated 60 MiB at once. A peak since the start
        // includes the file cache of that time.
        let peak = after["files"].working_set_peak;
        assert!((80 * MIB..112 * MIB).contains(&peak.0), "{name}: {peak:?}");
        // It reached its limit twice: before the first moment, and between the two.
        let limit = 32 * MIB - CHARGE..=32 * MIB;
        let both = [
            before["killed"].working_set_peak,
            after["killed"].working_set_peak,
        ];
        if resets {
            assert!(
                both[0] < MemoryBytes::mib(4) && limit.contains(&both[1].0),
                "{name}: {both:?}"
            );
        } else {
            assert!(
                limit.contains(&both[0].0) && both[1] == after["killed"].working_set,
                "{name}: {both:?}: the same peak is of the time before"
            );
        }
        let busy = &after["busy"];
        assert!(
            busy.working_set_peak.0 < busy.working_set.0 + CHARGE,
            "{name}: it was higher at its start only: {busy:?}"
        );
    }
}

#[test]
fn a_peak_is_told_to_begin_anew_where_it_takes_the_order() {
    for (name, orders) in [("v2-systemd-6.12", true), ("v2-systemd", false)] {
        let mut recording = Recording::open(name);
        let file = recording.group("busy").join("memory.peak");
        for _ in 0..2 {
            std::fs::write(&file, "9999999\n").expect("written");
            recording.sweep();
            assert_eq!(
                std::fs::read_to_string(&file).expect("a file"),
                if orders { "0999999\n" } else { "9999999\n" },
                "{name}"
            );
        }
    }
}

#[test]
fn before_linux_5_19_there_is_no_peak() {
    let mut recording = Recording::changed("v2-cgroupfs", |recording| {
        for container in recording.containers().keys() {
            std::fs::remove_file(recording.group(container).join("memory.peak")).expect("removed");
        }
    });
    for sample in recording.sweep().1.values() {
        assert_eq!(sample.working_set_peak, sample.working_set);
    }
}

#[test]
fn a_first_process_that_went_further_down_is_counted_with_what_is_above() {
    for name in all() {
        let recording = Recording::open(name);
        let pid = number(&recording.containers()["nested"], "/State/Pid");
        let group =
            std::fs::read_to_string(recording.folder.path().join(format!("proc/{pid}/cgroup")))
                .expect("a group");
        assert!(group.trim_end().ends_with("/init"), "{name}: {group}");
        assert!(
            !recording.group("nested").join("init").exists(),
            "{name}: of that nothing was recorded"
        );
    }
}

#[test]
fn what_stands_still_is_read_at_every_fourth_sweep_and_what_moves_at_each() {
    for name in all() {
        let mut recording = Recording::open(name);
        let told = |recording: &mut Recording| {
            let samples = recording.sweep().1;
            (samples["killed"].oom_kills, samples["files"].written)
        };
        let before = told(&mut recording);
        assert!((0..4).all(|_| told(&mut recording) == before), "{name}");
        recording.go_on();
        let after = (2, block(&recording.engine(2, "files")).1);
        assert!(
            (0..4).any(|_| told(&mut recording) == after),
            "{name}: within four sweeps"
        );
    }
}

#[test]
fn a_machine_reads_proc() {
    for name in MACHINES {
        let mut recording = Recording::open(name);
        assert_eq!(recording.sampler.version().number(), 2, "{name}");
        recording.sampler.set_data_root("/".into());
        let [(before, _), (after, _)] = recording.both();
        // 3 GiB less the kernel's own part, and the least that the containers hold.
        assert!(
            (2900 * MIB..3072 * MIB).contains(&after.memory_total.0)
                && after.memory_left < MemoryBytes(after.memory_total.0 - 50 * MIB),
            "{name}: {after:?}"
        );
        assert_eq!(after.cores, 2_000_000_000, "{name}");
        let cores = (after.cpu_ns - before.cpu_ns) as f64 / (recording.seconds() * 1e9);
        assert!(
            (0.45..2.0).contains(&cores),
            "{name}: one container uses half a core, and there are two: {cores}"
        );
        assert!(
            after.load.is_some_and(|load| load > 0.0),
            "{name}: {after:?}"
        );
        assert!(
            after.disk_left > 0 && after.disk_left < after.disk_total,
            "{name}: {after:?}"
        );
    }
}

#[test]
fn a_machine_in_a_container_reads_its_own_cgroup() {
    let mut recording = Recording::open(MACHINE_IN_A_CONTAINER);
    let [(before, _), (after, containers)] = recording.both();
    assert_eq!(
        (after.memory_total, after.cores, after.load),
        (MemoryBytes::mib(1024), 1_500_000_000, None),
        "its limit and its quota"
    );
    let cores = (after.cpu_ns - before.cpu_ns) as f64 / (recording.seconds() * 1e9);
    assert!((0.45..1.55).contains(&cores), "{cores}");
    let used = containers
        .values()
        .map(|container| container.cpu_ns)
        .sum::<u64>();
    assert!(
        after.cpu_ns > used,
        "its containers used {used} of its {}",
        after.cpu_ns
    );
    let held = containers
        .values()
        .map(|container| container.working_set.0)
        .sum::<u64>();
    let left = after.memory_left.0;
    assert!(
        left < 1024 * MIB - held && left > 512 * MIB,
        "{held} of its memory are held, and {left} left"
    );

    let write = |file: &str, text: &str| {
        std::fs::write(recording.folder.path().join(file), text).expect("written")
    };
    write("sys/fs/cgroup/cpuset.cpus.effective", "1\n");
    write(
        "proc/meminfo",
        "MemTotal: 4045000 kB\nMemAvailable: 1000 kB\n",
    );
    let now = recording.sampler.sweep().0;
    assert_eq!(
        (now.cores, now.memory_left),
        (1_000_000_000, MemoryBytes(1000 << 10)),
        "its set of cores and what the host has left, when that is less"
    );
}
