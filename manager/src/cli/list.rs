//! `micado list`: the machines and the containers.

use super::{args::ListArgs, failure::Failure, page::Page, printer::Printer, tables};
use crate::clock;
use micado_api::{Client, ContainerView, InstanceView};
use serde::Serialize;

/// The requested lists, each under its own key.
#[derive(Serialize)]
struct Lists {
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<Vec<InstanceView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<ContainerView>>,
}

pub(super) async fn list(
    args: ListArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let both = args.instance == args.containers;
    let instances = if both || args.instance {
        Some(client.instances(args.all).await?)
    } else {
        None
    };
    let containers = if both || args.containers {
        Some(client.containers(args.all).await?)
    } else {
        None
    };
    let lists = Lists {
        instances,
        containers,
    };
    printer.data(&lists, || page(&lists))?;
    if lists.instances.as_ref().is_some_and(Vec::is_empty) {
        printer.note("no instances");
    }
    if lists.containers.as_ref().is_some_and(Vec::is_empty) {
        printer.note("no containers");
    }
    Ok(())
}

fn page(lists: &Lists) -> Page {
    let now = clock::now();
    let instances = lists
        .instances
        .as_ref()
        .filter(|it| !it.is_empty())
        .map(|it| tables::instances(it, now));
    let containers = lists
        .containers
        .as_ref()
        .filter(|it| !it.is_empty())
        .map(|it| tables::containers(it, now));
    match (instances, containers) {
        (Some(instances), Some(containers)) => {
            Page::default().with(instances).line("").with(containers)
        }
        (Some(one), None) | (None, Some(one)) => Page::default().with(one),
        (None, None) => Page::default(),
    }
}
