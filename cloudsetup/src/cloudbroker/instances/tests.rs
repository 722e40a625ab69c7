//! Tests of machines that are instances.

use super::{
    super::script::{
        LOOKING_UP, Reply, Script, credentials, instance, list, order, with_instances,
    },
    *,
};
use crate::{Broker, BrokerError};

const JOBS: &str = "GET /jobs.xml?page=1&per_page=1000";
const LISTED: &str = "GET /instances.xml?page=1&per_page=1000";
const CREATE: &str = "POST /instances.xml";
const SHOW: &str = "GET /instances/I.xml";
const STOP: &str = "PUT /instances/I/stop.xml";
const NAME: &str = "micado-c-i1";

struct Bed {
    script: Script,
    broker: CloudBroker,
    _folder: tempfile::TempDir,
}

fn bed(instances: &[String]) -> Bed {
    let (folder, file) = credentials();
    let script = Script::new();
    let broker = script.brokers(&with_instances(), file).remove(0);
    script
        .on("GET /jobs.xml", [list("jobs", &[])])
        .on("GET /instances.xml", [list("instances", instances)]);
    script
        .on(
            CREATE,
            [Reply::status(201, instance("I", NAME, "starting", ""))],
        )
        .on(STOP, [Reply::ok(" ")]);
    Bed {
        script,
        broker,
        _folder: folder,
    }
}

impl Bed {
    fn calls(&self) -> Vec<String> {
        self.script.calls_but(&LOOKING_UP)
    }
    async fn launch(&self) -> Result<(String, MachineState), BrokerError> {
        self.broker
            .launch(&order("VM"))
            .await
            .map(|machine| (machine.id, machine.state))
    }
}

fn pending() -> Result<(String, MachineState), BrokerError> {
    Ok(("I".to_owned(), MachineState::Pending))
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_an_instance_with_user_data() {
    let bed = bed(&[]);
    assert_eq!(bed.launch().await, pending());
    let sent = bed
        .script
        .came()
        .into_iter()
        .find(|came| came.call == CREATE)
        .expect("an order")
        .body;
    let (before, rest) = sent.split_once("<cloud-init>").expect("user data");
    let (data, after) = rest.split_once("</cloud-init>").expect("user data");
    let expected = "<instance><name>micado-c-i1</name><deployment-id>d1</deployment-id><instance-type-id>t1</instance-type-id>\
        <disable-autostop>true</disable-autostop><isolated>true</isolated>";
    assert_eq!(
        (before, after),
        (expected, "<cloud-init-b64>true</cloud-init-b64></instance>")
    );
    let data = BASE64_STANDARD.decode(data).expect("base64");
    assert_eq!(
        String::from_utf8(data),
        Ok(user_data(&order("VM").files).expect("small"))
    );
    assert_eq!(bed.calls(), [JOBS, LISTED, CREATE]);
}

#[tokio::test(start_paused = true)]
async fn the_machine_that_exists_is_given_and_one_that_ended_is_not() {
    let there = bed(&[
        instance("H", NAME, "halted", ""),
        instance("S", NAME, "stopping", ""),
        instance("R", NAME, "running", ""),
    ]);
    assert_eq!(
        (there.launch().await, there.calls()),
        (
            Ok(("R".to_owned(), MachineState::Running)),
            vec![JOBS.to_owned(), LISTED.to_owned()]
        )
    );
    let ended = bed(&[instance("H", NAME, "halted", "")]);
    assert_eq!(
        (ended.launch().await, ended.calls()),
        (
            pending(),
            vec![JOBS.to_owned(), LISTED.to_owned(), CREATE.to_owned()]
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_and_nothing_is_sent_twice() {
    for fault in [
        Reply::Lost,
        Reply::Hang,
        Reply::status(502, ""),
        Reply::ok("<html>"),
        Reply::status(201, "<instance><name>x</name></instance>"),
    ] {
        let bed = bed(&[]);
        bed.script.on(CREATE, [fault.clone()]);
        assert!(
            matches!(bed.launch().await, Err(BrokerError::Unknown(_))),
            "{fault:?}"
        );
        assert_eq!(bed.calls(), [JOBS, LISTED, CREATE], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_our_name_is_stopped_at_once() {
    let bed = bed(&[]);
    bed.script.on(
        CREATE,
        [Reply::status(
            201,
            instance("I", "instance 5000", "starting", ""),
        )],
    );
    let refused = bed.launch().await.expect_err("it would be lost");
    let words = "the broker calls instance `micado-c-i1` `instance 5000`, so it could not be found again: it was stopped again; \
        rent the application as jobs (<rent>jobs</rent> in cloudsetup.xml)";
    assert_eq!(refused, BrokerError::Refused(words.to_owned()));
    assert_eq!(bed.calls(), [JOBS, LISTED, CREATE, STOP]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_name_is_looked_into() {
    let bed = bed(&[]);
    bed.script
        .on(
            CREATE,
            [Reply::status(200, "<instance><id>I</id></instance>")],
        )
        .on(SHOW, [Reply::ok(instance("I", NAME, "starting", ""))]);
    assert_eq!((bed.launch().await, bed.calls().len()), (pending(), 4));
    bed.script
        .on(SHOW, [Reply::ok(instance("I", "", "starting", ""))]);
    assert!(matches!(bed.launch().await, Err(BrokerError::Refused(_))));
    assert_eq!(bed.calls().last().map(String::as_str), Some(STOP));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_cannot_be_stopped_is_named_and_tried_again_with_each_list() {
    let bed = bed(&[]);
    bed.script
        .on(
            CREATE,
            [Reply::status(
                201,
                instance("I", "instance 5000", "starting", ""),
            )],
        )
        .on(STOP, [Reply::status(500, "")]);
    let left = bed.launch().await.expect_err("it is lost");
    assert!(
        matches!(&left, BrokerError::Unknown(words) if words.ends_with("it still runs and is paid for: stop instance I at the broker")),
        "{left}"
    );
    bed.script.on(STOP, [Reply::ok("")]);
    bed.calls();
    for expected in [vec![STOP, JOBS, LISTED], vec![JOBS, LISTED]] {
        bed.broker
            .list(&micado_api::ClusterId::trusted("c"))
            .await
            .expect("a list");
        assert_eq!(bed.calls(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_stopped_and_waited_for() {
    let bed = bed(&[instance("I", NAME, "running", "")]);
    let stopped = |last: Reply| {
        [
            Reply::ok(instance("I", NAME, "running", "")),
            Reply::ok(instance("I", NAME, "stopping", "")),
            last,
        ]
    };
    for last in [
        Reply::ok(instance("I", NAME, "halted", "")),
        Reply::errors(404, "404: record not found", ""),
    ] {
        bed.script.on(SHOW, stopped(last));
        assert_eq!(bed.broker.terminate(NAME).await, Ok(()));
        assert_eq!(bed.calls(), [JOBS, LISTED, STOP, SHOW, SHOW, SHOW]);
    }
    bed.script
        .on(SHOW, [Reply::ok(instance("I", NAME, "stopping", ""))]);
    assert_eq!(
        bed.broker.terminate(NAME).await,
        Err(BrokerError::Unknown(
            "instance I is still `stopping` after 50 s: it is asked again".to_owned()
        ))
    );
}
