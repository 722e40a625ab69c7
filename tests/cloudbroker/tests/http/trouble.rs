//! Every fault, as seen by a client.

use crate::client::{Answer, Client, first, started};
use micado_cloudbroker::{CallKind, Config, Fault, InstanceStatus, Outcome, Rule};
use reqwest::Method;
use std::time::Duration;

const PERMANENT: &str = "<permanently-running>true</permanently-running>";
const SOON: Duration = Duration::from_millis(50);

async fn try_create(client: &Client, order: &str) -> reqwest::Result<Answer> {
    client
        .try_call(
            Method::POST,
            "/jobs.xml",
            "application/xml",
            order.to_owned(),
        )
        .await
}

#[tokio::test]
async fn an_answer_is_lost_before_or_after_the_effect() {
    let (simulator, client) = started(Config::default()).await;
    let order = client.order("node-1", "").await;
    for (fault, effects) in [
        (Fault::LostBefore, 0),
        (Fault::Hang(SOON), 0),
        (Fault::LostAfter, 1),
        (Fault::HangAfter(SOON), 2),
    ] {
        simulator
            .faults()
            .add(Rule::new(CallKind::CreateJob, fault.clone()));
        let error = try_create(&client, &order).await.expect_err("no answer");
        assert!(error.is_request(), "{fault:?}: {error:?}");
        assert_eq!(simulator.jobs().len(), effects, "{fault:?}");
    }
    let lost: Vec<_> = simulator
        .calls()
        .into_iter()
        .filter(|call| call.kind == CallKind::CreateJob)
        .map(|call| (call.status, call.subject))
        .collect();
    assert_eq!(lost, vec![(None, Some("node-1 ".to_owned())); 4]);
    assert_eq!(
        try_create(&client, &order).await.expect("an answer").status,
        201
    );
}

#[tokio::test]
async fn what_was_begun_is_done_though_the_client_has_hung_up() {
    let (simulator, client) = started(Config::default()).await;
    let order = client.order("late", "").await;
    simulator
        .faults()
        .add(Rule::new(CallKind::CreateJob, Fault::Slow(SOON * 4)));
    let impatient = Client::with(simulator.url(), reqwest::Client::builder());
    assert!(
        tokio::time::timeout(SOON, try_create(&impatient, &order))
            .await
            .is_err()
    );
    assert!(simulator.jobs().is_empty());
    let start = std::time::Instant::now();
    while !simulator
        .calls()
        .iter()
        .any(|call| call.kind == CallKind::CreateJob && call.status == Some(201))
    {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            simulator.calls()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(simulator.jobs().len(), 1);
}

#[tokio::test]
async fn a_status_comes_with_plain_text_and_perhaps_a_pause() {
    let (simulator, client) = started(Config::default()).await;
    let faults = [
        Fault::Status {
            code: 500,
            retry_after: None,
        },
        Fault::Status {
            code: 429,
            retry_after: Some(7),
        },
        Fault::StatusAfter { code: 502 },
    ];
    for (fault, code, retry_after, jobs) in [
        (&faults[0], 500, None, 0),
        (&faults[1], 429, Some("7"), 0),
        (&faults[2], 502, None, 1),
    ] {
        simulator
            .faults()
            .add(Rule::new(CallKind::CreateJob, fault.clone()));
        let answer = try_create(&client, &client.order("n", "").await)
            .await
            .expect("an answer");
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.retry_after.as_deref(),
                simulator.jobs().len()
            ),
            (code, retry_after, jobs),
            "{answer:?}"
        );
        assert!(!answer.body.contains('<'), "{answer:?}");
    }
}

#[tokio::test]
async fn errors_come_with_200_and_with_422() {
    let (simulator, client) = started(Config::default()).await;
    for (fault, code) in [
        (Fault::ErrorsAt200("Out of <order>".to_owned()), 200),
        (Fault::Quota("Out of <order>".to_owned()), 422),
    ] {
        simulator
            .faults()
            .add(Rule::new(CallKind::CreateJob, fault));
        let answer = try_create(&client, &client.order("n", "").await)
            .await
            .expect("an answer");
        assert!(
            answer.status == code && answer.body.contains("<error>Out of &lt;order&gt;</error>"),
            "{answer:?}"
        );
    }
    assert_eq!(
        (simulator.jobs().len(), simulator.faults().happened().len()),
        (0, 2)
    );
}

#[tokio::test]
async fn an_answer_is_bent_for_its_subject_alone() {
    let (simulator, client) = started(Config::default()).await;
    for name in ["web", "database"] {
        let id = client.submit(name, PERMANENT).await;
        client.until(&format!("/jobs/{id}.xml"), "running").await;
    }
    simulator
        .faults()
        .add(Rule::new(CallKind::ListJobs, Fault::UnknownStatus).about("web"));
    simulator
        .faults()
        .add(Rule::new(CallKind::ListInstances, Fault::NotAllocated).about("data"));
    simulator
        .faults()
        .add(Rule::new(CallKind::Catalogue, Fault::CatalogueClash).about("region"));
    let jobs = client.get("/jobs.xml").await.body;
    assert_eq!(
        (
            jobs.matches("hibernating").count(),
            jobs.matches("<status>running").count()
        ),
        (1, 1),
        "{jobs}"
    );
    let instances = client.get("/instances.xml").await.body;
    assert_eq!(
        instances
            .matches("<internal-ip-address>not allocated<")
            .count(),
        1,
        "{instances}"
    );
    assert_eq!(
        client
            .get("/softwares.xml")
            .await
            .body
            .matches("<name>micado node<")
            .count(),
        1
    );
    assert_eq!(
        client
            .get("/regions.xml")
            .await
            .body
            .matches("<name>CloudSigma Zurich<")
            .count(),
        2
    );
    assert!(simulator.faults().rules().is_empty());
}

