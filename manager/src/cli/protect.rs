//! `micado protect`: keeps a machine or a container from what the manager does by itself.

use super::{args::ProtectArgs, failure::Failure, printer::Printer, tables};
use micado_api::Client;

pub(super) async fn protect(
    args: ProtectArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let explanations = client.protect(&args.name, !args.off).await?;
    printer.data(&explanations, || tables::explanations(&explanations))?;
    Ok(())
}
