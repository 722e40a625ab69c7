//! Tests of orders and their ends, by the calls to the broker.

use super::{
    super::script::{LOOKING_UP, Reply, SETUP, Script, credentials, instance, job, list, order},
    *,
};
use crate::{Broker, BrokerError};

const LISTED: &str = "GET /jobs.xml?page=1&per_page=1000";
const UPLOADS: [&str; 2] = ["POST /data_files.xml", "POST /data_files.xml"];
const SUBMIT: &str = "PUT /jobs/J/submit.xml";
const STOP: &str = "PUT /jobs/J/stop.xml";
const SHOW: &str = "GET /jobs/J.xml";
const DELETE: &str = "DELETE /jobs/J.xml";
const INSTANCES: &str = "GET /jobs/J/instances.xml";

struct Bed {
    script: Script,
    broker: CloudBroker,
    _folder: tempfile::TempDir,
}

/// A broker that has these jobs and executes calls.
fn bed(setup: &str, jobs: &[String]) -> Bed {
    let (folder, file) = credentials();
    let script = Script::new();
    let broker = script.brokers(setup, file).remove(0);
    script.on("GET /jobs.xml", [list("jobs", jobs)]).on(
        "POST /jobs.xml",
        [Reply::status(201, job("J", "created", ""))],
    );
    script.on(
        "POST /data_files.xml",
        [Reply::status(201, "<data-file><id>f</id></data-file>")],
    );
    script
        .on(SUBMIT, [Reply::ok(" ")])
        .on(STOP, [Reply::ok("")])
        .on(DELETE, [Reply::ok(" ")])
        .on(SHOW, [Reply::ok(job("J", "submitted", ""))]);
    script.on(INSTANCES, [list("instances", &[])]);
    Bed {
        script,
        broker,
        _folder: folder,
    }
}

impl Bed {
    /// Calls without those to the catalogue.
    fn calls(&self) -> Vec<String> {
        self.script.calls_but(&LOOKING_UP)
    }
    fn bodies(&self, call: &str) -> String {
        self.script
            .came()
            .into_iter()
            .filter(|came| came.call == call)
            .map(|came| came.body)
            .collect::<Vec<_>>()
            .join("\n")
    }
    async fn launch(&self) -> Result<Machine, BrokerError> {
        self.broker.launch(&order("Node")).await
    }
    async fn terminate(&self) -> Result<(), BrokerError> {
        self.broker.terminate("micado-c-i1").await
    }
}

