//! `micado explain`: reasons for a thing's place and state, now or at a moment.

use super::{args::ExplainArgs, failure::Failure, printer::Printer, tables};
use crate::clock;
use micado_api::Client;

pub(super) async fn explain(
    args: ExplainArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let explanations = match args.at {
        None => client.explain(&args.name).await?,
        Some(moment) => {
            let at = moment.at(clock::now());
            client.explain_at(&args.name, at).await?
        }
    };
    printer.data(&explanations, || tables::explanations(&explanations))?;
    Ok(())
}
