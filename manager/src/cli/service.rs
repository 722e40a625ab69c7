//! `micado service`: entries of the service catalogue that are made by hand.

use super::{
    args::{RegisterArgs, ServiceVerb},
    failure::Failure,
    page::Page,
    printer::Printer,
    tables,
};
use crate::{api::validate, clock};
use micado_api::{Client, RegisterRequest, RegistrationView};

pub(super) async fn service(
    verb: ServiceVerb,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    match verb {
        ServiceVerb::Register(args) => {
            let (id, request) = request(args);
            validate::registration(&id, &request)?;
            let all = client.register(&id, &request).await?;
            let made = all.into_iter().filter(|it| it.id == id).collect();
            show(made, printer)
        }
        ServiceVerb::Deregister { id } => {
            let left = client.deregister(&id).await?;
            show(left, printer)
        }
        ServiceVerb::List => show(client.registrations().await?, printer),
    }
}

fn request(args: RegisterArgs) -> (String, RegisterRequest) {
    let id = args.id.unwrap_or_else(|| args.name.clone());
    let request = RegisterRequest {
        service: args.name,
        address: args.address,
        port: args.port,
        tags: args.tags,
        meta: args.meta.into_iter().collect(),
    };
    (id, request)
}

/// Prints entries, or says that there is none.
pub(super) fn show(entries: Vec<RegistrationView>, printer: &Printer) -> Result<(), Failure> {
    let now = clock::now();
    printer.data(&entries, || match entries.is_empty() {
        true => Page::default(),
        false => Page::default().with(tables::registrations(&entries, now)),
    })?;
    if entries.is_empty() {
        printer.note("no entries made by hand");
    }
    Ok(())
}