fn calls(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

fn not_found() -> Reply {
    Reply::errors(404, "404: record not found", "")
}

fn wrong_status() -> Reply {
    Reply::errors(422, "Not in this status", "wrong status")
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_a_job_with_its_files_submitted() {
    let bed = bed(SETUP, &[]);
    let machine = bed.launch().await.expect("a machine");
    assert_eq!(
        (machine.id.as_str(), machine.name.as_str(), machine.state),
        ("J", "micado-c-i1", MachineState::Pending)
    );
    insta::assert_snapshot!(bed.bodies("POST /jobs.xml").replace("><", ">\n<"));
    insta::assert_snapshot!(bed.bodies("POST /data_files.xml").replace('\0', ""));
    assert_eq!(
        bed.calls(),
        calls(&[&[LISTED, "POST /jobs.xml"], &UPLOADS, &[SUBMIT, SHOW]])
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_by_names_with_extras() {
    let setup = SETUP.replacen(
        "<flavours>",
        "<send>names</send><extra><isolated>true</isolated></extra><flavours>",
        1,
    );
    let setup = setup.replace("</a>", "<extra><no_execution>true</no_execution><permanently_running>false</permanently_running></extra></a>");
    let bed = bed(&setup, &[]);
    bed.launch().await.expect("a machine");
    insta::assert_snapshot!(bed.bodies("POST /jobs.xml").replace("><", ">\n<"));
    assert_eq!(
        bed.script.calls_but(&["GET /data_types", "POST", "PUT"]),
        [LISTED, SHOW]
    );
}

#[tokio::test(start_paused = true)]
async fn the_machine_that_exists_is_given() {
    for status in ["submitted", "running", "finishing", "completed"] {
        let bed = bed(SETUP, &[job("J", status, "")]);
        assert_eq!(
            bed.launch().await.map(|machine| machine.detail),
            Ok(Some(status.to_owned()))
        );
        assert_eq!(bed.calls(), [LISTED]);
    }
    let bed = bed(
        SETUP,
        &[
            job("K", "created", ""),
            job("J", "running", ""),
            job("L", "completed", ""),
        ],
    );
    assert_eq!(
        (bed.launch().await.map(|machine| machine.id), bed.calls()),
        (Ok("J".to_owned()), calls(&[&[LISTED]]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_made_job_is_finished_and_not_doubled() {
    let files = |names: &[&str]| {
        let file = |name: &&str| {
            format!(
                "<data-file><id>{name}</id><data_file_name>{name}</data_file_name><uploaded>true</uploaded></data-file>"
            )
        };
        Reply::ok(format!(
            "<data-files>{}<data-file><id>f</id><data-file-name>a.txt</data-file-name><uploaded>false</uploaded></data-file></data-files>",
            names.iter().map(file).collect::<String>()
        ))
    };
    for (there, uploads) in [
        (files(&[]), 2),
        (files(&["micado-join.tar"]), 1),
        (files(&["a.txt", "micado-join.tar"]), 0),
    ] {
        let bed = bed(SETUP, &[job("J", "created", "")]);
        bed.script.on("GET /jobs/J/data_files.xml", [there]);
        assert_eq!(
            bed.launch().await.map(|machine| machine.id),
            Ok("J".to_owned())
        );
        assert_eq!(
            bed.calls(),
            calls(&[
                &[LISTED, "GET /jobs/J/data_files.xml"],
                &UPLOADS[..uploads],
                &[SUBMIT, SHOW]
            ])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_cut_off_anywhere_is_unknown_and_goes_on_from_there() {
    for call in ["POST /jobs.xml", "POST /data_files.xml", SUBMIT, SHOW] {
        for fault in [
            Reply::Lost,
            Reply::Hang,
            Reply::status(500, "oops"),
            Reply::busy(429, Some(2)),
            Reply::ok("<jo"),
        ] {
            // The answer to an action on a record is not read.
            let ignored =
                matches!(&fault, Reply::Answer(answer) if answer.status == 200) && call == SUBMIT;
            let bed = bed(SETUP, &[]);
            bed.script.on(call, [fault.clone()]);
            let launched = bed.launch().await;
            assert_eq!(
                matches!(launched, Err(BrokerError::Unknown(_))),
                !ignored,
                "{call} {fault:?}: {launched:?}"
            );
            let sent = bed.calls();
            assert_eq!(
                sent.iter().filter(|sent| *sent == "POST /jobs.xml").count(),
                1,
                "{call} {fault:?}"
            );
            assert!(!sent.iter().any(|sent| sent == DELETE), "{call} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_without_a_record_is_unknown_and_submits_nothing() {
    for answer in [
        " ",
        "<html><body>Sign in</body></html>",
        "<data-file/>",
        "<data-file><id/><data-file-name>a.txt</data-file-name></data-file>",
        "<job><id>J</id></job>",
        "<data-files><data-file><id>f</id></data-file></data-files>",
        "uploaded",
    ] {
        let bed = bed(SETUP, &[]);
        bed.script.on(UPLOADS[0], [Reply::ok(answer)]);
        let launched = bed.launch().await;
        assert!(
            matches!(&launched, Err(BrokerError::Unknown(words)) if words.starts_with("cannot upload `")),
            "{answer}: {launched:?}"
        );
        assert_eq!(
            bed.calls(),
            [LISTED, "POST /jobs.xml", UPLOADS[0]],
            "{answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_refused_below_the_root_is_refused() {
    let bed = bed(SETUP, &[]);
    bed.script
        .on(
            UPLOADS[0],
            [Reply::ok(
                "<hash><errors><error>Too large</error></errors></hash>",
            )],
        )
        .on(SHOW, [Reply::ok(job("J", "created", ""))]);
    assert_eq!(
        bed.launch().await,
        Err(BrokerError::Refused(
            "cannot upload `micado-join.tar` to job `micado-c-i1`: Too large".to_owned()
        ))
    );
    assert_eq!(bed.calls().last().map(String::as_str), Some(DELETE));
}

#[tokio::test(start_paused = true)]
async fn a_stop_refused_below_the_root_shows_its_message() {
    let bed = bed(SETUP, &[job("J", "running", "")]);
    bed.script.on(
        STOP,
        [Reply::ok(
            "<hash><job><errors><error>Not yours</error></errors></job></hash>",
        )],
    );
    let kept = bed.terminate().await;
    assert!(
        matches!(&kept, Err(BrokerError::Refused(words)) if words.ends_with(": Not yours")),
        "{kept:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_nothing_behind() {
    for call in ["POST /data_files.xml", SUBMIT] {
        let bed = bed(SETUP, &[]);
        bed.script
            .on(call, [Reply::errors(200, "Quota exceeded", "")])
            .on(SHOW, [Reply::ok(job("J", "created", ""))]);
        let refused = bed.launch().await.expect_err("no");
        assert!(
            matches!(&refused, BrokerError::Refused(words) if words.ends_with(": Quota exceeded")),
            "{refused}"
        );
        assert_eq!(bed.calls().last().map(String::as_str), Some(DELETE));
        bed.script.on(DELETE, [Reply::errors(200, "Not now", "")]);
        let left = bed.launch().await.expect_err("no");
        assert!(
            matches!(&left, BrokerError::Unknown(words) if words.contains("Quota exceeded; and job J is left at the broker: cannot delete job `micado-c-i1`: Not now")),
            "{left}"
        );
    }
    let bed = bed(SETUP, &[]);
    bed.script
        .on(SUBMIT, [Reply::Lost, Reply::errors(422, "No", "")])
        .on(SHOW, [Reply::ok(job("J", "starting", ""))]);
    let runs = bed.launch().await.expect_err("no");
    assert!(
        matches!(&runs, BrokerError::Unknown(words) if words.ends_with("No; and job J is left at the broker: it is `starting`")),
        "{runs}"
    );
    assert!(!bed.calls().iter().any(|call| call == DELETE));
    bed.script
        .on(SUBMIT, [Reply::ok("")])
        .on(SHOW, [Reply::errors(200, "No", "")]);
    assert!(
        matches!(bed.launch().await, Err(BrokerError::Unknown(words)) if words == "cannot look at job `micado-c-i1`: No")
    );
    assert!(!bed.calls().iter().any(|call| call == DELETE));
    bed.script.on(
        "POST /jobs.xml",
        [Reply::errors(201, "Nodes is not a number", "")],
    );
    assert_eq!(
        bed.launch().await,
        Err(BrokerError::Refused(
            "cannot create job `micado-c-i1`: Nodes is not a number".to_owned()
        ))
    );
    assert_eq!(bed.calls(), [LISTED, "POST /jobs.xml"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_another_name_is_deleted_again() {
    let bed = bed(SETUP, &[]);
    bed.script
        .on(
            "POST /jobs.xml",
            [Reply::status(
                201,
                "<job><id>J</id><name>micado-c-</name></job>",
            )],
        )
        .on(SHOW, [Reply::ok(job("J", "created", ""))]);
    let refused = bed.launch().await.expect_err("no");
    assert_eq!(
        refused,
        BrokerError::Refused(
            "the broker calls job `micado-c-i1` `micado-c-`, so it could not be found again"
                .to_owned()
        )
    );
    assert_eq!(bed.calls(), [LISTED, "POST /jobs.xml", SHOW, DELETE]);
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_was_done_twice_is_settled_by_a_look() {
    let bed = bed(SETUP, &[]);
    bed.script.on(SUBMIT, [Reply::Lost, wrong_status()]);
    assert_eq!(
        bed.launch().await.map(|machine| machine.detail),
        Ok(Some("submitted".to_owned()))
    );
    assert_eq!(
        bed.calls(),
        calls(&[
            &[LISTED, "POST /jobs.xml"],
            &UPLOADS,
            &[SUBMIT, SUBMIT, SHOW]
        ])
    );
    bed.script
        .on(SUBMIT, [wrong_status()])
        .on(SHOW, [Reply::ok(job("J", "created", ""))]);
    assert_eq!(
        bed.launch().await,
        Err(BrokerError::Refused(
            "cannot submit job `micado-c-i1`: Not in this status".to_owned()
        ))
    );
    bed.script.on(SUBMIT, [Reply::ok(" ")]);
    assert!(
        matches!(bed.launch().await, Err(BrokerError::Unknown(words)) if words.contains("still calls it `created`"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_ordered_is_not_begun() {
    let bed = bed(SETUP, &[]);
    let mut wrong = order("Node");
    wrong.files.insert("files/a/b".to_owned(), Vec::new());
    let words = |error: BrokerError| error.to_string();
    assert_eq!(
        bed.broker.launch(&wrong).await.map_err(words),
        Err("file `a/b` may not stand in a folder: a job's files are all in one".to_owned())
    );
    for (name, cause) in [
        ("micado-join.tar", "rename it"),
        ("..", "is no file's name"),
        ("a\r\nb", "control character"),
    ] {
        wrong.files = [(format!("files/{name}"), Vec::new())].into();
        assert!(
            bed.broker
                .launch(&wrong)
                .await
                .map_err(words)
                .is_err_and(|words| words.contains(cause)),
            "{name}"
        );
    }
    let mut tiny = order("Node");
    tiny.flavour = micado_api::FlavourName::trusted("tiny");
    assert_eq!(
        bed.broker.launch(&tiny).await.map_err(words),
        Err("cloud `zrh` has no flavour `tiny` (it has: small, big)".to_owned())
    );
    assert_eq!(
        bed.broker.launch(&order("Web")).await.map_err(words),
        Err("there is no application `Web` in cloudsetup.xml".to_owned())
    );
    assert_eq!(bed.calls(), Vec::<String>::new());
    bed.script.on("GET /regions.xml", [Reply::ok("<regions/>")]);
    let lost = bed.launch().await.map_err(words);
    assert_eq!(lost, Err("the broker has no region `CloudSigma Zurich` of resource `CloudSigma` (it has none): correct cloudsetup.xml".to_owned()));
    assert_eq!(bed.calls(), [LISTED]);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stopped_waited_for_and_deleted() {
    let bed = bed(SETUP, &[job("J", "running", "")]);
    bed.script.on(
        SHOW,
        ["running", "stopping", "finishing", "completed"]
            .map(|status| Reply::ok(job("J", status, ""))),
    );
    assert_eq!(bed.terminate().await, Ok(()));
    assert_eq!(
        bed.calls(),
        calls(&[&[LISTED, STOP], &[SHOW; 4], &[INSTANCES, DELETE]])
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_gone_is_given_back() {
    let nothing = bed(SETUP, &[]);
    assert_eq!(
        (nothing.terminate().await, nothing.calls()),
        (Ok(()), calls(&[&[LISTED]]))
    );
    let bed = bed(SETUP, &[job("J", "running", "")]);
    bed.script
        .on(STOP, [not_found()])
        .on(SHOW, [not_found()])
        .on(INSTANCES, [not_found()])
        .on("GET /instances.xml?job_id=J", [list("instances", &[])]);
    assert_eq!(bed.terminate().await, Ok(()));
    assert_eq!(
        bed.calls(),
        [LISTED, STOP, SHOW, INSTANCES, "GET /instances.xml?job_id=J"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_completed_job_is_deleted_and_a_lost_answer_to_that_is_no_matter() {
    let bed = bed(SETUP, &[job("J", "completed", "")]);
    bed.script.on(DELETE, [Reply::Lost, not_found()]);
    assert_eq!(bed.terminate().await, Ok(()));
    assert_eq!(bed.calls(), [LISTED, INSTANCES, DELETE, DELETE]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_never_submitted_is_deleted_at_once_unless_it_just_was() {
    let plain = bed(SETUP, &[job("J", "created", "")]);
    assert_eq!(
        (plain.terminate().await, plain.calls()),
        (Ok(()), calls(&[&[LISTED, DELETE]]))
    );
    let raced = bed(SETUP, &[job("J", "created", "")]);
    raced.script.on(DELETE, [wrong_status(), Reply::ok("")]).on(
        SHOW,
        ["assembling", "completed"].map(|status| Reply::ok(job("J", status, ""))),
    );
    assert_eq!(raced.terminate().await, Ok(()));
    assert_eq!(
        raced.calls(),
        [LISTED, DELETE, SHOW, STOP, SHOW, INSTANCES, DELETE]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_may_not_be_stopped_yet_is_stopped_later() {
    let bed = bed(SETUP, &[job("J", "submitted", "")]);
    bed.script
        .on(STOP, [wrong_status(), wrong_status(), Reply::ok("")]);
    bed.script.on(
        SHOW,
        ["submitted", "assembling", "stopping", "completed"]
            .map(|status| Reply::ok(job("J", status, ""))),
    );
    assert_eq!(bed.terminate().await, Ok(()));
    assert_eq!(
        bed.calls(),
        [
            LISTED, STOP, SHOW, STOP, SHOW, STOP, SHOW, SHOW, INSTANCES, DELETE
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_of_a_job_is_stopped_before_it_is_deleted() {
    let bed = bed(SETUP, &[job("J", "completed", "")]);
    let left = |status: &str| instance("K", "", status, "");
    bed.script.on(
        INSTANCES,
        [list(
            "instances",
            &[instance("H", "", "halted", ""), left("running")],
        )],
    );
    bed.script
        .on("PUT /instances/K/stop.xml", [Reply::ok("")])
        .on(
            "GET /instances/K.xml",
            [Reply::ok(left("stopping")), Reply::ok(left("halted"))],
        );
    assert_eq!(bed.terminate().await, Ok(()));
    assert_eq!(
        bed.calls(),
        [
            LISTED,
            INSTANCES,
            "PUT /instances/K/stop.xml",
            "GET /instances/K.xml",
            "GET /instances/K.xml",
            DELETE
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn all_jobs_of_the_name_go() {
    let bed = bed(
        SETUP,
        &[
            job("J", "created", ""),
            job("K", "completed", ""),
            job("L", "created", "").replace("micado-c-i1", "micado-c-i10"),
        ],
    );
    bed.script
        .on("GET /jobs/K/instances.xml", [list("instances", &[])])
        .on("DELETE /jobs/K.xml", [Reply::ok("")]);
    assert_eq!(bed.terminate().await, Ok(()));
    assert_eq!(
        bed.calls(),
        [
            LISTED,
            DELETE,
            "GET /jobs/K/instances.xml",
            "DELETE /jobs/K.xml"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_termination_that_takes_too_long_says_how_far_it_is() {
    let bed = bed(SETUP, &[job("J", "running", "")]);
    bed.script.on(SHOW, [Reply::ok(job("J", "stopping", ""))]);
    let begun = Instant::now();
    let late = bed.terminate().await;
    assert_eq!(
        late,
        Err(BrokerError::Unknown(
            "job `micado-c-i1` is still `stopping` after 50 s: it is asked again".to_owned()
        ))
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(50));
    let sent = bed.calls();
    // About one request per second at first, then one per 5 s; a stop without effect is repeated.
    assert!(
        (10..=14).contains(&sent.iter().filter(|call| *call == SHOW).count())
            && sent.iter().filter(|call| *call == STOP).count() <= 5,
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_stop_is_told_in_the_brokers_words() {
    let bed = bed(SETUP, &[job("J", "running", "")]);
    bed.script
        .on(STOP, [Reply::errors(403, "Not yours", "missing rights")]);
    assert_eq!(
        bed.terminate().await,
        Err(BrokerError::Refused(
            "cannot stop job `micado-c-i1`: Not yours".to_owned()
        ))
    );
}
