//! Tests of the clouds of an account: owners of machines, their data, and the number of calls.

use super::{
    script::{LOOKING_UP, Reply, SETUP, Script, credentials, instance, job, list, with_instances},
    *,
};
use std::{os::unix::fs::PermissionsExt, path::Path};
use tokio::time::sleep;

fn cluster() -> ClusterId {
    ClusterId::trusted("c")
}

fn named(name: &str, document: &str) -> String {
    document.replace("micado-c-i1", name)
}

async fn ids(broker: &CloudBroker) -> Vec<String> {
    broker
        .list(&cluster())
        .await
        .expect("a list")
        .into_iter()
        .map(|machine| machine.id)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_cloud_lists_its_own_and_one_call_serves_all() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    let says = |cloud: &str| {
        format!(
            "<description>micado cloud={cloud} tag=t</description><region-id>z</region-id><resource-id>r1</resource-id>"
        )
    };
    let jobs = [
        named("micado-c-a", &job("A", "submitted", &says("zrh"))),
        named("micado-c-b", &job("B", "submitted", &says("lon"))),
        named("micado-other-x", &job("X", "submitted", &says("zrh"))),
        named("somebody's", &job("Y", "submitted", &says("zrh"))),
    ];
    script.on("GET /jobs.xml", [list("jobs", &jobs)]);
    let (zurich, london) = tokio::join!(ids(&brokers[0]), ids(&brokers[1]));
    assert_eq!(
        (zurich, london),
        (vec!["A".to_owned()], vec!["B".to_owned()])
    );
    assert_eq!(
        script.calls_but(&[]),
        ["GET /jobs.xml?page=1&per_page=1000"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_say_its_cloud_is_known_by_its_region_and_size() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    let at = |region: &str, size: &str| {
        format!(
            "<region-id>{region}</region-id><resource_id>r1</resource_id><instance-type-id>{size}</instance-type-id>"
        )
    };
    let jobs = [
        named("micado-c-a", &job("A", "submitted", &at("z", "t2"))),
        named(
            "micado-c-b",
            &job(
                "B",
                "submitted",
                &(at("l", "t1") + "<description>micado cloud=renamed flavour=small</description>"),
            ),
        ),
        named("micado-c-d", &job("D", "submitted", &at("z", "t9"))),
        named("micado-c-e", &job("E", "submitted", &at("elsewhere", "t1"))),
    ];
    script.on("GET /jobs.xml", [list("jobs", &jobs)]);
    let zurich = brokers[0].list(&cluster()).await.expect("a list");
    let flavours: Vec<_> = zurich
        .iter()
        .map(|machine| {
            (
                machine.id.as_str(),
                machine.flavour.as_ref().map(|flavour| flavour.as_str()),
            )
        })
        .collect();
    // No cloud of the file contains E, but it must be shown somewhere.
    assert_eq!(
        flavours,
        [("A", Some("big")), ("D", None), ("E", Some("small"))]
    );
    assert_eq!(ids(&brokers[1]).await, ["B"]);
    // A retired region may still have running machines.
    let retired = "<regions><region><id>l</id><name>CloudSigma London</name><active>false</active></region></regions>";
    script.on("GET /regions.xml", [Reply::ok(retired)]);
    brokers[0].account.catalogue.forget().await;
    assert_eq!(ids(&brokers[1]).await, ["B"]);
    // No catalogue, no list: a machine must not seem to be gone.
    script.on("GET /regions.xml", [Reply::status(500, "")]);
    brokers[0].account.catalogue.forget().await;
    assert!(
        matches!(brokers[0].list(&cluster()).await, Err(BrokerError::Unknown(words)) if words == "cannot list regions: it answered 500")
    );
}

#[tokio::test(start_paused = true)]
async fn instances_are_known_by_their_deployment() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(&with_instances(), file);
    let of = |deployment: &str, more: &str| {
        format!(
            "<deployment-id>{deployment}</deployment-id><instance-type-id>t1</instance-type-id>{more}"
        )
    };
    let instances = [
        instance(
            "1",
            "micado-c-a",
            "running",
            &of(
                "d1",
                "<external-ip-address>203.0.113.9</external-ip-address>",
            ),
        ),
        instance("2", "micado-c-b", "starting", &of("d2", "")),
        instance("3", "micado-c-x", "halted", &of("d1", "")),
        instance("4", "instance 4", "running", &of("d1", "")),
    ];
    script
        .on("GET /jobs.xml", [list("jobs", &[])])
        .on("GET /instances.xml", [list("instances", &instances)]);
    let zurich = brokers[0].list(&cluster()).await.expect("a list");
    let [machine] = zurich.as_slice() else {
        panic!("one machine: {zurich:?}")
    };
    assert_eq!(
        (
            machine.id.as_str(),
            machine.state,
            machine.address.as_deref()
        ),
        ("1", crate::MachineState::Running, Some("203.0.113.9"))
    );
    assert_eq!(
        (
            machine.application.as_deref(),
            machine.flavour.as_ref().map(|flavour| flavour.as_str())
        ),
        (Some("VM"), Some("small"))
    );
    assert_eq!(ids(&brokers[1]).await, ["2"]);
    let job = named(
        "micado-c-a",
        &job(
            "J",
            "preparing",
            "<description>micado cloud=zrh</description>",
        ),
    );
    script.on("GET /jobs.xml", [list("jobs", &[job])]);
    assert_eq!(
        ids(&brokers[0]).await,
        ["J"],
        "a job and its instance are one machine"
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_jobs_of_a_name_the_liveliest_is_listed() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    let says = "<description>micado cloud=zrh</description>";
    script.on(
        "GET /jobs.xml",
        [list(
            "jobs",
            &[
                job("A", "created", says),
                job("B", "finishing", says),
                job("C", "submitted", says),
            ],
        )],
    );
    assert_eq!(ids(&brokers[0]).await, ["A"]);
}

/// Number of running jobs; the others do not run, to spare the test their addresses.
const RUNNING: usize = 7;

#[tokio::test(start_paused = true)]
async fn an_idle_minute_costs_six_calls_for_a_thousand_machines() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(SETUP, file);
    let says = "<description>micado cloud=zrh</description>";
    for count in [RUNNING, 1000] {
        let jobs: Vec<_> = (0..count)
            .map(|at| {
                named(
                    &format!("micado-c-{at}"),
                    &job(
                        &format!("J{at}"),
                        if at < RUNNING { "running" } else { "preparing" },
                        says,
                    ),
                )
            })
            .collect();
        script
            .on("GET /jobs.xml?page=1&per_page=1000", [list("jobs", &jobs)])
            .on("GET /jobs.xml?page=2&per_page=1000", [list("jobs", &[])]);
        for at in 0..RUNNING {
            let running = instance(
                "I",
                "",
                "running",
                "<internal-ip-address>10.0.0.4</internal-ip-address>",
            );
            script.on(
                &format!("GET /jobs/J{at}/instances.xml"),
                [list("instances", &[running])],
            );
        }
        // Until all addresses are known, four more with each list.
        for _ in 0..RUNNING.div_ceil(4) {
            assert_eq!(ids(&brokers[0]).await.len(), count);
        }
        script.calls_but(&[]);
        for _ in 0..6 {
            let (zurich, london) = tokio::join!(ids(&brokers[0]), ids(&brokers[1]));
            assert_eq!((zurich.len(), london.len()), (count, 0));
            sleep(Duration::from_secs(10)).await;
        }
        let calls = script.calls_but(&[]);
        assert!(calls.len() <= 6, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_shown_to_nobody() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let brokers = script.brokers(&with_instances(), file);
    script.on("GET /jobs.xml", [Reply::status(401, "")]);
    let shown = format!(
        "{:?} {:?} {:?}",
        brokers,
        brokers[0].account.link,
        brokers[0].list(&cluster()).await
    );
    assert!(
        !shown.contains("secret") && !shown.contains("me@example.net"),
        "{shown}"
    );
    assert!(
        script.calls_but(&LOOKING_UP).len() == 1
            && shown.contains("does not take the user and the password"),
        "{shown}"
    );
}

fn all_of(
    folder: &Path,
    edit: impl FnOnce(String) -> String,
) -> Result<Vec<CloudBroker>, BrokerError> {
    let file = folder.join("cloudsetup.xml");
    std::fs::write(&file, edit(SETUP.to_owned())).expect("a file");
    CloudBroker::all(&CloudSetup::read(&file).expect("a good set-up"))
}

#[tokio::test]
async fn clouds_of_one_account_share_it() {
    let (folder, _file) = credentials();
    let brokers = all_of(folder.path(), |setup| {
        setup.replacen("<flavours>", "<endpoint>https://platform.cloudbroker.com/</endpoint><calls_per_second>3</calls_per_second><flavours>", 1)
    });
    let brokers = brokers.expect("a good account");
    assert!(brokers.len() == 2 && Arc::ptr_eq(&brokers[0].account, &brokers[1].account));
    let apart = all_of(folder.path(), |setup| {
        setup.replacen(
            "<flavours>",
            "<endpoint>https://other.example</endpoint><flavours>",
            1,
        )
    })
    .expect("good accounts");
    assert!(!Arc::ptr_eq(&apart[0].account, &apart[1].account));
    let local = all_of(folder.path(), |setup| {
        setup.replace("<flavours>", "<broker>local</broker><flavours>")
    })
    .expect("nothing to do");
    assert!(local.is_empty());
}

#[tokio::test]
async fn an_account_that_cannot_be_used_names_its_cloud() {
    let (folder, file) = credentials();
    let refused = |edit: &dyn Fn(String) -> String| {
        all_of(folder.path(), edit)
            .expect_err("no good account")
            .to_string()
    };
    let none = refused(&|setup| setup.replacen("<credentials>cbcredentials</credentials>", "", 1));
    assert!(
        none.starts_with(
            "cloud `zrh`: it has no `credentials`: add <credentials>FILE</credentials>"
        ),
        "{none}"
    );
    let plain = refused(&|setup| {
        setup.replacen(
            "<flavours>",
            "<endpoint>http://platform.example</endpoint><flavours>",
            1,
        )
    });
    assert!(
        plain
            .starts_with("cloud `zrh`: its endpoint `http://platform.example/` begins with `http`"),
        "{plain}"
    );
    std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o644)).expect("our file");
    let open = refused(&|setup| setup);
    assert!(
        open.starts_with("cloud `zrh`: credentials file `")
            && open.contains("(mode 0644): do `chmod 600 "),
        "{open}"
    );
    std::fs::remove_file(&file.0).expect("our file");
    assert!(refused(&|setup| setup).contains("cannot be read: No such file"));
}
