//! `micado history`: past usage of a container or a machine.

use super::{args::HistoryArgs, failure::Failure, page::Page, printer::Printer, tables};
use crate::clock;
use micado_api::{Client, HistoryQuery};

pub(super) async fn history(
    args: HistoryArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let from = u64::try_from(args.since.seconds(clock::now()))
        .unwrap_or(0)
        .saturating_mul(1000);
    let query = HistoryQuery {
        from: Some(from),
        until: None,
        resolution: args.resolution.map(|it| it.seconds()),
    };
    let history = client.history(args.of.name(), &query).await?;
    printer.data(&history, || {
        if history.points.is_empty() {
            Page::default()
        } else {
            Page::default().with(tables::history(&history))
        }
    })?;
    if history.points.is_empty() {
        printer.note("nothing was measured then");
    }
    Ok(())
}
