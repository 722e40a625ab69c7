//! `micado cloud` on its command line: input, queries and output. There is no manager to ask.

use axum::{Json, Router, extract::Request, http::StatusCode};
use micado_cloudbroker::{Config, Simulator};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::PathBuf,
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::process::Command;

const LOCAL: &str = "<setup><clouds><cloud><name>here</name><broker>local</broker><endpoint>ENGINE</endpoint><flavours>
    <flavour><size>small</size><memory>512M</memory><cores>1</cores><price>0.01</price></flavour>
  </flavours></cloud></clouds><applications><application><name>Node</name><sname>n</sname><executable>e</executable></application></applications></setup>";

/// In the original's format: without sizes, prices and broker.
const OLD: &str = "<setup><clouds><cloud><name>zrh</name><provider>CloudSigma</provider><region>CloudSigma Zurich</region><flavours>
    <flavour><size>small</size><id>CloudSigma Small</id></flavour>
    <flavour><size>medium</size><id>CloudSigma Medium</id></flavour>
  </flavours></cloud></clouds><applications>
    <application><name>Node DSCR</name><sname>worker image</sname><executable>start.sh</executable><param_template>-start %s</param_template></application>
    <application><name>Proxy</name><sname>proxy image</sname><executable>start.sh</executable></application>
  </applications></setup>";

/// A folder with a `cloudsetup.xml`, and an optional scripted engine; removed with the test.
struct Place(TempDir);

