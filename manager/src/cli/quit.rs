//! `micado quit`: stop containers.

use super::{args::QuitArgs, failure::Failure, follow::follow, page::Page, printer::Printer};
use micado_api::{Client, ContainerView};

pub(super) async fn quit(
    args: QuitArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let asked = client.quit(args.of.name(), args.rm).await?;
    let names: Vec<String> = asked.iter().map(|it| it.name.to_string()).collect();
    follow(&names, client, printer).await?;
    let all = client.containers(true).await?;
    let now: Vec<ContainerView> = asked
        .into_iter()
        .map(|it| {
            all.iter()
                .find(|now| now.name == it.name)
                .cloned()
                .unwrap_or(it)
        })
        .collect();
    printer.data(&now, || names.iter().fold(Page::default(), Page::line))?;
    Ok(())
}
