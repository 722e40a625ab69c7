//! Content of `top`: two tables under a heading, cut to the size of a terminal. Pure.

use super::super::{
    args::Sort,
    page::{Page, moment},
    tables::usage::{BLIND, bytes, memory, percent},
};
use comfy_table::Table;
use micado_api::{
    ContainerState, ContainerView, InstanceState, InstanceView, MemoryBytes, NanoCpus, StatusView,
    Timestamp, foreign::escaped,
};
use serde::Serialize;
use std::cmp::Reverse;

/// Answer of the manager.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    pub(super) at: Timestamp,
    pub(super) status: StatusView,
    pub(super) instances: Vec<InstanceView>,
    pub(super) containers: Vec<ContainerView>,
}

#[derive(Debug)]
pub(super) struct Board {
    heading: [String; 2],
    machines: Table,
    containers: Table,
}

impl Board {
    pub(super) fn new(seen: &Seen, sort: Sort) -> Self {
        Self {
            heading: heading(seen),
            machines: machines(&seen.instances, sort),
            containers: containers(seen, sort),
        }
    }

    /// The whole content.
    pub(super) fn page(self) -> Page {
        let [first, second] = self.heading;
        Page::default()
            .line(first)
            .line(second)
            .line("")
            .with(self.machines)
            .line("")
            .with(self.containers)
    }

    /// Lines for a terminal of this size, with `trouble` under the heading. The last line of a cut
    /// table counts the rest. Machines get at most half of the lines if containers need the others.
    pub(super) fn fit(&self, trouble: Option<&str>, columns: usize, rows: usize) -> Vec<String> {
        let mut lines: Vec<String> = self
            .heading
            .iter()
            .cloned()
            .chain(trouble.map(|trouble| escaped(trouble).into_owned()))
            .chain([String::new()])
            .collect();
        let (machines, containers) = (text(&self.machines), text(&self.containers));
        let room = rows.saturating_sub(lines.len() + 1);
        let for_machines = room.saturating_sub(containers.len()).max(room / 2);
        lines.extend(cut(machines, for_machines, "machines"));
        lines.push(String::new());
        let left = rows.saturating_sub(lines.len());
        lines.extend(cut(containers, left, "containers"));
        lines.truncate(rows);
        lines
            .into_iter()
            .map(|line| line.chars().take(columns).collect())
            .collect()
    }
}

