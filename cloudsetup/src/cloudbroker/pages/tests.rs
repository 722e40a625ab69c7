//! Tests of reading lists completely.

use super::{
    super::script::{Reply, Script, credentials, list},
    *,
};

fn page(ids: std::ops::Range<usize>) -> Reply {
    list(
        "jobs",
        &ids.map(|id| format!("<job><id>{id}</id></job>"))
            .collect::<Vec<_>>(),
    )
}

/// Serves these pages (from the first id to the one after the last), and then an empty one.
fn serve(pages: &[(usize, usize)]) -> Script {
    let script = Script::new();
    for (at, (first, end)) in pages.iter().chain([&(0, 0)]).enumerate() {
        script.on(
            &format!("GET /jobs.xml?page={}&per_page=1000", at + 1),
            [page(*first..*end)],
        );
    }
    script
}

/// Number of records, pages and calls.
async fn read(script: &Script, whole: Option<&Whole>) -> (usize, usize, usize) {
    let (_folder, file) = credentials();
    let (all, pages) = read_all(&script.link(file, 30), "jobs", "job", whole, |id, _| id)
        .await
        .expect("a list");
    (all.len(), pages, script.calls_but(&[]).len())
}

#[tokio::test(start_paused = true)]
async fn a_list_ends_at_a_short_page() {
    assert_eq!(read(&serve(&[(0, 3)]), None).await, (3, 1, 1));
    assert_eq!(
        read(&serve(&[(0, 1000), (1000, 1007)]), None).await,
        (1007, 2, 2)
    );
    assert_eq!(
        read(&serve(&[(0, 1000), (1000, 2000)]), None).await,
        (2000, 2, 3)
    );
    assert_eq!(read(&serve(&[]), None).await, (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_page_is_not_read_for_ever() {
    let script = Script::new();
    script.on("GET /jobs.xml", [page(0..1000)]);
    assert_eq!(read(&script, None).await, (1000, 1, 2));
    script.on("GET /jobs.xml", [page(0..1234)]);
    assert_eq!(read(&script, None).await, (1234, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_page_may_be_shorter_than_asked_for() {
    assert_eq!(
        read(&serve(&[(0, 100), (100, 200), (200, 203)]), None).await,
        (203, 3, 3)
    );
    assert_eq!(read(&serve(&[(0, 50), (50, 100)]), None).await, (100, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn records_that_slip_to_the_next_page_are_read_once() {
    assert_eq!(
        read(&serve(&[(0, 1000), (998, 1005)]), None).await,
        (1005, 2, 2)
    );
    assert_eq!(
        read(&serve(&[(0, 10), (5, 15), (15, 16)]), None).await,
        (16, 3, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_round_page_that_was_the_whole_list_is_believed_to_be_for_a_while() {
    let (script, whole) = (serve(&[(0, 1000)]), Whole::default());
    assert_eq!(read(&script, Some(&whole)).await, (1000, 1, 2));
    assert_eq!(read(&script, Some(&whole)).await, (1000, 1, 1));
    tokio::time::sleep(BELIEVED).await;
    assert_eq!(read(&script, Some(&whole)).await, (1000, 1, 2));
    whole.forget();
    assert_eq!(read(&script, Some(&whole)).await, (1000, 1, 2));
    // Other records: the limit may have been reached.
    let grown = serve(&[(1, 1001), (1001, 1002)]);
    assert_eq!(read(&grown, Some(&whole)).await, (1001, 2, 2));
    assert_eq!(read(&script, Some(&whole)).await, (1000, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn half_a_list_is_an_error() {
    let (script, (_folder, file)) = (serve(&[(0, 1000)]), credentials());
    script.on(
        "GET /jobs.xml?page=2&per_page=1000",
        [Reply::status(500, "")],
    );
    let read = read_all(&script.link(file, 30), "jobs", "job", None, |id, _| id).await;
    assert_eq!(
        read.expect_err("page 2 fails"),
        Failure::Lost("cannot list jobs: it answered 500".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_is_an_error() {
    let (script, (_folder, file)) = (Script::new(), credentials());
    for at in 0..MOST_PAGES {
        script.on(
            &format!("GET /jobs.xml?page={}&per_page=1000", at + 1),
            [page(at * 10..at * 10 + 10)],
        );
    }
    let read = read_all(&script.link(file, 3000), "jobs", "job", None, |id, _| id).await;
    assert!(read.is_err_and(|failure| failure.words().contains("no end")));
}
