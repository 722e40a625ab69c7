//! `micado stop`: drain a machine and return it.

use super::{args::StopArgs, failure::Failure, follow::follow, page::Page, printer::Printer};
use micado_api::Client;

pub(super) async fn stop(
    args: StopArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let stopped = client.stop(args.machine.tag().as_str(), args.force).await?;
    let tag = stopped.tag.to_string();
    follow(std::slice::from_ref(&tag), client, printer).await?;
    let now = client
        .instances(true)
        .await?
        .into_iter()
        .rfind(|it| it.id == stopped.id)
        .unwrap_or(stopped);
    printer.data(&now, || Page::default().line(tag))?;
    Ok(())
}