fn text(table: &Table) -> Vec<String> {
    Page::default()
        .with(table.clone())
        .text(false)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Cuts to this many lines; the last one counts the rest.
fn cut(mut lines: Vec<String>, room: usize, what: &str) -> Vec<String> {
    if lines.len() > room {
        let shown = room.saturating_sub(1);
        let more = lines.len() - shown.max(1);
        lines.truncate(shown);
        if room > 0 {
            lines.push(format!("and {more} more {what}"));
        }
    }
    lines
}

fn heading(seen: &Seen) -> [String; 2] {
    let blind = match seen.status.blind_instances.len() {
        0 => String::new(),
        blind => format!(" ({blind} {BLIND})"),
    };
    let (machines, containers) = (seen.instances.len(), seen.containers.len());
    let first = format!(
        "micado {}: {}{blind}, {}, {} per hour, {}",
        seen.status.cluster,
        counted(machines, "machine"),
        counted(containers, "container"),
        seen.status.price,
        moment(seen.at)
    );
    let usages = || seen.instances.iter().filter_map(|it| it.usage.as_ref());
    let (cores, cpu) = (
        usages().map(|it| it.cores.0).sum(),
        usages().filter_map(|it| it.cpu).map(|it| it.0).sum::<u64>(),
    );
    let (total, left) = (
        usages().map(|it| it.memory_total.0).sum(),
        usages().map(|it| it.memory_left.0).sum::<u64>(),
    );
    let second = format!(
        "cpu {} of {} cores used, {} left; memory {} of {} used, {} left",
        NanoCpus(cpu),
        NanoCpus(cores),
        NanoCpus(cores).saturating_sub(NanoCpus(cpu)),
        MemoryBytes(total).saturating_sub(MemoryBytes(left)),
        MemoryBytes(total),
        MemoryBytes(left)
    );
    [first, second]
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Sorts by usage, highest first, and then by name. Entries without metrics come last.
fn sorted<T>(
    views: &[T],
    sort: Sort,
    used: impl Fn(&T) -> Option<(u64, u64)>,
    name: impl Fn(&T) -> &str,
) -> Vec<&T> {
    let mut views: Vec<&T> = views.iter().collect();
    views.sort_by(|a, b| name(a).cmp(name(b)));
    match sort {
        Sort::Cpu => views.sort_by_key(|it| Reverse(used(it).map(|(cpu, _)| cpu))),
        Sort::Memory => views.sort_by_key(|it| Reverse(used(it).map(|(_, memory)| memory))),
        Sort::Name => {}
    }
    views
}

fn machines(views: &[InstanceView], sort: Sort) -> Table {
    let used = |it: &InstanceView| {
        it.usage.as_ref().map(|usage| {
            (
                usage.cpu.map_or(0, |it| it.0),
                usage.memory_total.saturating_sub(usage.memory_left).0,
            )
        })
    };
    let mut table = Page::table(&[
        "TAG",
        "STATE",
        "CPU",
        "MEMORY",
        "DISK LEFT",
        "LOAD",
        "CONTAINERS",
        "PRICE",
    ]);
    for it in sorted(views, sort, used, |it| it.tag.as_str()) {
        let [cpu, memory, disk, load] = match &it.usage {
            Some(usage) => {
                let in_use = usage.memory_total.saturating_sub(usage.memory_left);
                let cpu = usage.cpu.map(|cpu| {
                    format!(
                        "{cpu} of {} ({})",
                        usage.cores,
                        percent(cpu.0, usage.cores.0)
                    )
                });
                let load = usage.load.map(|load| load.to_string());
                [
                    cpu.unwrap_or_default(),
                    format!("{in_use} of {}", usage.memory_total),
                    MemoryBytes(usage.disk_left).to_string(),
                    load.unwrap_or_default(),
                ]
            }
            None => unmeasured(it.state == InstanceState::Active),
        };
        table.add_row([
            it.tag.to_string(),
            it.state.to_string(),
            cpu,
            memory,
            disk,
            load,
            it.containers.to_string(),
            it.price.to_string(),
        ]);
    }
    table
}

fn containers(seen: &Seen, sort: Sort) -> Table {
    let used = |it: &ContainerView| {
        it.usage
            .as_ref()
            .map(|usage| (usage.cpu.map_or(0, |it| it.0), usage.memory.0))
    };
    let mut table = Page::table(&[
        "NAME",
        "STATE",
        "INSTANCE",
        "CPU",
        "MEMORY / PEAK / LIMIT",
        "NET IN/OUT PER S",
        "BLOCK IN/OUT PER S",
    ]);
    // One that has just started will be measured in a moment.
    let blind = |it: &ContainerView| {
        it.instance
            .as_ref()
            .is_some_and(|tag| seen.status.blind_instances.contains(tag))
    };
    for it in sorted(&seen.containers, sort, used, |it| it.name.as_str()) {
        let [cpu, memory, net, block] = match &it.usage {
            Some(usage) => {
                let cpu = usage.cpu.map(|cpu| cpu.to_string());
                [
                    cpu.unwrap_or_default(),
                    memory(usage, it.reservation.memory),
                    bytes(usage.received, usage.sent),
                    bytes(usage.read, usage.written),
                ]
            }
            None => unmeasured(it.state == ContainerState::Running && blind(it)),
        };
        let instance = it
            .instance
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        table.add_row([
            it.name.to_string(),
            it.state.to_string(),
            instance,
            cpu,
            memory,
            net,
            block,
        ]);
    }
    table
}

/// Cells for missing metrics: marked as missing if it is in use.
fn unmeasured(in_use: bool) -> [String; 4] {
    [
        if in_use {
            BLIND.to_owned()
        } else {
            String::new()
        },
        String::new(),
        String::new(),
        String::new(),
    ]
}

#[cfg(test)]
mod tests;
