//! `micado cloud list`: the clouds with their flavours, the applications, and bounds of locations.

use super::{
    super::{failure::Failure, page::Page, printer::Printer},
    word,
};
use comfy_table::Table;
use micado_cloudsetup::{Application, Bounds, BrokerKind, Cloud, CloudSetup, Flavour, Rent, Role};
use serde_json::{Value, json};
use std::fmt::Display;

pub(super) fn list(setup: &CloudSetup, printer: &Printer) -> Result<(), Failure> {
    let machine = json!({
        "clouds": setup.clouds.iter().map(cloud).collect::<Vec<_>>(),
        "applications": setup.applications.iter().map(application).collect::<Vec<_>>(),
        "locations": setup.locations.iter().map(bounds).collect::<Vec<_>>(),
    });
    printer.data(&machine, || page(setup))?;
    Ok(())
}

/// A cloud as JSON. Values that are passed on verbatim (`extra`) may be private and are left out.
fn cloud(it: &Cloud) -> Value {
    json!({
        "name": it.name,
        "broker": word(it.broker),
        "provider": it.provider,
        "region": it.region,
        "endpoint": it.endpoint,
        "credentials": it.credentials,
        "ca": it.authority,
        "join_timeout_ms": u64::try_from(it.join_timeout.as_millis()).unwrap_or(u64::MAX),
        "flavours": it.flavours.iter().map(|it| json!({ "name": it.name, "id": it.id, "size": it.size, "price": it.price, "billing_seconds": it.billing.period().map_or(1, |period| period.as_secs()) })).collect::<Vec<_>>(),
    })
}

fn application(it: &Application) -> Value {
    json!({
        "name": it.name,
        "role": role(it.role),
        "software": it.software,
        "executable": it.executable,
        "param_template": it.param_template,
        "rent": rent(it.rent),
    })
}

fn bounds(it: &Bounds) -> Value {
    json!({
        "name": it.location,
        "min_machines": it.min_machines,
        "max_machines": it.max_machines,
        "max_price": it.max_price,
        "headroom": it.headroom.as_ref().map(ToString::to_string),
    })
}

fn page(setup: &CloudSetup) -> Page {
    let mut clouds = Page::table(&[
        "CLOUD", "BROKER", "PROVIDER", "REGION", "FLAVOUR", "ID", "MEMORY", "CORES", "PRICE",
    ]);
    for (cloud, flavour) in setup
        .clouds
        .iter()
        .flat_map(|cloud| cloud.flavours.iter().map(move |flavour| (cloud, flavour)))
    {
        clouds.add_row(row(cloud, flavour));
    }
    let page = Page::default()
        .with(clouds)
        .line("")
        .with(applications(setup));
    match setup.locations[..] {
        [] => page,
        _ => page.line("").with(locations(setup)),
    }
}

fn or_dash(value: Option<&dyn Display>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// `-` stands for values that an old file lacks.
fn row(cloud: &Cloud, it: &Flavour) -> [String; 9] {
    [
        cloud.name.to_string(),
        word(cloud.broker).to_owned(),
        cloud.provider.clone(),
        cloud.region.clone(),
        it.name.to_string(),
        it.id.clone(),
        or_dash(it.size.as_ref().map(|size| &size.memory as &dyn Display)),
        or_dash(it.size.as_ref().map(|size| &size.cpu as &dyn Display)),
        or_dash((it.price.0 > 0).then_some(&it.price)),
    ]
}

/// Applications; the way to rent them is shown only where there is a choice.
fn applications(setup: &CloudSetup) -> Table {
    let chosen = setup
        .clouds
        .iter()
        .any(|it| it.broker == BrokerKind::CloudBroker);
    let header = ["APPLICATION", "ROLE", "SOFTWARE", "EXECUTABLE", "RENTED AS"];
    let mut table = Page::table(&header[..header.len() - usize::from(!chosen)]);
    for it in &setup.applications {
        let mut row = vec![
            it.name.clone(),
            role(it.role).to_owned(),
            it.software.clone(),
            it.executable.clone(),
        ];
        row.extend(chosen.then(|| rent(it.rent).to_owned()));
        table.add_row(row);
    }
    table
}

/// Bounds of locations; `-` stands for none.
fn locations(setup: &CloudSetup) -> Table {
    let mut table = Page::table(&[
        "LOCATION",
        "MIN MACHINES",
        "MAX MACHINES",
        "MAX PRICE",
        "HEADROOM",
    ]);
    for it in &setup.locations {
        table.add_row([
            it.location.to_string(),
            it.min_machines.to_string(),
            or_dash(it.max_machines.as_ref().map(|max| max as &dyn Display)),
            or_dash(it.max_price.as_ref().map(|max| max as &dyn Display)),
            or_dash(it.headroom.as_ref().map(|room| room as &dyn Display)),
        ]);
    }
    table
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Node => "node",
        Role::Proxy => "proxy",
    }
}

const fn rent(rent: Rent) -> &'static str {
    match rent {
        Rent::Jobs => "jobs",
        Rent::Instances => "instances",
    }
}
