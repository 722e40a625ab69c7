//! The cluster as a whole: counts of machines, prices, bounds, clouds, and the engine.

use super::flag;
use crate::monitor::{
    Scraped,
    family::{Families, Head, NONE},
};
use micado_api::{LocationView, PricePerHour};
use std::{collections::BTreeMap, fmt};

pub(super) fn write(cluster: &Scraped, families: &mut Families<'_>) -> fmt::Result {
    let overview = &cluster.overview;
    let id = [("cluster", overview.cluster.as_str())];
    families.gauge(
        Head("cluster_info", None, "Id of the cluster."),
        [(id, 1.0)],
    )?;
    let head = Head(
        "engine_up",
        None,
        "1 while the engine answers; nothing is decided while it does not.",
    );
    families.gauge(head, [(NONE, flag(overview.sees_engine))])?;
    let head = Head("cloud_up", None, "1 if the cloud answered its last call.");
    let clouds = overview.clouds.iter();
    let rows = clouds.map(|(cloud, up)| ([("cloud", cloud.as_str())], flag(*up)));
    families.gauge(head, rows)?;
    let head = Head(
        "foreign_nodes",
        None,
        "Nodes of the Swarm that this cluster did not rent.",
    );
    families.gauge(head, [(NONE, f64::from(overview.foreign_nodes))])?;
    machines(cluster, families)?;
    limits(cluster, families)?;
    locations(&overview.locations, families)
}

/// Live machines by state and kind, and their price.
fn machines(cluster: &Scraped, families: &mut Families<'_>) -> fmt::Result {
    let mut counts: BTreeMap<[String; 4], u32> = BTreeMap::new();
    let mut prices: BTreeMap<[String; 3], u64> = BTreeMap::new();
    for instance in &cluster.instances {
        let kind = [
            instance.location.to_string(),
            instance.cloud.to_string(),
            instance.flavour.to_string(),
        ];
        let [location, cloud, flavour] = kind.clone();
        let state = instance.state.to_string();
        *counts.entry([state, location, cloud, flavour]).or_default() += 1;
        *prices.entry(kind).or_default() += instance.price.0;
    }
    let head = Head(
        "instances",
        None,
        "Machines that are rented or ordered, by state and kind.",
    );
    let rows = counts
        .iter()
        .map(|([state, location, cloud, flavour], count)| {
            let labels = [
                ("state", state.as_str()),
                ("location", location),
                ("cloud", cloud),
                ("flavour", flavour),
            ];
            (labels, f64::from(*count))
        });
    families.gauge(head, rows)?;
    let head = Head(
        "price_per_hour",
        None,
        "Price of these machines per hour, in the cloud's currency.",
    );
    let rows = prices.iter().map(|([location, cloud, flavour], price)| {
        let labels = [
            ("location", location.as_str()),
            ("cloud", cloud),
            ("flavour", flavour),
        ];
        (labels, currency(PricePerHour(*price)))
    });
    families.gauge(head, rows)
}

/// Bounds of the whole cluster.
fn limits(cluster: &Scraped, families: &mut Families<'_>) -> fmt::Result {
    let overview = &cluster.overview;
    let head = Head("instances_limit", None, "Upper bound for machines.");
    let most = overview.max_instances;
    families.gauge(head, most.map(|most| (NONE, f64::from(most))))?;
    let head = Head(
        "price_per_hour_limit",
        None,
        "Upper bound for the price of all machines per hour.",
    );
    families.gauge(
        head,
        overview.max_price.map(|price| (NONE, currency(price))),
    )
}

/// Bounds and headroom of single locations.
fn locations(locations: &[LocationView], families: &mut Families<'_>) -> fmt::Result {
    let bounds = |bound: fn(&LocationView) -> Option<f64>| {
        locations.iter().filter_map(move |view| {
            let location = [("location", view.location.as_str())];
            Some((location, bound(view)?))
        })
    };
    let head = Head(
        "location_instances_minimum",
        None,
        "Lower bound for the machines of a location.",
    );
    families.gauge(head, bounds(|view| Some(f64::from(view.min_machines))))?;
    let head = Head(
        "location_instances_limit",
        None,
        "Upper bound for the machines of a location.",
    );
    families.gauge(head, bounds(|view| view.max_machines.map(f64::from)))?;
    let head = Head(
        "location_price_per_hour_limit",
        None,
        "Upper bound for the price of a location's machines per hour.",
    );
    families.gauge(head, bounds(|view| view.max_price.map(currency)))?;
    let head = Head(
        "headroom_placeholders",
        None,
        "Room that a location keeps free, by where it is: on machines that run (ready), on their \
         way (coming), or nowhere (missing).",
    );
    let rows = locations.iter().flat_map(|view| {
        let headroom = view.headroom.iter();
        headroom.flat_map(|room| {
            let counts = [
                ("ready", room.ready),
                ("coming", room.coming),
                ("missing", room.missing),
            ];
            counts.map(|(state, count)| {
                let labels = [("location", view.location.as_str()), ("state", state)];
                (labels, f64::from(count))
            })
        })
    });
    families.gauge(head, rows)
}

/// A price in the cloud's currency.
fn currency(price: PricePerHour) -> f64 {
    price.0 as f64 / 1e6
}
