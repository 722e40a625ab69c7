//! `micado info`: settings and containers of services.

use super::{args::InfoArgs, failure::Failure, page::Page, printer::Printer, tables};
use crate::clock;
use micado_api::Client;

pub(super) async fn info(
    args: InfoArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let now = clock::now();
    if let Some(name) = args.name.or(args.service) {
        let service = client.service(&name).await?;
        printer.data(&service, || tables::service(&service, now))?;
        return Ok(());
    }
    let services = client.services().await?;
    printer.data(&services, || {
        if services.is_empty() {
            Page::default()
        } else {
            Page::default().with(tables::services(&services, now))
        }
    })?;
    if services.is_empty() {
        printer.note("no services");
    }
    Ok(())
}
