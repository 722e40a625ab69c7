//! Tests of shared listings.

use super::{
    super::script::{Reply, SETUP, Script, credentials, instance, job, list},
    *,
};
use tokio::time::{Instant, sleep};

fn answer(body: String) -> Reply {
    let Reply::Answer(answer) = list("jobs", &[body]) else {
        unreachable!("a list is an answer")
    };
    Reply::Slow(Duration::from_millis(500), answer)
}

/// A listing of an account with applications that rent these.
fn renting(kinds: &[Rent]) -> Listing {
    let application = crate::CloudSetup::parse(SETUP, "cloudsetup.xml")
        .expect("a good set-up")
        .applications
        .remove(0);
    Listing::new(
        &kinds
            .iter()
            .map(|rent| Application {
                rent: *rent,
                ..application.clone()
            })
            .collect::<Vec<_>>(),
    )
}

async fn ids(listing: &Listing, link: &Link, after_ms: u64) -> Result<Vec<String>, Failure> {
    sleep(Duration::from_millis(after_ms)).await;
    Ok(listing
        .get(link)
        .await?
        .jobs
        .iter()
        .map(|job| job.id.clone())
        .collect())
}

#[tokio::test(start_paused = true)]
async fn who_asks_at_the_same_time_shares_and_who_asks_later_gets_a_later_list() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on(
        "GET /jobs.xml",
        ["1", "2", "3"].map(|id| answer(job(id, "running", ""))),
    );
    let (listing, link, begun) = (
        renting(&[Rent::Jobs]),
        script.link(file, 30),
        Instant::now(),
    );
    // The third and the fourth ask during the first listing.
    let listed = tokio::join!(
        ids(&listing, &link, 0),
        ids(&listing, &link, 15),
        ids(&listing, &link, 25),
        ids(&listing, &link, 400),
        ids(&listing, &link, 2000)
    );
    let of = |id: &str| Ok(vec![id.to_owned()]);
    assert_eq!(listed, (of("1"), of("1"), of("2"), of("2"), of("3")));
    assert_eq!(
        (script.came().len(), begun.elapsed()),
        (3, Duration::from_millis(2520))
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_not_kept() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on(
        "GET /jobs.xml",
        [Reply::errors(200, "Not today", ""), list("jobs", &[])],
    );
    let (listing, link) = (renting(&[Rent::Jobs]), script.link(file, 30));
    let failed = Err(Failure::no("cannot list jobs: Not today"));
    assert_eq!(
        tokio::join!(ids(&listing, &link, 0), ids(&listing, &link, 0)),
        (failed.clone(), failed)
    );
    assert_eq!(
        (ids(&listing, &link, 0).await, script.came().len()),
        (Ok(Vec::new()), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_nobody_waits_for_does_not_block_the_next() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on("GET /jobs.xml", [Reply::Hang, list("jobs", &[])]);
    let (listing, link) = (renting(&[Rent::Jobs]), script.link(file, 30));
    assert!(
        tokio::time::timeout(Duration::from_secs(1), listing.get(&link))
            .await
            .is_err()
    );
    assert_eq!(ids(&listing, &link, 0).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_pages_is_read_anew_when_something_was_deleted_meanwhile() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let jobs: Vec<_> = (0..10)
        .map(|id| job(&id.to_string(), "running", ""))
        .collect();
    script.on("GET /jobs.xml?page=1&per_page=1000", [list("jobs", &jobs)]);
    // Job 10 moved from page 2 to page 1 after that was read: half of a second later it is seen
    // again.
    let Reply::Answer(nothing) = list("jobs", &[]) else {
        unreachable!("a list is an answer")
    };
    let Reply::Answer(eleven) = list("jobs", &[job("11", "running", "")]) else {
        unreachable!("a list is an answer")
    };
    script.on(
        "GET /jobs.xml?page=2&per_page=1000",
        [Reply::Slow(Duration::from_millis(100), eleven)],
    );
    script.on(
        "GET /jobs.xml?page=3&per_page=1000",
        [Reply::Answer(nothing)],
    );
    let (listing, link) = (renting(&[Rent::Jobs]), script.link(file, 30));
    let deletion = async {
        sleep(Duration::from_millis(50)).await;
        let _until = listing.deleting();
        sleep(Duration::from_millis(100)).await;
    };
    let (listed, ()) = tokio::join!(ids(&listing, &link, 0), deletion);
    assert_eq!(listed.map(|ids| ids.len()), Ok(11));
    // Once disturbed, once begun too early, once complete.
    let firsts = script
        .came()
        .iter()
        .filter(|came| came.call.contains("page=1&"))
        .count();
    assert_eq!(firsts, 3);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_rents_is_looked_for_until_none_is_found_and_then_every_ten_minutes() {
    const JOBS: &str = "GET /jobs.xml?page=1&per_page=1000";
    const INSTANCES: &str = "GET /instances.xml?page=1&per_page=1000";
    let (_folder, file) = credentials();
    let ours = || list("jobs", &[job("1", "running", "")]);
    let script = Script::new();
    script.on("GET /jobs.xml", [ours(), list("jobs", &[]), ours()]);
    script.on(
        "GET /instances.xml",
        [list(
            "instances",
            &[instance("2", "somebody-s", "running", "")],
        )],
    );
    let (listing, link) = (renting(&[Rent::Instances]), script.link(file, 30));
    let found = async |after_s: u64| {
        (
            ids(&listing, &link, after_s * 1000)
                .await
                .expect("a list")
                .len(),
            script.calls_but(&[]),
        )
    };
    let both = || vec![JOBS.to_owned(), INSTANCES.to_owned()];
    assert_eq!(
        found(0).await,
        (1, both()),
        "a job from before applications rented instances"
    );
    assert_eq!(found(0).await, (0, both()));
    for _ in 0..9 {
        assert_eq!(found(60).await, (0, vec![INSTANCES.to_owned()]));
    }
    assert_eq!(found(60).await, (1, both()), "somebody may have made one");

    let (jobs, both_kinds) = (
        renting(&[Rent::Jobs]),
        renting(&[Rent::Jobs, Rent::Instances]),
    );
    for (listing, calls) in [
        (&jobs, both()),
        (&jobs, vec![JOBS.to_owned()]),
        (&both_kinds, both()),
        (&both_kinds, both()),
    ] {
        ids(listing, &link, 0).await.expect("a list");
        assert_eq!(script.calls_but(&[]), calls);
    }
    // A job's own instance with the job's name is not a second machine.
    script.on(
        "GET /instances.xml",
        [list(
            "instances",
            &[instance("2", "micado-c-i1", "running", "")],
        )],
    );
    let jobs = renting(&[Rent::Jobs]);
    for calls in [both(), vec![JOBS.to_owned()]] {
        ids(&jobs, &link, 0).await.expect("a list");
        assert_eq!(script.calls_but(&[]), calls);
    }
}
