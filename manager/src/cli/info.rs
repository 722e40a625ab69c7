//! `micado info`: settings and containers of services, and entries of the service catalogue that
//! were made by hand.

use super::{args::InfoArgs, failure::Failure, page::Page, printer::Printer, service, tables};
use crate::clock;
use micado_api::{Client, ClientError, ErrorCode, RegistrationView};

pub(super) async fn info(
    args: InfoArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let now = clock::now();
    if let Some(name) = args.name.or(args.service) {
        let found = match client.service(&name).await {
            Ok(found) => found,
            Err(error) => return by_hand(&name, error, client, printer).await,
        };
        printer.data(&found, || tables::service(&found, now))?;
        return Ok(());
    }
    let services = client.services().await?;
    let entries = registrations(client).await?;
    printer.data(&services, || {
        let mut page = Page::default();
        if !services.is_empty() {
            page = page.with(tables::services(&services, now));
        }
        if !services.is_empty() && !entries.is_empty() {
            page = page.line("");
        }
        if !entries.is_empty() {
            page = page.with(tables::registrations(&entries, now));
        }
        page
    })?;
    if services.is_empty() && entries.is_empty() {
        printer.note("no services");
    }
    Ok(())
}

/// Shows the entries of this name that were made by hand; without any, it is the given error.
async fn by_hand(
    name: &str,
    error: ClientError,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    if !is_missing(&error) {
        return Err(error.into());
    }
    let mut entries = registrations(client).await?;
    entries.retain(|entry| entry.service == name || entry.id == name);
    if entries.is_empty() {
        return Err(error.into());
    }
    service::show(entries, printer)
}

/// The entries made by hand; none if the manager is older than they are.
async fn registrations(client: &Client) -> Result<Vec<RegistrationView>, ClientError> {
    match client.registrations().await {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        answered => answered,
    }
}

fn is_missing(error: &ClientError) -> bool {
    error.code() == ErrorCode::NotFound
}
