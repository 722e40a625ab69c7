//! `micado keep`: keeps a container when its service shrinks.

use super::{args::KeepArgs, failure::Failure, page::Page, printer::Printer};
use micado_api::Client;

pub(super) async fn keep(
    args: KeepArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let kept = client.keep(&args.name, !args.off).await?;
    printer.data(&kept, || {
        kept.iter().fold(Page::default(), |page, container| {
            let what = match container.keep {
                true => "stays when its service shrinks",
                false => "may go when its service shrinks",
            };
            page.line(format!("{} {what}", container.name))
        })
    })?;
    Ok(())
}
