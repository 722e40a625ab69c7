//! Series for services: their spec, containers by state, scaling, and deaths.

use super::flag;
use crate::{
    metrics::DeathCount,
    monitor::{
        Scraped,
        family::{Families, Head, Labels},
    },
};
use micado_api::ServiceName;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

pub(super) fn write(
    cluster: &Scraped,
    deaths: &[(ServiceName, DeathCount)],
    families: &mut Families<'_>,
) -> fmt::Result {
    let mut counts: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let mut infos: BTreeMap<&str, Labels<'_, 5>> = BTreeMap::new();
    let mut wanted: HashMap<&str, u32> = HashMap::new();
    for container in &cluster.containers {
        let view = &container.view;
        let service = view.service.as_str();
        let state = view.state.to_string();
        *counts.entry((service, state)).or_default() += 1;
        *wanted.entry(service).or_default() += u32::from(container.is_wanted());
        infos.entry(service).or_insert_with(|| {
            [
                ("service", service),
                ("client", &container.client),
                ("image", &view.image),
                ("location", view.location.as_str()),
                ("domain", container.domain.as_deref().unwrap_or_default()),
            ]
        });
    }
    let head = Head(
        "service_info",
        None,
        "Client, image, location and domain of a service.",
    );
    families.gauge(head, infos.into_values().map(|labels| (labels, 1.0)))?;
    let head = Head("containers", None, "Containers of a service, by state.");
    let rows = counts.iter().map(|((service, state), count)| {
        let labels = [("service", *service), ("state", state.as_str())];
        (labels, f64::from(*count))
    });
    families.gauge(head, rows)?;
    scaling(cluster, &wanted, families)?;
    ends(deaths, families)
}

/// Scaling of services with a policy.
fn scaling(
    cluster: &Scraped,
    wanted: &HashMap<&str, u32>,
    families: &mut Families<'_>,
) -> fmt::Result {
    let scaled = || cluster.scaled.iter();
    let head = Head(
        "service_wanted_containers",
        None,
        "Containers that a service with a policy is to have.",
    );
    let rows = scaled().map(|scaled| {
        let service = scaled.service.as_str();
        let wanted = wanted.get(service).copied().unwrap_or_default();
        ([("service", service)], f64::from(wanted))
    });
    families.gauge(head, rows)?;
    let head = Head(
        "service_min_containers",
        None,
        "Lower bound for it, by the policy.",
    );
    let rows = scaled().map(|scaled| {
        (
            [("service", scaled.service.as_str())],
            f64::from(scaled.min),
        )
    });
    families.gauge(head, rows)?;
    let head = Head(
        "service_max_containers",
        None,
        "Upper bound for it, by the policy.",
    );
    let rows = scaled().map(|scaled| {
        (
            [("service", scaled.service.as_str())],
            f64::from(scaled.max),
        )
    });
    families.gauge(head, rows)?;
    let head = Head(
        "service_pinned",
        None,
        "1 while a person has frozen the count.",
    );
    let rows = scaled().map(|scaled| {
        (
            [("service", scaled.service.as_str())],
            flag(scaled.is_pinned),
        )
    });
    families.gauge(head, rows)?;
    let head = Head(
        "service_verdict_info",
        None,
        "Cause of the last verdict on a service, and the stage that held a change, if one did.",
    );
    let rows = scaled().filter_map(|scaled| {
        let labels = [
            ("service", scaled.service.as_str()),
            ("cause", scaled.cause.as_deref()?),
            ("held", scaled.held.as_deref().unwrap_or_default()),
        ];
        Some((labels, 1.0))
    });
    families.gauge(head, rows)
}

/// Deaths of containers, which outlive the containers.
fn ends(deaths: &[(ServiceName, DeathCount)], families: &mut Families<'_>) -> fmt::Result {
    let of = |value: fn(&DeathCount) -> u64| {
        let deaths = deaths.iter();
        deaths.map(move |(service, count)| ([("service", service.as_str())], value(count) as f64))
    };
    let head = Head(
        "service_container_deaths",
        None,
        "Processes of a service's containers that ended, requested ends included.",
    );
    families.counter(head, of(|count| count.deaths))?;
    let head = Head(
        "service_container_oom_deaths",
        None,
        "Those of them in which a process was OOM-killed.",
    );
    families.counter(head, of(|count| count.oom))
}
