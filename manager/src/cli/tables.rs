//! Views as tables for people.

mod images;
pub(super) mod usage;

pub(super) use images::{image, images, removed_images};
pub(super) use usage::{happenings, history};

use super::page::{Page, age, moment};
use comfy_table::Table;
use micado_api::{
    ContainerState, ContainerView, Explanation, InstanceState, InstanceView, LocationView,
    LoginView, RegistrationView, Resources, ScalingView, ServiceView, StatusView, Timestamp,
    VerdictSpan,
};
use std::{collections::BTreeMap, fmt::Display};

/// Machines. Columns for available memory, times of end and reasons appear only if there are any.
/// Returned machines have no room and no price.
pub(super) fn instances(views: &[InstanceView], now: Timestamp) -> Table {
    let (endings, reasons) = (
        views.iter().any(ended),
        views.iter().any(|it| reason(it).is_some()),
    );
    let measured = views.iter().any(|it| it.usage.is_some());
    let mut header = vec![
        "TAG",
        "STATE",
        "CLOUD",
        "FLAVOUR",
        "LOCATION",
        "ADDRESS",
        "NODE",
        "CONTAINERS",
        "MEMORY LEFT",
    ];
    header.extend(measured.then_some("MEASURED LEFT"));
    header.extend(["PRICE", "AGE"]);
    header.extend(endings.then_some("ENDED"));
    header.extend(reasons.then_some("REASON"));
    let mut table = Page::table(&header);
    for it in views {
        let there = !it.released;
        let mut row = vec![
            it.tag.to_string(),
            it.state.to_string(),
            it.cloud.to_string(),
            it.flavour.to_string(),
            it.location.to_string(),
            text(it.address.as_ref()),
            it.node
                .as_ref()
                .map_or_else(String::new, |node| node.chars().take(NODE_ID).collect()),
            it.containers.to_string(),
            text(there.then(|| format!("{} of {}", it.memory_left, it.capacity.memory))),
        ];
        row.extend(measured.then(|| usage::left(it)));
        row.extend([text(there.then_some(it.price)), age(now, it.created_at)]);
        row.extend(
            endings.then(|| text(ended(it).then(|| format!("{} ago", age(now, it.state_since))))),
        );
        row.extend(reasons.then(|| reason(it).unwrap_or_default()));
        table.add_row(row);
    }
    table
}

/// Kinds of answers to why a machine is not returned that would only fill the list: they are of all
/// machines, or of those with work.
const PLAIN: [&str; 3] = ["off", "unsure", "needed"];

/// The reason of a machine's state, or else the particular one for which it is not returned.
fn reason(view: &InstanceView) -> Option<String> {
    let kept = view.returns.as_ref().filter(|returns| {
        let kind = returns.detail["kept"].as_str();
        kind.is_some_and(|kind| !PLAIN.contains(&kind))
    });
    let kept = kept.map(|returns| format!("not returned: {}", returns.text));
    view.reason.clone().or(kept)
}

/// Length of a shortened node id, sufficient for `docker node`.
const NODE_ID: usize = 12;

fn ended(view: &InstanceView) -> bool {
    matches!(view.state, InstanceState::Gone | InstanceState::Failed)
}

/// Containers. The column for reasons appears only if there are any.
pub(super) fn containers(views: &[ContainerView], now: Timestamp) -> Table {
    let reasons = views.iter().any(|it| it.reason.is_some());
    let header = [
        "NAME", "STATE", "INSTANCE", "IMAGE", "PORTS", "MEMORY", "AGE", "REASON",
    ];
    let mut table = Page::table(&header[..header.len() - usize::from(!reasons)]);
    for it in views {
        let mut row = vec![
            it.name.to_string(),
            it.state.to_string(),
            text(it.instance.as_ref()),
            it.image.clone(),
            ports(it),
            usage::used_of_limit(it),
            age(now, it.created_at),
        ];
        row.extend(reasons.then(|| it.reason.clone().unwrap_or_default()));
        table.add_row(row);
    }
    table
}

/// Addresses of published ports: `10.0.0.5:8080->80/tcp`.
fn ports(view: &ContainerView) -> String {
    let address = view.address.as_deref().unwrap_or("*");
    let shown = view.ports.iter().map(|port| match port.host {
        Some(host) => format!("{address}:{host}->{}/{}", port.container, port.protocol),
        None => port.to_string(),
    });
    shortened(shown)
}

/// Services, one a line.
pub(super) fn services(views: &[ServiceView], now: Timestamp) -> Table {
    let mut table = Page::table(&[
        "SERVICE", "IMAGE", "LOCATION", "RUNNING", "PORTS", "DOMAIN", "MEMORY", "CPU", "AGE",
    ]);
    for it in views {
        table.add_row([
            it.name.to_string(),
            it.spec.image.clone(),
            it.spec.location.to_string(),
            format!("{} of {}", running(it), it.containers.len()),
            shortened(it.spec.ports.iter()),
            text(it.spec.domain.as_ref()),
            it.spec.reservation.memory.to_string(),
            it.spec.reservation.cpu.to_string(),
            age(now, it.created_at),
        ]);
    }
    table
}

