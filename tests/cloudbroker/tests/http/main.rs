//! Every route of the simulator over HTTP, with machines that are records.

mod client;
mod secure;
mod trouble;

use client::{first, started};
use micado_cloudbroker::{Config, InstanceStatus, JobStatus, Outcome, Pace, Spelling};
use reqwest::Method;
use std::time::Duration;

const PERMANENT: &str = "<permanently-running>true</permanently-running>";

#[tokio::test]
async fn a_permanent_job_runs_until_it_is_stopped_and_deleted() {
    let (simulator, client) = started(Config::default()).await;
    let id = client.create("node-1", PERMANENT).await;
    let path = format!("/jobs/{id}.xml");
    assert!(
        client
            .get(&path)
            .await
            .body
            .contains("<status>created</status>")
    );
    assert_eq!(
        client.put(&format!("/jobs/{id}/submit.xml")).await.status,
        200
    );
    client.until(&path, "running").await;
    let listed = client.get(&format!("/jobs/{id}/instances.xml")).await.body;
    assert_eq!(first(&listed, "status"), "running");
    assert!(
        first(&listed, "internal-ip-address")
            .parse::<std::net::IpAddr>()
            .is_ok(),
        "{listed}"
    );
    assert_eq!(
        (
            simulator.machines_running().len(),
            simulator.booted_total("node-1")
        ),
        (1, 1)
    );

    assert_eq!(client.call(Method::DELETE, &path, "").await.status, 422);
    assert_eq!(client.put(&format!("/jobs/{id}/stop")).await.status, 200);
    let completed = client.until(&path, "completed").await;
    assert_eq!(first(&completed, "job-outcome-string"), "interrupted");
    let again = client.put(&format!("/jobs/{id}/stop.xml")).await;
    assert!(
        again.status == 422 && again.body.contains("<type>wrong status</type>"),
        "{again:?}"
    );
    assert_eq!(client.call(Method::DELETE, &path, "").await.status, 200);
    let gone = client.get(&path).await;
    assert!(
        gone.status == 404 && gone.body.contains("<error>404: record not found</error>"),
        "{gone:?}"
    );
    assert_eq!(
        (simulator.jobs().len(), simulator.instances().len()),
        (0, 1)
    );
}

#[tokio::test]
async fn any_other_job_ends_by_itself_and_so_does_its_instance() {
    let (simulator, client) = started(Config::default()).await;
    let id = client.submit("batch", "").await;
    let keeping = client
        .submit(
            "keeping",
            "<no_instance_shutdown>true</no_instance_shutdown>",
        )
        .await;
    assert_eq!(
        first(
            &client.until(&format!("/jobs/{id}.xml"), "completed").await,
            "job-outcome-string"
        ),
        "success"
    );
    client
        .until(&format!("/jobs/{keeping}.xml"), "completed")
        .await;
    client
        .until(&format!("/jobs/{id}/instances.xml"), "halted")
        .await;
    let running = simulator.machines_running();
    assert_eq!(
        running
            .iter()
            .map(|instance| instance.ordered_as.as_str())
            .collect::<Vec<_>>(),
        ["keeping"]
    );
    assert_eq!(simulator.jobs()[0].outcome, Some(Outcome::Ended));
}

#[tokio::test]
async fn everything_can_be_held_in_any_status() {
    let (simulator, client) = started(Config {
        pace: Pace::every(Duration::ZERO),
        ..Config::default()
    })
    .await;
    simulator.pause_one_at(JobStatus::Assembling, "held");
    simulator.pause_at(InstanceStatus::Preparing);
    let (held, other) = (
        client.submit("held", PERMANENT).await,
        client.submit("other", PERMANENT).await,
    );
    assert!(
        client
            .get(&format!("/jobs/{held}.xml"))
            .await
            .body
            .contains("<status>assembling</status>")
    );
    assert!(
        client
            .get(&format!("/jobs/{other}.xml"))
            .await
            .body
            .contains("<status>preparing</status>")
    );
    simulator.release();
    for id in [held, other] {
        assert!(
            client
                .get(&format!("/jobs/{id}.xml"))
                .await
                .body
                .contains("<status>running</status>")
        );
    }
    simulator.jump("held", JobStatus::Completed);
    assert_eq!(simulator.machines_running().len(), 1);
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let (_simulator, client) = started(Config::default()).await;
    for name in ["a", "b", "c"] {
        client.create(name, "").await;
    }
    let id = client.submit("d", PERMANENT).await;
    client.until(&format!("/jobs/{id}.xml"), "running").await;
    let page = client.get("/jobs.xml?page=2&per_page=3").await.body;
    assert!(
        page.contains("<name>d</name>") && !page.contains("<name>c</name>"),
        "{page}"
    );
    let running = client
        .get("/jobs.xml?&job[status_filter]=running")
        .await
        .body;
    assert_eq!(running.matches("<job>").count(), 1, "{running}");
    let escaped = client
        .get("/jobs.xml?job%5Bstatus_filter%5D=created")
        .await
        .body;
    assert_eq!(escaped.matches("<job>").count(), 3, "{escaped}");
    assert_eq!(
        client
            .get(&format!("//instances.xml?job_id={id}"))
            .await
            .body
            .matches("<instance>")
            .count(),
        1
    );
    assert_eq!(
        client
            .get("/instances.xml?job_id=nobody")
            .await
            .body
            .matches("<instance>")
            .count(),
        0
    );
}