#[tokio::test]
async fn a_machine_never_boots_or_dies_booting() {
    let (simulator, client) = started(Config::default()).await;
    simulator
        .faults()
        .add(Rule::new(CallKind::SubmitJob, Fault::NeverBoots).about("never"));
    simulator
        .faults()
        .add(Rule::new(CallKind::SubmitJob, Fault::DiesBooting).about("dies"));
    let (never, dies) = (
        client.submit("never", PERMANENT).await,
        client.submit("dies", PERMANENT).await,
    );
    client
        .until(&format!("/jobs/{dies}.xml"), "completed")
        .await;
    let job = simulator
        .jobs()
        .into_iter()
        .find(|job| job.id == dies)
        .expect("the job");
    assert_eq!(job.outcome, Some(Outcome::Failed));
    assert_eq!(simulator.booted_total("dies"), 1);
    client
        .until(&format!("/jobs/{never}.xml"), "starting")
        .await;
    assert_eq!(
        (
            simulator.machines_running().len(),
            simulator.booted_total("never")
        ),
        (0, 0)
    );
    client.put(&format!("/jobs/{never}/stop.xml")).await;
    client
        .until(&format!("/jobs/{never}.xml"), "completed")
        .await;
    client
        .until(&format!("/jobs/{never}/instances.xml"), "halted")
        .await;
}

#[tokio::test]
async fn a_process_is_killed_before_or_after_the_effect() {
    let (simulator, client) = started(Config::default()).await;
    for (after, jobs) in [(false, 0), (true, 1)] {
        let mut victim = tokio::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("a process");
        let pid = victim.id().expect("its pid");
        let fault = if after {
            Fault::KillAfter(pid)
        } else {
            Fault::KillBefore(pid)
        };
        let order = client.order("n", "").await;
        simulator
            .faults()
            .add(Rule::new(CallKind::CreateJob, fault));
        try_create(&client, &order).await.expect_err("no answer");
        assert!(!victim.wait().await.expect("its end").success());
        assert_eq!(simulator.jobs().len(), jobs);
    }
}

#[tokio::test]
async fn a_broker_that_is_down_refuses_connections_and_forgets_nothing() {
    let (simulator, client) = started(Config::default()).await;
    let id = client.submit("node-1", PERMANENT).await;
    simulator.down().await;
    let error = Client::new(simulator.url())
        .try_call(Method::GET, "/jobs.xml", "", "")
        .await
        .expect_err("nobody there");
    assert!(error.is_connect(), "{error:?}");
    simulator.up().expect("the same address");
    client.until(&format!("/jobs/{id}.xml"), "running").await;
}

#[tokio::test]
async fn people_set_faults_and_read_what_was_rented() {
    let (simulator, client) = started(Config::default()).await;
    let rules = r#"[{"call":"show_job","fault":{"status":{"code":503}},"times":null}]"#;
    assert_eq!(
        client
            .call(Method::PUT, "/simulator/faults", rules)
            .await
            .status,
        200
    );
    let id = client.submit("node-1", PERMANENT).await;
    assert_eq!(client.get(&format!("/jobs/{id}.xml")).await.status, 503);
    assert!(
        client
            .get("/simulator/faults")
            .await
            .body
            .contains("\"happened\":[{")
    );
    assert_eq!(
        client
            .call(Method::DELETE, "/simulator/faults", "")
            .await
            .status,
        200
    );
    client.until(&format!("/jobs/{id}.xml"), "running").await;
    let audit = client.get("/simulator/audit").await.body;
    assert!(
        audit.contains("\"ordered_as\":\"node-1\"") && audit.contains("\"kind\":\"submit_job\""),
        "{audit}"
    );
    let bad = client.call(Method::PUT, "/simulator/faults", "{}").await;
    assert!(
        bad.status == 400 && bad.body.contains("no list of rules"),
        "{bad:?}"
    );
    assert_eq!(simulator.faults().rules().len(), 0);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_random_faults() {
    let happened = async |seed| {
        let (simulator, client) = started(Config {
            seed,
            fault_rate: 0.5,
            ..Config::default()
        })
        .await;
        for _ in 0..30 {
            drop(client.try_call(Method::GET, "/jobs.xml", "", "").await);
        }
        simulator
            .faults()
            .happened()
            .into_iter()
            .map(|happened| happened.fault)
            .collect::<Vec<_>>()
    };
    assert_eq!(happened(3).await, happened(3).await);
}

#[tokio::test]
async fn a_restarted_program_knows_its_jobs_and_machines() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = || Config {
        state: Some(folder.path().join("state.json")),
        ..Config::default()
    };
    let (simulator, client) = started(config()).await;
    let id = client.submit("node-1", PERMANENT).await;
    client.until(&format!("/jobs/{id}.xml"), "running").await;
    let instance = simulator.instances().remove(0);
    drop(simulator);
    let (simulator, client) = started(config()).await;
    assert_eq!(simulator.instances(), [instance]);
    client.put(&format!("/jobs/{id}/stop.xml")).await;
    client
        .until(&format!("/jobs/{id}/instances.xml"), "halted")
        .await;
    assert_eq!(simulator.instances()[0].status, InstanceStatus::Halted);
    let other = client.create("node-2", "").await;
    assert_ne!(
        first(&client.get(&format!("/jobs/{other}.xml")).await.body, "id"),
        id
    );
}
