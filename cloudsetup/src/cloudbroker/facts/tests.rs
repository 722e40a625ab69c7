//! Tests of addresses and reasons: requested a few at a time, and not repeatedly.

use super::{
    super::script::{Reply, Script, credentials, instance, job, list},
    *,
};
use crate::dom;
use micado_api::ClusterId;
use tokio::time::sleep;

fn machines(count: usize, status: &str) -> Vec<Machine> {
    let documents = (0..count).map(|id| job(&id.to_string(), status, ""));
    let cluster = ClusterId::trusted("c");
    documents
        .filter_map(|text| {
            super::super::records::one::<Job>(&dom::parse(&text).expect("XML"))
                .expect("a job")
                .machine(&cluster)
        })
        .collect()
}

fn address(external: &str) -> String {
    format!(
        "<external-ip-address>{external}</external-ip-address><internal-ip-address>not allocated</internal-ip-address>"
    )
}

#[tokio::test(start_paused = true)]
async fn addresses_are_asked_a_few_at_a_time_and_remembered() {
    let (_folder, file) = credentials();
    let (script, facts, mut running) = (Script::new(), Facts::default(), machines(10, "running"));
    for id in 0..10 {
        let dead = instance("a", "", "halted", &address("192.0.2.1"));
        let alive = instance("b", "", "running", &address(&format!("203.0.113.{id}")));
        script.on(
            &format!("GET /jobs/{id}/instances.xml"),
            [list("instances", &[dead, alive])],
        );
    }
    let link = script.link(file, 30);
    let mut counts = Vec::new();
    for _ in 0..4 {
        facts.complete(&link, &mut running).await;
        counts.push((
            script.calls_but(&[]).len(),
            running
                .iter()
                .filter(|machine| machine.address.is_some())
                .count(),
        ));
    }
    assert_eq!(counts, [(4, 4), (4, 8), (2, 10), (0, 10)]);
    assert_eq!(running[7].address.as_deref(), Some("203.0.113.7"));
    // Gone and back, it is another machine.
    facts.keep(&[]);
    facts.complete(&link, &mut running[..1]).await;
    assert_eq!(script.calls_but(&[]).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_come_is_asked_for_ever_more_rarely() {
    let (_folder, file) = credentials();
    let (script, facts, mut running) = (Script::new(), Facts::default(), machines(1, "running"));
    script.on(
        "GET /jobs/0/instances.xml",
        [list(
            "instances",
            &[instance("a", "", "running", &address("not allocated"))],
        )],
    );
    let link = script.link(file, 30);
    for _ in 0..360 {
        facts.complete(&link, &mut running).await;
        sleep(Duration::from_secs(10)).await;
    }
    let at: Vec<_> = script.came().iter().map(|came| came.at.as_secs()).collect();
    assert_eq!(at, [0, 10, 20, 40, 80, 150, 280, 540, 1060, 2090]);
}

#[tokio::test(start_paused = true)]
async fn why_a_job_ended_is_asked_once() {
    let (_folder, file) = credentials();
    let (script, facts, mut dead) = (Script::new(), Facts::default(), machines(1, "completed"));
    let log = |at: u32, severity: &str, words: &str| {
        format!(
            "<activity-log><severity>{severity}</severity><message>{words}</message><created-at>2016-03-01T09:0{at}:00Z</created-at></activity-log>"
        )
    };
    let logs = [
        log(3, "CRITICAL", "no capacity"),
        log(1, "error", "old"),
        log(4, "info", "done"),
    ]
    .concat();
    script.on(
        "GET /jobs/0/activity_logs.xml",
        [Reply::ok(format!(
            "<activity-logs type='array'>{logs}</activity-logs>"
        ))],
    );
    let link = script.link(file, 30);
    facts.complete(&link, &mut dead).await;
    assert_eq!(dead[0].detail.as_deref(), Some("completed; no capacity"));
    let mut again = machines(1, "completed");
    facts.complete(&link, &mut again).await;
    assert_eq!(
        (again[0].detail.as_deref(), script.came().len()),
        (Some("completed; no capacity"), 1)
    );
    facts.keep(&[]);
    script.on("GET /jobs/0/activity_logs.xml", [Reply::status(404, "")]);
    let mut unknown = machines(1, "completed");
    for _ in 0..5 {
        facts.complete(&link, &mut unknown).await;
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(
        (unknown[0].detail.as_deref(), script.came().len()),
        (Some("completed"), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_does_not_hold_the_list_up() {
    let (_folder, file) = credentials();
    let (script, facts, mut running) = (Script::new(), Facts::default(), machines(2, "running"));
    script.on("GET /jobs/0/instances.xml", [Reply::Hang]);
    script.on(
        "GET /jobs/1/instances.xml",
        [list(
            "instances",
            &[instance("a", "", "running", &address("203.0.113.1"))],
        )],
    );
    let begun = Instant::now();
    facts.complete(&script.link(file, 30), &mut running).await;
    assert_eq!(
        (
            begun.elapsed(),
            running[0].address.as_deref(),
            running[1].address.as_deref()
        ),
        (PATIENCE, None, Some("203.0.113.1"))
    );
}

#[tokio::test(start_paused = true)]
async fn where_the_nested_list_is_unknown_the_filtered_one_is_asked() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let (mine, other) = (
        instance("a", "", "running", "<job-id>7</job-id>"),
        instance("b", "", "running", "<job-id>8</job-id>"),
    );
    let bare = instance("c", "", "running", "");
    script.on(
        "GET /jobs/7/instances.xml",
        [Reply::errors(404, "404: record not found", "")],
    );
    let nobody = format!("GET /instances.xml?job_id={NOBODY}");
    let ids = async |filtered: &[String], unfiltered: &[String]| {
        script
            .on("GET /instances.xml?job_id=7", [list("instances", filtered)])
            .on(&nobody, [list("instances", unfiltered)]);
        instances_of(&script.link(file.clone(), 30), "7")
            .await
            .expect("a list")
            .into_iter()
            .map(|instance| instance.id)
            .collect::<Vec<_>>()
    };
    let none = Vec::<String>::new();
    assert_eq!(ids(&[mine.clone(), other.clone()], &none).await, ["a"]);
    assert_eq!(ids(std::slice::from_ref(&bare), &none).await, ["c"]);
    // A broker that does not filter also lists other people's machines.
    assert_eq!(ids(&[bare.clone(), other], &[bare]).await, none);
}
