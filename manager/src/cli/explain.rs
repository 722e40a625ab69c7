//! `micado explain`: reasons for a thing's place and state.

use super::{args::ExplainArgs, failure::Failure, printer::Printer, tables};
use micado_api::Client;

pub(super) async fn explain(
    args: ExplainArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let explanations = client.explain(&args.name).await?;
    printer.data(&explanations, || tables::explanations(&explanations))?;
    Ok(())
}
