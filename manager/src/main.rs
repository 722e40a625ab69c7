//! The `micado` command.
use clap::Parser;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    rustls::crypto::ring::default_provider().install_default().ok();
    let cli = micado_manager::cli::args::Cli::parse();
    match cli.verb {
        micado_manager::cli::args::Verb::Manager(args) => micado_manager::daemon::run(*args).await,
        _ => anyhow::bail!("later"),
    }
}
