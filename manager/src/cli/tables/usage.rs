//! Measured usage of machines and containers, as cells and tables.

use super::{
    super::{
        events::Happening,
        page::{Page, moment},
    },
    text,
};
use comfy_table::Table;
use micado_api::{
    ContainerUsage, ContainerView, Critical, History, ImageView, InstanceState, InstanceView,
    MemoryBytes, NanoCpus, Resources, agent::ContainerHappening,
};
use std::time::Duration;

/// Mark of an active machine without a connected agent, or with a silent one.
pub(in crate::cli) const BLIND: &str = "blind";

/// Available memory of a machine, as measured; empty unless it is in use.
pub(super) fn left(view: &InstanceView) -> String {
    match &view.usage {
        Some(usage) => usage.memory_left.to_string(),
        None if view.state == InstanceState::Active => BLIND.to_owned(),
        None => String::new(),
    }
}

/// `105 MiB of 256 MiB`, or the limit alone without metrics.
pub(super) fn used_of_limit(view: &ContainerView) -> String {
    match &view.usage {
        Some(usage) => format!("{} of {}", usage.memory, view.reservation.memory),
        None => view.reservation.memory.to_string(),
    }
}

/// `18%`; empty if the whole is 0.
pub(in crate::cli) fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 200 + u128::from(whole);
    hundredths
        .checked_div(u128::from(whole) * 2)
        .map_or_else(String::new, |percent| format!("{percent}%"))
}

/// `105 MiB / 130 MiB / 256 MiB (41%)`: present use, peak, limit.
pub(in crate::cli) fn memory(usage: &ContainerUsage, limit: MemoryBytes) -> String {
    format!(
        "{} / {} / {limit} ({})",
        usage.memory,
        usage.memory_peak,
        percent(usage.memory.0, limit.0)
    )
}

/// `1 KiB / 300 B`: in and out.
pub(in crate::cli) fn bytes(incoming: u64, outgoing: u64) -> String {
    format!("{} / {}", MemoryBytes(incoming), MemoryBytes(outgoing))
}

/// Usage of a service's containers; `None` without any metrics.
pub(super) fn containers(views: &[ContainerView]) -> Option<Table> {
    let header = [
        "NAME",
        "MEMORY (PEAK, LIMIT)",
        "CPU (PEAK)",
        "NET IN/OUT PER S",
        "BLOCK IN/OUT PER S",
        "KILLED FOR MEMORY",
    ];
    let mut table = Page::table(&header);
    for (it, usage) in views.iter().filter_map(|it| Some((it, it.usage.as_ref()?))) {
        table.add_row([
            it.name.to_string(),
            memory(usage, it.reservation.memory),
            format!("{} / {}", text(usage.cpu), usage.cpu_peak),
            bytes(usage.received, usage.sent),
            bytes(usage.read, usage.written),
            if usage.oom_kills == 0 {
                String::new()
            } else {
                usage.oom_kills.to_string()
            },
        ]);
    }
    (!table.is_empty()).then_some(table)
}

/// `400 MiB and 0.5 cores (suggested)`: set by a person, or else suggested.
pub(super) fn critical(view: &ImageView) -> String {
    let suggested = view.suggested.unwrap_or_default();
    let cell = |set: Option<String>, suggested: Option<String>| {
        set.or_else(|| suggested.map(|it| format!("{it} (suggested)")))
    };
    let Critical { memory, cpu } = view.critical;
    let cores = |cpu: NanoCpus| format!("{cpu} cores");
    let parts = [
        cell(
            memory.map(|it| it.to_string()),
            suggested.memory.map(|it| it.to_string()),
        ),
        cell(cpu.map(cores), suggested.cpu.map(cores)),
    ];
    parts
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}

/// Learned footprint of a container, and the measured time.
pub(super) fn footprint(view: &ImageView) -> String {
    let measured = span(Duration::from_millis(view.measured_ms));
    match &view.footprint {
        Some(Resources { memory, cpu }) => {
            format!("{memory} and {cpu} cores, by {measured} of figures")
        }
        None => format!("not known yet, after {measured} of figures"),
    }
}

/// Past metrics, one time a line. A machine has only memory and CPU.
pub(in crate::cli) fn history(view: &History) -> Table {
    let traffic = view
        .points
        .iter()
        .any(|it| it.received + it.sent + it.read + it.written + it.oom_kills > 0);
    let header = [
        "TIME",
        "MEMORY",
        "PEAK",
        "CPU",
        "PEAK",
        "NET IN/OUT",
        "BLOCK IN/OUT",
        "KILLED",
    ];
    let mut table = Page::table(if traffic { &header } else { &header[..5] });
    for it in &view.points {
        let mut row = vec![
            moment(it.at),
            it.memory.to_string(),
            it.memory_peak.to_string(),
            it.cpu.to_string(),
            it.cpu_peak.to_string(),
        ];
        if traffic {
            row.extend([
                bytes(it.received, it.sent),
                bytes(it.read, it.written),
                it.oom_kills.to_string(),
            ]);
        }
        table.add_row(row);
    }
    table
}

/// Events, one a line.
pub(in crate::cli) fn happenings(all: &[Happening]) -> Table {
    let mut table = Page::table(&["TIME", "NAME", "INSTANCE", "EVENT"]);
    for one in all {
        let at = moment(one.at());
        table.add_row(match one {
            Happening::Event(event) => [
                at,
                event.container.to_string(),
                event.instance.to_string(),
                what(event.what),
            ],
            Happening::Verdict(span) => {
                let name = span.service.to_string();
                [at, name, "-".to_owned(), span.first.text.clone()]
            }
        });
    }
    table
}

fn what(what: ContainerHappening) -> String {
    match what {
        // The agent's code for an unknown end.
        ContainerHappening::Died {
            exit_code: -1,
            oom: false,
        } => "died: exit code unknown".to_owned(),
        ContainerHappening::Died { exit_code, oom } => format!(
            "died: exit code {exit_code}{}",
            if oom { ", OOM-killed" } else { "" }
        ),
        other => other.word().to_owned(),
    }
}

/// `6h`, in the largest unit that fits.
pub(super) fn span(span: Duration) -> String {
    let later = micado_api::Timestamp::default().plus(span);
    super::super::page::age(later, micado_api::Timestamp::default())
}
