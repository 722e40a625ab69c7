//! `micado store copy`: a cluster's records and history, to another store.

use super::{args::CopyStoreArgs, failure::Failure, page::Page, printer::Printer};
use crate::{daemon, store};
use micado_api::{ErrorBody, ErrorCode};

pub(super) async fn copy(args: CopyStoreArgs, printer: &Printer) -> Result<(), Failure> {
    let state = daemon::private_folder(&args.state)
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("{error:#}")))?;
    let copied = store::copy(args.from, args.to, &state)
        .await
        .map_err(|error| ErrorBody::new(ErrorCode::Unsatisfiable, error.to_string()))?;
    let page = || {
        let mut table = Page::table(&["KIND", "COPIED"]);
        for (kind, count) in &copied.records {
            table.add_row([(*kind).to_owned(), count.to_string()]);
        }
        Page::default().with(table)
    };
    printer.data(&copied, page)?;
    printer.note("the records were read back as they were written; start the manager with `--store` and the new store");
    Ok(())
}
