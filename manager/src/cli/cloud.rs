//! `micado cloud`: shows `cloudsetup.xml`, and checks it against the clouds. Needs no manager.

mod check;
mod list;

use super::{
    args::{CloudVerb, SetupFile},
    failure::Failure,
    printer::Printer,
};
use micado_api::{ErrorBody, ErrorCode};
use micado_cloudsetup::{BrokerKind, CloudSetup};

pub(super) async fn cloud(verb: CloudVerb, printer: &Printer) -> Result<(), Failure> {
    match verb {
        CloudVerb::List(file) => list::list(&read(&file)?, printer),
        CloudVerb::Check(args) => check::check(&read(&args.file)?, &args, printer).await,
    }
}

fn read(file: &SetupFile) -> Result<CloudSetup, ErrorBody> {
    CloudSetup::read(&file.path())
        .map_err(|error| ErrorBody::new(ErrorCode::Unsatisfiable, error.to_string()))
}

/// The broker's name in the file.
const fn word(broker: BrokerKind) -> &'static str {
    match broker {
        BrokerKind::CloudBroker => "cloudbroker",
        BrokerKind::Local => "local",
    }
}