/// Exit and output of a run.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new(setup: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(
            folder.path().join("cloudsetup.xml"),
            setup.replace(
                "ENGINE",
                &format!("unix://{}/engine", folder.path().display()),
            ),
        )
        .expect("written");
        Self(folder)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    /// An engine with this image and no other.
    fn engine(&self, image: &'static str) {
        let listener = UnixListener::bind(self.path("engine")).expect("bound");
        listener.set_nonblocking(true).expect("set");
        let answer = async move |request: Request| {
            let path = request.uri().path();
            match path.split_once("/images/") {
                None if path.ends_with("/version") => {
                    (StatusCode::OK, Json(json!({ "ApiVersion": "1.41" })))
                }
                Some((_, name)) if name == format!("{image}/json") => {
                    (StatusCode::OK, Json(json!({ "Id": "sha256:1" })))
                }
                _ => (
                    StatusCode::NOT_FOUND,
                    Json(json!({ "message": "No such image" })),
                ),
            }
        };
        tokio::spawn(
            axum_server::from_unix(listener)
                .expect("a listener")
                .serve(Router::new().fallback(answer).into_make_service()),
        );
    }
    async fn run(&self, line: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_micado"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("MICADO_STATE", self.0.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().await.expect("it runs");
        let text = |bytes| {
            String::from_utf8(bytes)
                .expect("text")
                .replace(&self.0.path().display().to_string(), "FOLDER")
        };
        Ended {
            code: status.code(),
            out: text(stdout),
            err: text(stderr),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_each_flavour_and_the_applications() {
    let place = Place::new(LOCAL);
    let listed = place.run("cloud list").await;
    assert_eq!((listed.code, listed.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(listed.out, @r"
    CLOUD  BROKER  PROVIDER  REGION  FLAVOUR  ID     MEMORY   CORES  PRICE
    here   local   here      here    small    small  512 MiB  1      0.0100

    APPLICATION  ROLE  SOFTWARE  EXECUTABLE
    Node         node  n         e
    ");
    let json: Value =
        serde_json::from_str(&place.run("cloud list --output json").await.out).expect("JSON");
    let flavour = &json["clouds"][0]["flavours"][0];
    assert_eq!(
        (&flavour["size"]["memory"], &flavour["price"]),
        (&json!(512 << 20), &json!(10_000))
    );
    assert_eq!(
        (
            &json["clouds"][0]["broker"],
            &json["applications"][0]["role"]
        ),
        (&json!("local"), &json!("node"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_file_is_shown_as_it_is() {
    let listed = Place::new(OLD).run("cloud list").await;
    assert_eq!((listed.code, listed.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(listed.out, @r"
    CLOUD  BROKER       PROVIDER    REGION             FLAVOUR  ID                 MEMORY  CORES  PRICE
    zrh    cloudbroker  CloudSigma  CloudSigma Zurich  small    CloudSigma Small   -       -      -
    zrh    cloudbroker  CloudSigma  CloudSigma Zurich  medium   CloudSigma Medium  -       -      -

    APPLICATION  ROLE   SOFTWARE      EXECUTABLE  RENTED AS
    Node DSCR    node   worker image  start.sh    jobs
    Proxy        proxy  proxy image   start.sh    jobs
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_of_locations_are_listed() {
    let bounds =
        "<locations><l><name>database</name><max_machines>4</max_machines></l></locations>";
    let place = Place::new(&LOCAL.replace("</setup>", &format!("{bounds}</setup>")));
    let listed = place.run("cloud list").await;
    let table = listed.out.split("\n\n").last().expect("a table");
    insta::assert_snapshot!(table, @r"
    LOCATION  MIN MACHINES  MAX MACHINES  MAX PRICE  HEADROOM
    database  0             4             -          -
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_good_is_refused_by_both() {
    let place = Place::new(&LOCAL.replace("<size>small</size>", "<size>small"));
    for verb in ["list", "check"] {
        let malformed = place.run(&format!("cloud {verb}")).await;
        assert_eq!((malformed.code, malformed.out.as_str()), (Some(1), ""));
        assert!(
            malformed.err.starts_with("error: FOLDER/cloudsetup.xml:")
                && malformed.err.contains("not well-formed XML"),
            "{}",
            malformed.err
        );
        let absent = place
            .run(&format!("cloud {verb} --cloudsetup nowhere.xml"))
            .await;
        assert_eq!((absent.code, absent.out.as_str()), (Some(1), ""));
        assert!(
            absent
                .err
                .starts_with("error: nowhere.xml: cannot be read: No such file"),
            "{}",
            absent.err
        );
    }
    assert_eq!(place.run("cloud").await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_cloud_is_checked_for_its_engine_and_the_node_image() {
    let place = Place::new(LOCAL);
    let silent = place.run("cloud check").await;
    assert_eq!(silent.code, Some(1));
    assert!(
        silent.out.contains("FOLDER/engine does not answer") && silent.out.contains("start it"),
        "{}",
        silent.out
    );
    assert!(
        silent.err.ends_with(
            "error: 1 of 1 checks failed\nhint: each line that is not `ok` says what to do\n"
        ),
        "{}",
        silent.err
    );

    place.engine("micado-node:7");
    let well = place.run("cloud check --node-image micado-node:7").await;
    assert_eq!(well.code, Some(0), "{well:?}");
    let rows: Vec<Vec<&str>> = well
        .out
        .lines()
        .map(|line| {
            line.split("  ")
                .filter(|cell| !cell.is_empty())
                .map(str::trim)
                .collect()
        })
        .collect();
    assert_eq!(
        rows,
        [
            ["CLOUD", "WHAT", "RESULT"],
            ["here", "engine at unix://FOLDER/engine", "ok"],
            ["here", "node image `micado-node:7`", "ok"]
        ]
    );
    insta::assert_snapshot!(well.err, @r"
    here: asking
    here: 2 looked at, 0 wrong
    ");
    let lacking = place.run("cloud check --output json").await;
    let lines: Value = serde_json::from_str(&lacking.out).expect("JSON");
    assert_eq!(
        (lacking.code, &lines[0]["ok"], &lines[1]["ok"]),
        (Some(1), &json!(true), &json!(false))
    );
    assert_eq!(
        lines[1]["problem"],
        json!(
            "the engine does not have it: build `micado-node:latest` with scripts/node-image/build"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_credentials_is_named_and_keeps_no_other_cloud_from_being_checked() {
    let both = OLD.replace(
        "</clouds>",
        &LOCAL[LOCAL.find("<cloud>").expect("it is there")
            ..LOCAL.find("</clouds>").expect("it is there") + "</clouds>".len()],
    );
    let both = both.replace(
        "<provider>",
        "<credentials>cbcredentials</credentials><provider>",
    );
    let place = Place::new(&both);
    place.engine("micado-node:latest");
    let checked = place.run("cloud check --output json").await;
    let lines: Value = serde_json::from_str(&checked.out).expect("JSON");
    let lines = lines.as_array().expect("a list");
    let of = |cloud: &str| {
        lines
            .iter()
            .filter(|line| line["cloud"] == *cloud)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (checked.code, of("here").len()),
        (Some(1), 2),
        "{checked:?}"
    );
    let [account] = of("zrh")[..] else {
        panic!("{checked:?}")
    };
    assert!(
        account["problem"]
            .as_str()
            .is_some_and(|words| words.contains("zrh") && words.contains("cbcredentials")),
        "{account}"
    );
}

/// A cloud of the simulator's catalogue, with its account's file; `small` exists.
fn at_broker(simulator: &Simulator, password: &str) -> Place {
    let setup = format!(
        "<setup><clouds><cloud><name>zrh</name><provider>CloudSigma</provider><region>CloudSigma Zurich</region><endpoint>{}</endpoint>
        <credentials>cbcredentials</credentials><flavours><flavour><size>small</size><id>CloudSigma Small</id></flavour></flavours></cloud></clouds>
        <applications><application><name>Node</name><sname>micado node</sname><executable>execute.sh</executable></application></applications></setup>",
        simulator.url()
    );
    let place = Place::new(&setup);
    fs::write(
        place.path("cbcredentials"),
        format!("somebody@example.net\n{password}\n"),
    )
    .expect("written");
    fs::set_permissions(
        place.path("cbcredentials"),
        fs::Permissions::from_mode(0o600),
    )
    .expect("ours alone");
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_asked_for_all_that_the_file_names() {
    let simulator = Simulator::start(Config {
        password: "hunter2".to_owned(),
        ..Config::default()
    })
    .await
    .expect("a simulator");
    let place = at_broker(&simulator, "hunter2");
    let well = place.run("cloud check").await;
    assert_eq!(well.code, Some(0), "{well:?}");
    let wanted = [
        "resource `CloudSigma`",
        "region `CloudSigma Zurich`",
        "`CloudSigma Small`",
        "software `micado node`",
        "executable `execute.sh`",
    ];
    for what in wanted {
        assert!(
            well.out
                .lines()
                .any(|line| line.contains(what) && line.ends_with("  ok")),
            "{what}: {}",
            well.out
        );
    }

    let file = place.path("cloudsetup.xml");
    let broken = fs::read_to_string(&file)
        .expect("it is there")
        .replace("CloudSigma Small", "CloudSigma Huge")
        .replace("execute.sh", "start.sh");
    fs::write(file, broken).expect("written");
    let wrong = place.run("cloud check").await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    for what in ["instance type `CloudSigma Huge`", "executable `start.sh`"] {
        assert!(
            wrong
                .out
                .lines()
                .any(|line| line.contains(what) && line.contains("the broker has no")),
            "{what}: {}",
            wrong.out
        );
    }
    assert!(wrong.err.contains("error: 2 of "), "{}", wrong.err);
    assert!(simulator.jobs().is_empty(), "it rents nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_shown_to_nobody() {
    let simulator = Simulator::start(Config::default())
        .await
        .expect("a simulator");
    let refused = at_broker(&simulator, "hunter2")
        .run("cloud check --output json")
        .await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused
            .out
            .contains("the broker does not take the user and the password of"),
        "{}",
        refused.out
    );
    assert!(
        !refused.out.contains("hunter2") && !refused.err.contains("hunter2"),
        "{refused:?}"
    );
}
