//! `micado events`: events of containers.

use super::{args::EventsArgs, failure::Failure, page::Page, printer::Printer, tables};
use crate::clock;
use micado_api::{Client, EventQuery};

pub(super) async fn events(
    args: EventsArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let since = args.since.map(|since| {
        u64::try_from(since.seconds(clock::now()))
            .unwrap_or(0)
            .saturating_mul(1000)
    });
    let query = EventQuery {
        name: args.name,
        instance: args.tag,
        since,
        limit: Some(args.tail),
    };
    let events = client.events(&query).await?;
    printer.data(&events, || {
        if events.is_empty() {
            Page::default()
        } else {
            Page::default().with(tables::events(&events))
        }
    })?;
    if events.is_empty() {
        printer.note("nothing happened then");
    }
    Ok(())
}
