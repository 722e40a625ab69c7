//! The manager's whole path on a fake engine and a fake cloud: real API, runtime, core and store.
//! `cargo bench -p micado-manager --bench manager -- PART`, where the part is `copies`, `clients`,
//! `memory`, `scrape` or `waiting`.

mod agents;
mod clients;
mod copies;
mod fake;
mod memory;
mod rig;
mod scrape;
mod waiting;

use std::{fs::File, sync::Mutex, time::Duration};
use tikv_jemallocator::Jemalloc;
use tokio::runtime::{Builder, Runtime};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Built as a test target too (`cargo test --benches`): then there is nothing to measure.
    let Some((part, rest)) = arguments.split_first() else {
        return;
    };
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the first provider");
    let runtime = threads();
    match (part.as_str(), rest) {
        ("copies", _) => runtime.block_on(logged(copies::run())),
        ("clients", _) => runtime.block_on(logged(clients::run())),
        ("memory", _) => runtime.block_on(logged(memory::run())),
        ("scrape", _) => runtime.block_on(logged(scrape::run())),
        ("waiting", _) => runtime.block_on(logged(waiting::run())),
        // Processes of `memory`, `scrape` and `waiting`.
        (agents::PART, [address, state]) => runtime.block_on(agents::run(address, state.as_ref())),
        (waiting::PART, [address, token]) => runtime.block_on(waiting::clients(address, token)),
        (memory::FAKE, _) => runtime.block_on(memory::fake_alone()),
        _ => {}
    }
}

/// Threads as the daemon has them.
fn threads() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// With the daemon's log, in a file.
async fn logged(part: impl Future<Output = ()>) {
    let folder = rig::folder();
    let log = File::create(folder.path().join("log")).expect("a file");
    tracing_subscriber::fmt()
        .with_env_filter("info")
        .with_ansi(false)
        .with_writer(Mutex::new(log))
        .init();
    part.await;
}

/// A line with the median, the extremes and the count.
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.1} ms (min {:.1}, max {:.1}, n {})",
        ms(times.len() / 2),
        ms(0),
        ms(times.len() - 1),
        times.len()
    );
}
