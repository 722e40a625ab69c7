//! `micado remove`: forget containers that do not run.

use super::{args::RemoveArgs, failure::Failure, page::Page, printer::Printer};
use micado_api::Client;

pub(super) async fn remove(
    args: RemoveArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let removed = client.remove(args.of.name()).await?;
    printer.data(&removed, || {
        removed
            .iter()
            .fold(Page::default(), |page, it| page.line(it.name.as_str()))
    })?;
    Ok(())
}