#[tokio::test]
async fn files_are_uploaded_before_the_job_is_submitted() {
    let (simulator, client) = started(Config::default()).await;
    let id = client.create("node-1", "").await;
    let input = client.id("data_types", "input").await;
    let parts = [
        ("job_id", id.as_str()),
        ("archive", "false"),
        ("data_type_id", &input),
        ("data_file_name", "join.tar"),
    ];
    let answer = client.upload(&parts, ("blob", b"one\r\n\0two")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        (
            first(&answer.body, "data-file-name").as_str(),
            first(&answer.body, "data-file-size").as_str()
        ),
        ("join.tar", "9")
    );
    let file = first(&answer.body, "id");
    assert_eq!(
        client.upload(&parts[..3], ("named.txt", b"x")).await.status,
        201
    );
    let files = simulator.files(&id);
    assert_eq!(
        files
            .iter()
            .map(|file| (file.name.as_str(), file.content.0.as_slice()))
            .collect::<Vec<_>>(),
        [
            ("join.tar", b"one\r\n\0two".as_slice()),
            ("named.txt", b"x"),
        ]
    );
    assert_eq!(
        files[1].sha256,
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    );
    assert_eq!(
        client
            .get(&format!("/jobs/{id}/data_files.xml"))
            .await
            .body
            .matches("<data-file>")
            .count(),
        2
    );
    assert_eq!(
        client.get(&format!("/data_files/{file}.xml")).await.status,
        200
    );
    assert_eq!(
        client
            .call(Method::DELETE, &format!("/data_files/{file}.xml"), "")
            .await
            .status,
        200
    );
    assert_eq!(simulator.files(&id).len(), 1);
    assert!(
        client
            .get(&format!(
                "/data_files/new/direct_file_upload.xml?job_id={id}"
            ))
            .await
            .body
            .contains("<result>Not supported</result>")
    );

    client.put(&format!("/jobs/{id}/submit.xml")).await;
    let late = client.upload(&parts, ("late", b"")).await;
    assert!(
        late.status == 422 && late.body.contains("<type>wrong status</type>"),
        "{late:?}"
    );
    let wrong = client
        .upload(&[("job_id", "nobody"), parts[2]], ("x", b""))
        .await;
    assert!(
        wrong.status == 422 && wrong.body.contains("Job can&apos;t be found"),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn instances_are_ordered_alone_too() {
    let (simulator, client) = started(Config::default()).await;
    let deployment = client.id("deployments", "micado node on CloudSigma").await;
    let size = client.id("instance_types", "CloudSigma Small").await;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?><instance><name>node-1</name><deployment_id>{deployment}</deployment_id><instance_type_id>{size}</instance_type_id>\
        <opened_port>22,80</opened_port><isolated>true</isolated><cloud-init>I2Nsb3VkLWNvbmZpZwo=</cloud-init><cloud-init-b64>true</cloud-init-b64></instance>"
    );
    let made = client.call(Method::POST, "/instances.xml", &body).await;
    assert_eq!(
        (
            made.status.as_u16(),
            first(&made.body, "external-ip-address").as_str()
        ),
        (201, "not allocated")
    );
    let id = first(&made.body, "id");
    client
        .until(&format!("/instances/{id}.xml"), "running")
        .await;
    assert_eq!(
        simulator.instances()[0]
            .user_data
            .as_ref()
            .map(|data| data.0.as_slice()),
        Some(b"#cloud-config\n".as_slice())
    );
    assert!(
        client
            .get(&format!("/instances/{id}/costs.xml"))
            .await
            .body
            .contains("<name>Total</name>")
    );
    assert_eq!(
        client
            .put(&format!("/instances/{id}/stop.xml"))
            .await
            .status,
        200
    );
    client
        .until(&format!("/instances/{id}.xml"), "halted")
        .await;
    assert!(
        client
            .put(&format!("/instances/{id}/stop.xml"))
            .await
            .body
            .contains("<type>wrong status</type>")
    );
    assert_eq!(
        (
            simulator.machines_running().len(),
            simulator.booted_total("node-1")
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn a_job_ends_with_its_instance() {
    let (_simulator, client) = started(Config::default()).await;
    let id = client.submit("node-1", PERMANENT).await;
    client.until(&format!("/jobs/{id}.xml"), "running").await;
    let instance = first(
        &client.get(&format!("/jobs/{id}/instances.xml")).await.body,
        "id",
    );
    client.put(&format!("/instances/{instance}/stop.xml")).await;
    let over = client.until(&format!("/jobs/{id}.xml"), "completed").await;
    assert_eq!(first(&over, "job-outcome-string"), "interrupted");
    assert_eq!(
        client.put(&format!("/jobs/{id}/restart.xml")).await.status,
        201
    );
    client.until(&format!("/jobs/{id}.xml"), "running").await;
    let timeline = client.get(&format!("/jobs/{id}/timeline.xml")).await.body;
    assert_eq!(
        timeline.matches("<status>running</status>").count(),
        2,
        "{timeline}"
    );
    assert!(
        client
            .get(&format!("/jobs/{id}/activity_logs.xml"))
            .await
            .body
            .contains("An instance of the job has ended")
    );
}

#[tokio::test]
async fn names_do_as_well_as_ids_and_what_is_not_there_is_named() {
    let (simulator, client) = started(Config::default()).await;
    let order = |size: &str| {
        format!(
            "<?xml version='1.0' encoding='utf8'?>\n<job><software_name>micado node</software_name><executable-name>execute.sh</executable-name>\
            <resource-name>CloudSigma</resource-name><region-name>CloudSigma Zurich</region-name><instance-type-name>{size}</instance-type-name>\
            <no-instance-shutdown>false</no-instance-shutdown><name>dscr01</name><argument_string>-start application</argument_string></job>"
        )
    };
    let made = client
        .call(Method::POST, "/jobs.xml", &order("CloudSigma Small"))
        .await;
    assert_eq!(
        (
            made.status.as_u16(),
            first(&made.body, "argument-string").as_str()
        ),
        (201, "-start application")
    );
    assert_eq!(
        first(&made.body, "instance-type-id"),
        client.id("instance_types", "CloudSigma Small").await
    );
    let unknown = client
        .call(Method::POST, "/jobs.xml", &order("CloudSigma Tiny"))
        .await;
    assert!(
        unknown.status == 422
            && unknown
                .body
                .contains("<error>Instance type can&apos;t be found</error>"),
        "{unknown:?}"
    );
    let elsewhere = client
        .call(
            Method::POST,
            "/jobs.xml",
            &order("Amazon EC2 CloudBroker GmbH Micro - 64 bit"),
        )
        .await;
    assert!(
        elsewhere
            .body
            .contains("Instance type does not belong to the rest of the order"),
        "{elsewhere:?}"
    );
    let bare = client
        .call(
            Method::POST,
            "/jobs.xml",
            "<job><id></id><nodes>none</nodes></job>",
        )
        .await;
    for message in [
        "Software can&apos;t be blank",
        "Name can&apos;t be blank",
        "Nodes is not a number",
    ] {
        assert!(bare.body.contains(message), "{bare:?}");
    }
    assert_eq!(simulator.jobs().len(), 1);
}

#[tokio::test]
async fn only_the_account_s_owner_is_let_in_and_only_xml_is_read() {
    let (simulator, client) = started(Config {
        password: "other".to_owned(),
        ..Config::default()
    })
    .await;
    let refused = client.get("/jobs.xml").await;
    assert!(
        refused.status == 401 && refused.body.contains("<type>authentication</type>"),
        "{refused:?}"
    );
    assert_eq!(
        simulator
            .calls()
            .iter()
            .map(|call| call.status)
            .collect::<Vec<_>>(),
        [Some(401)]
    );
    let (_simulator, client) = started(Config::default()).await;
    let json = client
        .try_call(Method::POST, "/jobs.xml", "application/json", "{}")
        .await
        .expect("an answer");
    assert_eq!(json.status, 415);
    assert_eq!(
        client.call(Method::POST, "/jobs.xml", "<job>").await.status,
        400
    );
    assert_eq!(client.get("/jobs").await.status, 404);
    assert!(
        client
            .call(Method::POST, "/server_version.xml", "")
            .await
            .body
            .contains("<server_version>")
    );
}

#[tokio::test]
async fn every_spelling_tells_the_same() {
    for seed in 0..12 {
        let (simulator, client) = started(Config {
            spelling: Spelling::random(seed),
            seed,
            ..Config::default()
        })
        .await;
        let id = client.submit("node-1", PERMANENT).await;
        client.until(&format!("/jobs/{id}.xml"), "running").await;
        let listed = client.get("/jobs.xml?page=1&per_page=10").await.body;
        assert_eq!(listed.matches("<job>").count(), 1, "seed {seed}: {listed}");
        client.put(&format!("/jobs/{id}/stop.xml")).await;
        client.until(&format!("/jobs/{id}.xml"), "completed").await;
        assert_eq!(simulator.booted_total("node-1"), 1, "seed {seed}");
    }
}

#[tokio::test]
async fn a_changed_job_keeps_what_is_not_said_anew() {
    let (simulator, client) = started(Config::default()).await;
    let id = client
        .create("before", "<description>kept</description>")
        .await;
    let body = "<job><id></id><name>after</name><status></status><pathToFile>x</pathToFile><tag><id></id><content>bill</content></tag></job>";
    assert_eq!(
        client
            .call(Method::PUT, &format!("/jobs/{id}.xml"), body)
            .await
            .status,
        200
    );
    let job = &simulator.jobs()[0];
    assert_eq!(
        (
            job.name.as_str(),
            job.description.as_deref(),
            job.tag.as_deref()
        ),
        ("after", Some("kept"), Some("bill"))
    );
}
