//! `launch --copies 10000`: planned, committed and acknowledged, and its parts.

use crate::{
    report,
    rig::{self, MACHINES, Rig, launch},
};
use micado_api::{Client, ConnectOptions};
use micado_manager::{
    clock,
    control::{Action, Core, Event, Reply, Request},
    engine::Engine,
    store::{EmbeddedStore, KeyFile, Store},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const COPIES: usize = 10_000;
const RUNS: usize = 7;

pub async fn run() {
    let (mut core, mut commit, mut whole, mut all_run) = (vec![], vec![], vec![], vec![]);
    let mut api = vec![];
    for _ in 0..RUNS {
        let rig = Rig::start(None).await;
        let request = request(&rig).await;
        let twin = rig.handle.read(Core::clone).await.expect("a core");
        let (took, actions) = core_alone(twin, request.clone());
        core.push(took);
        commit.push(commit_alone(actions).await);
        let begun = Instant::now();
        rig.handle
            .request::<Reply>(request)
            .await
            .expect("launched");
        whole.push(begun.elapsed());
        rig.until_running(COPIES).await;
        all_run.push(begun.elapsed());
        rig.stop().await;
        api.push(through_the_api().await);
    }
    let of = format!("{MACHINES} machines: launch --copies {COPIES}");
    report(&format!("{of}, planned, committed and acknowledged"), whole);
    report(&format!("{of}, the core alone"), core);
    report(&format!("{of}, the commit alone"), commit);
    report(&format!("{of}, through the API"), api);
    report(&format!("{of}, until all run on the fake engine"), all_run);
}

async fn request(rig: &Rig) -> Request {
    let request = launch("crowd", "once", COPIES);
    let facts = rig.engine.image(&request.spec.image, None).await;
    Request::Launch(Box::new(request), facts.expect("an image"))
}

/// The core's time for the request, and its actions.
fn core_alone(mut core: Core, request: Request) -> (Duration, Vec<Action>) {
    let event = Event::Request(0, request);
    let begun = Instant::now();
    let actions = core.handle(clock::now(), event);
    (begun.elapsed(), actions)
}

/// The time of an empty store for the records that were changed.
async fn commit_alone(actions: Vec<Action>) -> Duration {
    let folder = rig::folder();
    let keys = Arc::new(KeyFile::open(folder.path()).expect("a key"));
    let store = EmbeddedStore::open(folder.path().join("store.redb"), keys).await;
    let store = store.expect("a store");
    let changes = actions.into_iter().filter_map(|action| match action {
        Action::Commit(changes) => Some(changes),
        _ => None,
    });
    let records = changes.flatten().filter_map(|change| change.record);
    let changes: Vec<_> = records.map(rig::made).collect();
    let begun = Instant::now();
    store.commit(&changes).await.expect("a commit");
    begun.elapsed()
}

/// As the command line asks for it: over the socket, with the containers in the answer.
async fn through_the_api() -> Duration {
    let rig = Rig::start(None).await;
    let client = Client::connect(&rig.socket(), &ConnectOptions::default()).expect("an address");
    client.status().await.expect("a status");
    let request = launch("crowd", "once", COPIES);
    let begun = Instant::now();
    let launched = client.launch(&request).await.expect("launched");
    let took = begun.elapsed();
    assert_eq!(launched.len(), COPIES);
    rig.until_running(COPIES).await;
    drop(client);
    rig.stop().await;
    took
}
