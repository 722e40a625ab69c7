//! The program `micado-node`.

use clap::Parser;
use micado_node_agent::{agent, priority, settings::Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    let settings = Settings::parse();
    tracing_subscriber::fmt()
        .with_max_level(settings.log)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    // Before other threads start: they inherit the priority.
    priority::raise();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the agent cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(agent::run(settings)) {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!("the agent cannot measure this machine: {error}");
            ExitCode::FAILURE
        }
    }
}