/// Entries of the service catalogue that were made by hand, one a line.
pub(super) fn registrations(views: &[RegistrationView], now: Timestamp) -> Table {
    let mut table = Page::table(&["SERVICE", "ID", "ADDRESS", "PORT", "TAGS", "META", "AGE"]);
    for view in views {
        let meta = view.meta.iter();
        let meta = meta.map(|(key, value)| format!("{key}={value}"));
        table.add_row([
            view.service.clone(),
            view.id.clone(),
            view.address.clone(),
            view.port.to_string(),
            view.tags.join(" "),
            meta.collect::<Vec<_>>().join(" "),
            age(now, view.since),
        ]);
    }
    table
}

/// Logins to external registries.
pub(super) fn logins(views: &[LoginView], now: Timestamp) -> Table {
    let mut table = Page::table(&["REGISTRY", "USER", "AGE"]);
    for view in views {
        table.add_row([view.host.clone(), view.user.clone(), age(now, view.since)]);
    }
    table
}

fn running(view: &ServiceView) -> usize {
    view.containers
        .iter()
        .filter(|it| it.state == ContainerState::Running)
        .count()
}

/// One service and its containers.
pub(super) fn service(view: &ServiceView, now: Timestamp) -> Page {
    let spec = &view.spec;
    let mut table = Page::table(&[]);
    table
        .add_row(["service", view.name.as_str()])
        .add_row(["client", &spec.client])
        .add_row(["image", &spec.image])
        .add_row([
            "pulled as",
            view.pull
                .as_deref()
                .unwrap_or("(on its way to the registry)"),
        ])
        .add_row(["location", spec.location.as_str()])
        .add_row(["reservation", &spec.reservation.to_string()])
        .add_row(["restart", &spec.restart.to_string()])
        .add_row(["anti-affinity", &spec.anti_affinity.to_string()])
        .add_row(["launched", &moment(view.created_at)]);
    let optional = [
        ("reached as", view.aliases.join(", ")),
        ("entry point", text(spec.entrypoint.as_ref())),
        ("arguments", spec.arguments.join(" ")),
        ("environment", spec.environment.join(" ")),
        ("ports", listed(spec.ports.iter())),
        ("domain", text(spec.domain.as_ref())),
        ("tags", spec.tags.join(" ")),
        ("volumes", listed(spec.volumes.iter())),
    ];
    let options = spec.run.settings();
    let learned = view.learned.as_ref();
    let learned = [
        (
            "footprint",
            learned.map_or_else(String::new, usage::footprint),
        ),
        (
            "critical usage",
            learned.map_or_else(String::new, usage::critical),
        ),
    ];
    for (name, value) in optional
        .into_iter()
        .chain(options)
        .chain(learned)
        .filter(|(_, value)| !value.is_empty())
    {
        table.add_row([name, &value]);
    }
    let mut page = Page::default().with(table);
    if !view.containers.is_empty() {
        page = page.line("").with(containers(&view.containers, now));
    }
    match usage::containers(&view.containers) {
        Some(used) => page.line("").with(used),
        None => page,
    }
}

/// The cluster on one screen.
pub(super) fn status(view: &StatusView) -> Table {
    let mut table = Page::table(&[]);
    let at_most = |limit: Option<String>| {
        limit.map_or_else(String::new, |limit| format!(" (at most {limit})"))
    };
    table
        .add_row([
            "cluster",
            &format!("{} (micado {})", view.cluster, view.version),
        ])
        .add_row([
            "engine",
            &view.blind.as_ref().map_or_else(
                || "answers".to_owned(),
                |words| format!("is not seen, so nothing is decided: {words}"),
            ),
        ])
        .add_row([
            "instances",
            &format!(
                "{}{}",
                counts(&view.instances),
                at_most(view.max_instances.map(|max| max.to_string()))
            ),
        ])
        .add_row(["containers", &counts(&view.containers)])
        .add_row(["promised", &promised(&view.reserved, &view.capacity)])
        .add_row([
            "price",
            &format!(
                "{} per hour{}",
                view.price,
                at_most(view.max_price.map(|max| max.to_string()))
            ),
        ]);
    for location in &view.locations {
        table.add_row([
            &format!("location {}", location.location),
            &bounds(location),
        ]);
    }
    if let Some(words) = &view.registry {
        table.add_row(["registry", &format!("new images cannot run: {words}")]);
    }
    for (cloud, words) in &view.cloud_errors {
        table.add_row(["cloud", &format!("{cloud} does not answer: {words}")]);
    }
    if !view.blind_instances.is_empty() {
        let active = view
            .instances
            .get(&InstanceState::Active)
            .copied()
            .unwrap_or_default();
        let (blind, tags) = (
            view.blind_instances.len(),
            listed(view.blind_instances.iter()),
        );
        table.add_row(["blind", &format!("{blind} of {active} active machines, whose agents do not tell what they use: {tags}")]);
    }
    for node in &view.foreign_nodes {
        let role = if node.manager {
            "Swarm manager"
        } else {
            "not rented by micado"
        };
        table.add_row([
            "other node",
            &format!(
                "{} ({role}, {})",
                node.hostname,
                if node.ready { "ready" } else { "down" }
            ),
        ]);
    }
    table
}

