//! `micado scale`: sets the count of a service, or pins it.

use super::{args::ScaleArgs, failure::Failure, printer::Printer, tables};
use micado_api::{Client, ScaleRequest};

pub(super) async fn scale(
    args: ScaleArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = ScaleRequest {
        count: args.count,
        for_ms: args.lasts.map(|lasts| lasts.0),
        pin: (args.pin || args.unpin).then_some(args.pin),
    };
    let view = client.scale(&args.name, &request).await?;
    printer.data(&view, || tables::scaling(&view))?;
    Ok(())
}
