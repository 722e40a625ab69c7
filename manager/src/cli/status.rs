//! `micado status`: the cluster on one screen.

use super::{failure::Failure, page::Page, printer::Printer, tables};
use micado_api::Client;

pub(super) async fn status(client: &Client, printer: &Printer) -> Result<(), Failure> {
    let status = client.status().await?;
    printer.data(&status, || Page::default().with(tables::status(&status)))?;
    Ok(())
}
