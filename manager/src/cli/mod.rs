//! The `micado` command line: one file per verb. Data goes to standard output, all else to standard
//! error.

pub mod args;

mod build;
mod cloud;
mod completions;
mod copy;
mod environment;
mod events;
mod execute;
mod explain;
mod failure;
mod follow;
mod history;
mod image;
mod info;
mod launch;
mod list;
mod log;
mod logs;
mod outlet;
mod page;
mod policy;
mod printer;
mod protect;
mod quit;
mod registry;
mod remove;
mod scale;
mod service;
mod signals;
mod simulate;
mod start;
mod status;
mod stop;
mod store;
mod tables;
mod terminal;
mod top;

use args::{Cli, Common, Verb};
use clap::Parser;
use failure::Failure;
use micado_api::{Client, ConnectOptions, ErrorBody, ErrorCode};
use printer::Printer;
use std::{ffi::OsString, future::Future, io::IsTerminal, path::PathBuf, process::ExitCode};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

/// Runs the command line. Exit codes: 0 for success, 1 for a refusal or failure, 2 for an invalid
/// command line, 130 when interrupted.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = args::rewritten(args);
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return failure::unparsed(&error, &args),
    };
    let printer = Printer::new(cli.common.output);
    match run(cli, &printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            printer.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, printer: &Printer) -> Result<(), Failure> {
    match cli.verb {
        Verb::Completions { shell } => completions::completions(shell),
        Verb::Manager(args) => manager(*args, printer),
        Verb::Simulate(args) => simulate::simulate(&args, &cli.common, printer),
        Verb::Store(args::StoreVerb::Copy(args)) => {
            install_cryptography();
            block_on(
                &mut Builder::new_current_thread(),
                store::copy(args, printer),
            )
        }
        Verb::Cloud(verb) => {
            install_cryptography();
            block_on(
                &mut Builder::new_current_thread(),
                cloud::cloud(verb, printer),
            )
        }
        verb => {
            let client = connect(&cli.common)?;
            block_on(
                &mut Builder::new_current_thread(),
                ask(verb, &client, printer),
            )
        }
    }
}

async fn ask(verb: Verb, client: &Client, printer: &Printer) -> Result<(), Failure> {
    match verb {
        Verb::Start(args) => start::start(args, client, printer).await,
        Verb::Stop(args) => stop::stop(args, client, printer).await,
        Verb::Launch(args) => launch::launch(*args, client, printer).await,
        Verb::Build(args) => build::build(args, client, printer).await,
        Verb::Quit(args) => quit::quit(args, client, printer).await,
        Verb::List(args) => list::list(args, client, printer).await,
        Verb::Logs(args) => logs::logs(args, client, printer).await,
        Verb::Execute(args) => execute::execute(args, client).await,
        Verb::Copy(args) => copy::copy(args, client, printer).await,
        Verb::Cp(args) => copy::cp(args, client, printer).await,
        Verb::Remove(args) => remove::remove(args, client, printer).await,
        Verb::Info(args) => info::info(args, client, printer).await,
        Verb::Top(args) => top::top(args, client, printer).await,
        Verb::Events(args) => events::events(args, client, printer).await,
        Verb::History(args) => history::history(args, client, printer).await,
        Verb::Image(verb) => image::image(verb, client, printer).await,
        Verb::Registry(verb) => registry::registry(verb, client, printer).await,
        Verb::Policy(verb) => policy::policy(verb, client, printer).await,
        Verb::Scale(args) => scale::scale(args, client, printer).await,
        Verb::Service(verb) => service::service(verb, client, printer).await,
        Verb::Protect(args) => protect::protect(args, client, printer).await,
        Verb::Status => status::status(client, printer).await,
        Verb::Explain(args) => explain::explain(args, client, printer).await,
        // Needs no manager: handled before.
        Verb::Cloud(_)
        | Verb::Completions { .. }
        | Verb::Manager(_)
        | Verb::Simulate(_)
        | Verb::Store(_) => Ok(()),
    }
}

/// Runs the daemon. Two threads are enough for it, and few threads keep its memory small.
fn manager(args: args::ManagerArgs, printer: &Printer) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_env("MICADO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    if printer.is_json() {
        log.json().with_writer(std::io::stderr).init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal())
            .with_writer(|| log::OneLine(std::io::stderr()))
            .init()
    }
    install_cryptography();
    block_on(Builder::new_multi_thread().worker_threads(2), async {
        crate::daemon::run(args)
            .await
            .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("{error:#}")).into())
    })
}

/// Sets the TLS provider of the process. This is the first step of the process, so none is set
/// before.
fn install_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn block_on<T>(
    runtime: &mut Builder,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("the runtime: {error}")))?;
    runtime.block_on(work)
}

fn connect(common: &Common) -> Result<Client, Failure> {
    let state =
        std::env::var_os("MICADO_STATE").map_or_else(|| PathBuf::from(args::STATE), PathBuf::from);
    let options = ConnectOptions {
        ca: common.ca.clone(),
        token_file: common.token_file.clone(),
        state: Some(state),
    };
    Ok(Client::connect(&common.manager, &options)?)
}