/// Bounds of a location, how far they are used, and its headroom.
fn bounds(view: &LocationView) -> String {
    let mut parts = vec![match (view.min_machines, view.max_machines) {
        (0, None) => format!("{} machines", view.machines),
        (0, Some(max)) => format!("{} of at most {max} machines", view.machines),
        (min, None) => format!("{} machines (at least {min})", view.machines),
        (min, Some(max)) => format!("{} of {min} to {max} machines", view.machines),
    }];
    let max_price = view.max_price.iter();
    parts.extend(max_price.map(|max| format!("{} of at most {max} per hour", view.price)));
    if let Some(headroom) = &view.headroom {
        let coming = (headroom.coming > 0).then_some("on its way");
        let missing = (headroom.missing > 0).then(|| {
            let reason = headroom.reason.as_deref();
            reason.map_or("missing".to_owned(), |reason| format!("missing: {reason}"))
        });
        let state = missing.or(coming.map(str::to_owned));
        let state = state.unwrap_or_else(|| "there".to_owned());
        parts.push(format!("headroom of {} is {state}", headroom.asked));
    }
    parts.join("; ")
}

fn promised(reserved: &Resources, capacity: &Resources) -> String {
    format!(
        "{} of {}, {} of {} cores",
        reserved.memory, capacity.memory, reserved.cpu, capacity.cpu
    )
}

/// `2 running, 1 waiting`.
fn counts<S: Display>(counts: &BTreeMap<S, u32>) -> String {
    let shown: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

/// State of each thing, and below it the decisions that led to it.
pub(super) fn explanations(all: &[Explanation]) -> Page {
    let mut page = Page::default();
    for (index, it) in all.iter().enumerate() {
        if index > 0 {
            page = page.line("");
        }
        page = page.line(format!("{}: {}", it.name, it.now));
        if !it.views.is_empty() {
            let mut table = Page::table(&[]);
            it.views
                .iter()
                .for_each(|view| _ = table.add_row([format!("  {}", view.by), view.text.clone()]));
            page = page.with(table);
        }
        if !it.decisions.is_empty() {
            let mut table = Page::table(&[]);
            it.decisions.iter().for_each(|decision| {
                _ = table.add_row([format!("  {}", moment(decision.at)), decision.text.clone()])
            });
            page = page.with(table);
        }
        if !it.verdicts.is_empty() {
            page = page.with(verdicts(&it.verdicts));
        }
    }
    page
}

/// Verdicts with the time of their first and last check.
fn verdicts(spans: &[VerdictSpan]) -> Table {
    let mut table = Page::table(&[]);
    for span in spans {
        let checks = match span.times {
            1 => "1 check".to_owned(),
            times => format!("{times} checks"),
        };
        let first = format!("  {}", moment(span.first.at));
        _ = table.add_row([
            first,
            format!("to {}", moment(span.last.at)),
            checks,
            span.last.text.clone(),
        ]);
    }
    table
}

/// Scaling of a service.
pub(super) fn scaling(view: &ScalingView) -> Page {
    let mut table = Page::table(&[]);
    let count = format!("{} ({} running)", view.count, view.running);
    table
        .add_row(["service", view.service.as_str()])
        .add_row(["containers", &count]);
    let limit = |name: &str| {
        let value = view.policy.as_ref()?.get(name)?.as_u64()?;
        Some(value.to_string())
    };
    match limit("min").zip(limit("max")) {
        Some((min, max)) => table.add_row(["policy", &format!("{min} to {max}")]),
        None => table.add_row(["policy", "none"]),
    };
    let floor = view.manual.as_ref();
    let optional =
        [
            (
                "by hand",
                text(floor.map(|manual| {
                    format!("at least {} until {}", manual.floor, moment(manual.until))
                })),
            ),
            ("pinned", text(view.pinned.then_some("yes"))),
            (
                "verdict",
                text(view.verdict.as_ref().map(|verdict| &verdict.text)),
            ),
            (
                "last change",
                text(
                    view.last_change
                        .as_ref()
                        .map(|verdict| format!("{} {}", moment(verdict.at), verdict.text)),
                ),
            ),
        ];
    for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([name, &value]);
    }
    Page::default().with(table)
}

fn text(value: Option<impl Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Upper bound for the ports in a column.
const PORTS_SHOWN: usize = 5;

/// First items of a list, and the number of the others.
fn shortened(items: impl ExactSizeIterator<Item = impl Display>) -> String {
    let more = items.len().saturating_sub(PORTS_SHOWN);
    let few = listed(items.take(PORTS_SHOWN));
    if more == 0 {
        few
    } else {
        format!("{few} and {more} more")
    }
}

fn listed(items: impl Iterator<Item = impl Display>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
pub(super) mod tests;
