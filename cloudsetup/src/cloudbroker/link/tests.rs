//! Tests of calls: repeated or not, and paused.

use super::{
    super::script::{Reply, Script, credentials, write_credentials},
    *,
};
use std::collections::BTreeSet;

const LIST: &str = "GET /jobs.xml";
const CREATE: &str = "POST /jobs.xml";
const SUBMIT: &str = "PUT /jobs/1/submit.xml";

async fn list(link: &Link) -> Result<(), Failure> {
    link.read("/jobs.xml", "list jobs", |_| Ok(())).await
}

async fn create(link: &Link) -> Result<(), Failure> {
    link.create(
        "/jobs.xml",
        Body::Xml("<job/>".to_owned()),
        "create job `x`",
        |_| Ok(()),
    )
    .await
}

async fn submit(link: &Link) -> Result<(), Failure> {
    link.act(Method::PUT, "/jobs/1/submit.xml", "submit job `x`")
        .await
}

fn seconds(script: &Script) -> Vec<f32> {
    script
        .came()
        .iter()
        .map(|came| came.at.as_secs_f32())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn reading_is_repeated_and_so_is_submitting() {
    let (_folder, file) = credentials();
    let bad = [
        Reply::Lost,
        Reply::status(500, "oops"),
        Reply::status(502, ""),
        Reply::ok("<jobs/>"),
    ];
    let script = Script::new();
    script.on(LIST, bad.clone()).on(SUBMIT, bad);
    let link = script.link(file, 30);
    assert_eq!(list(&link).await, Ok(()));
    assert_eq!(seconds(&script), [0.0, 0.5, 1.5, 3.5]);
    assert_eq!(submit(&link).await, Ok(()));
    script.on(LIST, [Reply::status(500, "oops")]);
    assert_eq!(
        list(&link).await,
        Err(Failure::Lost(
            "cannot list jobs: it answered 500: oops".to_owned()
        ))
    );
    assert_eq!(script.came().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_creation_is_never_sent_twice() {
    let (_folder, file) = credentials();
    for reply in [
        Reply::Lost,
        Reply::Hang,
        Reply::status(500, ""),
        Reply::busy(429, Some(1)),
        Reply::busy(503, None),
        Reply::status(302, ""),
        Reply::ok("<job>"),
    ] {
        let script = Script::new();
        script.on(CREATE, [reply.clone()]);
        assert!(
            matches!(create(&script.link(file.clone(), 30)).await, Err(Failure::Lost(words)) if words.starts_with("cannot create job `x`: ")),
            "{reply:?}"
        );
        assert_eq!(script.came().len(), 1, "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_in_its_time() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on(
        LIST,
        [
            Reply::Slow(
                Duration::from_secs(8),
                super::super::http::Answer {
                    status: 500,
                    ..Default::default()
                },
            ),
            Reply::Hang,
        ],
    );
    let begun = Instant::now();
    assert_eq!(
        list(&script.link(file, 10)).await,
        Err(Failure::Lost(
            "cannot list jobs: no answer in time".to_owned()
        ))
    );
    assert_eq!((begun.elapsed().as_secs(), script.came().len()), (10, 2));
}

#[tokio::test(start_paused = true)]
async fn a_no_is_not_asked_again() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on(LIST, [Reply::errors(200, "Not yours", "missing rights")]);
    let said = list(&script.link(file, 30)).await;
    assert_eq!(
        (said, script.came().len()),
        (
            Err(Failure::No(
                No::Other,
                "cannot list jobs: Not yours".to_owned()
            )),
            1
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_overrun_is_left_alone_by_all_calls() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script
        .on(LIST, [Reply::busy(429, Some(7)), Reply::ok("<jobs/>")])
        .on(CREATE, [Reply::status(201, "<job><id>1</id></job>")]);
    let link = script.link(file, 30);
    let (listed, created) = tokio::join!(list(&link), async {
        sleep(Duration::from_secs(1)).await;
        create(&link).await
    });
    assert_eq!((listed, created), (Ok(()), Ok(())));
    assert_eq!(seconds(&script), [0.0, 7.0, 7.0]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_too_long_is_not_waited_for() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on(LIST, [Reply::busy(503, Some(100))]);
    let (link, begun) = (script.link(file, 30), Instant::now());
    assert_eq!(
        list(&link).await,
        Err(Failure::Lost(
            "cannot list jobs: it answered 503".to_owned()
        ))
    );
    let later = list(&link).await.expect_err("still closed");
    assert!(
        later.words().starts_with("cannot list jobs: not asked: "),
        "{later}"
    );
    assert_eq!((script.came().len(), begun.elapsed().as_secs()), (1, 0));
    sleep(Duration::from_secs(100)).await;
    assert!(list(&link).await.is_err());
    assert_eq!(seconds(&script), [0.0, 100.5]);
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_shown_ever_more_rarely() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script
        .on(LIST, [Reply::errors(401, "Who are you?", "authentication")])
        .on(
            CREATE,
            [Reply::errors(200, "Who are you?", "authentication")],
        );
    let link = script.link(file.clone(), 30);
    let mut words = BTreeSet::new();
    for _ in 0..900 {
        let (listed, created) = (
            list(&link).await.expect_err("wrong"),
            create(&link).await.expect_err("wrong"),
        );
        assert!(listed.is(No::Credentials) && created.is(No::Credentials));
        words.insert(listed.words().to_owned());
        sleep(Duration::from_secs(1)).await;
    }
    let said = format!(
        "cannot list jobs: the broker does not take the user and the password of {file}: Who are you?: correct the file"
    );
    assert_eq!(words, BTreeSet::from([said]));
    assert_eq!(seconds(&script), [0.0, 30.0, 90.0, 210.0, 450.0, 750.0]);
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_used_at_once() {
    let (_folder, file) = credentials();
    let script = Script::new();
    script.on(LIST, [Reply::status(401, ""), Reply::ok("<jobs/>")]);
    let link = script.link(file.clone(), 30);
    assert!(
        list(&link)
            .await
            .is_err_and(|failure| failure.is(No::Credentials))
    );
    write_credentials(&file, "better");
    assert_eq!(list(&link).await, Ok(()));
    assert_eq!(
        script
            .came()
            .iter()
            .map(|came| came.password.as_str())
            .collect::<Vec<_>>(),
        ["secret", "better"]
    );
    std::fs::remove_file(&file.0).expect("our file");
    let gone = list(&link).await.expect_err("no file");
    assert!(
        gone.is(No::Other)
            && gone
                .words()
                .starts_with("cannot list jobs: credentials file `"),
        "{gone}"
    );
    assert_eq!(script.came().len(), 2);
}
