//! Tests of what `cloud check` finds.

use super::{
    super::script::{Reply, SETUP, Script, credentials, with_instances},
    *,
};

fn told(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings
        .iter()
        .map(|finding| {
            (
                finding.what.as_str(),
                finding.problem.as_deref().unwrap_or("fine"),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_good_set_up_is_fine() {
    let (_folder, file) = credentials();
    let brokers = Script::new().brokers(&with_instances(), file);
    let findings = brokers[0].check().await;
    let expected = [
        "endpoint and credentials (https://platform.cloudbroker.com)",
        "resource `CloudSigma`",
        "region `CloudSigma Zurich`",
        "flavour `small` (instance type `CloudSigma Small`)",
        "flavour `big` (instance type `CloudSigma Big`)",
        "application `Node` (software `worker image`)",
        "application `Node` (executable `start.sh`)",
        "application `VM` (software `worker image`)",
        "application `VM` (deployment in region `CloudSigma Zurich`)",
        "data type `input`",
    ];
    assert_eq!(told(&findings), expected.map(|what| (what, "fine")));
    assert!(
        findings
            .iter()
            .all(|finding| finding.cloud.as_str() == "zrh")
    );
}

#[tokio::test(start_paused = true)]
async fn all_that_is_wrong_is_named() {
    let (_folder, file) = credentials();
    let wrong = with_instances()
        .replace("CloudSigma Zurich", "Mars")
        .replace("CloudSigma Big", "Huge")
        .replacen("worker image", "worker", 1);
    let script = Script::new();
    let brokers = script.brokers(&wrong, file);
    script.on(
        "GET /data_types.xml",
        [Reply::errors(403, "Not yours", "missing rights")],
    );
    let findings = brokers[0].check().await;
    let expected = [
        (
            "endpoint and credentials (https://platform.cloudbroker.com)",
            "fine",
        ),
        ("resource `CloudSigma`", "fine"),
        (
            "region `Mars`",
            "the broker has no region `Mars` of resource `CloudSigma` (it has: CloudSigma Zurich, CloudSigma London): correct cloudsetup.xml",
        ),
        ("flavour `small` (instance type `CloudSigma Small`)", "fine"),
        (
            "flavour `big` (instance type `Huge`)",
            "the broker has no instance type `Huge` of resource `CloudSigma` (it has: CloudSigma Small, CloudSigma Big): correct cloudsetup.xml",
        ),
        (
            "application `Node` (software `worker`)",
            "the broker has no software `worker` (it has: worker image): correct cloudsetup.xml",
        ),
        (
            "application `Node` (executable `start.sh`)",
            "not looked for, because the software was not found: correct that first",
        ),
        ("application `VM` (software `worker image`)", "fine"),
        (
            "application `VM` (deployment in region `Mars`)",
            "not looked for, because the region was not found: correct that first",
        ),
        ("data type `input`", "cannot list data types: Not yours"),
    ];
    assert_eq!(told(&findings), expected);
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_one_finding() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file.clone());
    let lists = [
        "softwares",
        "executables",
        "resources",
        "regions",
        "instance_types",
        "deployments",
        "data_types",
    ];
    for path in lists {
        script.on(&format!("GET /{path}.xml"), [Reply::status(401, "")]);
    }
    let findings = brokers[0].check().await;
    let words = format!(
        "cannot list softwares: the broker does not take the user and the password of {file}: it answered 401: correct the file"
    );
    assert_eq!(
        told(&findings),
        [(
            "endpoint and credentials (https://platform.cloudbroker.com)",
            words.as_str()
        )]
    );
    assert_eq!(script.came().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_may_not_be_read_is_one_problem_of_many() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    script.on(
        "GET /softwares.xml",
        [Reply::errors(403, "Not yours", "missing rights")],
    );
    let findings = brokers[0].check().await;
    let problems: Vec<_> = told(&findings)
        .into_iter()
        .filter(|(_, problem)| *problem != "fine")
        .collect();
    let waits = "not looked for, because the software was not found: correct that first";
    let expected = [
        (
            "application `Node` (software `worker image`)",
            "cannot list softwares: Not yours",
        ),
        ("application `Node` (executable `start.sh`)", waits),
    ];
    assert_eq!(problems, expected);
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_is_waited_for_once() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    script.on("GET /softwares.xml", [Reply::Hang]);
    let begun = tokio::time::Instant::now();
    assert_eq!(
        (brokers[0].check().await.len(), begun.elapsed().as_secs()),
        (1, 30)
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_catalogue_is_seen() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    assert!(
        brokers[0]
            .check()
            .await
            .iter()
            .all(|finding| finding.problem.is_none())
    );
    script.on("GET /resources.xml", [Reply::ok("<resources/>")]);
    let problems = brokers[0]
        .check()
        .await
        .iter()
        .filter(|finding| finding.problem.is_some())
        .count();
    assert_eq!(problems, 4);
}
