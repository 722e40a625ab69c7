//! `micado logs`: the log of a container, or of all containers of a service.

use super::{args::LogsArgs, failure::Failure, printer::Printer};
use crate::clock;
use futures_util::TryStreamExt;
use micado_api::{Client, LogQuery};
use std::pin::pin;

pub(super) async fn logs(
    args: LogsArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let since = args.since.map(|since| since.seconds(clock::now()));
    let query = LogQuery {
        follow: args.follow,
        tail: args.tail,
        since,
        timestamps: args.timestamps,
        previous: args.previous,
    };
    let mut pieces = pin!(client.logs(args.of.name(), &query).await?);
    while let Some(piece) = pieces.try_next().await? {
        printer.piece(&piece)?;
    }
    Ok(())
}
