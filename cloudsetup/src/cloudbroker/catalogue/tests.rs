//! Tests of looking names up.

use super::{
    super::script::{LOOKING_UP, Reply, SETUP, Script, credentials, order},
    *,
};
use crate::{Broker, BrokerError};

fn entry(id: &str, name: &str, active: bool) -> Entry {
    Entry {
        id: id.to_owned(),
        name: name.to_owned(),
        active,
        ..Entry::default()
    }
}

fn picked<'e>(entries: &'e [Entry], name: &str) -> Result<&'e str, String> {
    pick(Kind::Region, entries, name, " of resource `R`", |entry| {
        entry.id != "foreign"
    })
    .map(|entry| entry.id.as_str())
}

#[test]
fn exactly_one_active_entry_is_taken() {
    let entries = [
        entry("1", "A", true),
        entry("2", "A", false),
        entry("3", "B", false),
        entry("foreign", "A", true),
    ];
    assert_eq!(picked(&entries, "A"), Ok("1"));
    assert_eq!(
        picked(&entries, "B"),
        Err("the broker's region `B` of resource `R` is not active: have it activated, or name another in cloudsetup.xml".to_owned())
    );
    assert_eq!(
        picked(&entries, "C"),
        Err(
            "the broker has no region `C` of resource `R` (it has: A): correct cloudsetup.xml"
                .to_owned()
        )
    );
    assert_eq!(
        picked(&[], "C"),
        Err(
            "the broker has no region `C` of resource `R` (it has none): correct cloudsetup.xml"
                .to_owned()
        )
    );
    let clash = [
        entry("1", "A", true),
        Entry {
            version: Some("2.0".to_owned()),
            ..entry("2", "A", true)
        },
    ];
    assert_eq!(picked(&clash, "A"), Err("the broker has 2 active region `A` of resource `R`: 1, 2 version 2.0: leave one active".to_owned()));
    let many: Vec<_> = (0..12)
        .map(|at| entry(&at.to_string(), &format!("N{at}"), true))
        .collect();
    assert!(picked(&many, "A").is_err_and(|words| words.contains("N8, N9 and 2 more)")));
}

#[test]
fn a_region_may_be_named_as_the_pages_show_it() {
    let api = |id: &str, name: &str, api_name: &str| Entry {
        api_name: Some(api_name.to_owned()),
        ..entry(id, name, true)
    };
    let entries = [
        api(
            "1",
            "Amazon EC2 CloudBroker GmbH US East (Northern Virginia)",
            "us-east-1",
        ),
        api("2", "Amazon EC2 CloudBroker GmbH EU West", "eu-west-1"),
        api(
            "3",
            "Amazon EC2 CloudBroker GmbH North EU West",
            "eu-north-1",
        ),
    ];
    let found = |name| picked(&entries, name);
    assert_eq!(found("US East (Northern Virginia)"), Ok("1"));
    assert_eq!(found("eu-west-1"), Ok("2"));
    assert_eq!(found("North EU West"), Ok("3"));
    assert_eq!(
        found("EU West"),
        Err("the broker has 2 active region `EU West` of resource `R`: Amazon EC2 CloudBroker GmbH EU West, Amazon EC2 CloudBroker GmbH North EU West: name one in full in cloudsetup.xml".to_owned())
    );
    // No part of a word, and nothing from the middle.
    for name in ["st (Northern Virginia)", "US East", "eu", ""] {
        assert!(
            found(name).is_err_and(|error| error.contains("has no region")),
            "{name}"
        );
    }
    let full = [entry("1", "EU", true), entry("2", "Amazon EU", true)];
    assert_eq!(picked(&full, "EU"), Ok("1"));
}

#[test]
fn an_executable_may_be_named_by_its_file() {
    let with_binary = |id: &str, name: &str| Entry {
        binary: Some("start.sh".to_owned()),
        ..entry(id, name, true)
    };
    let found = |entries: &[Entry]| {
        pick(Kind::Executable, entries, "start.sh", "", |_| true).map(|entry| entry.id.clone())
    };
    assert_eq!(
        found(&[with_binary("1", "worker start")]),
        Ok("1".to_owned())
    );
    assert_eq!(
        found(&[
            with_binary("1", "worker start"),
            entry("2", "start.sh", true)
        ]),
        Ok("2".to_owned())
    );
    assert!(found(&[with_binary("1", "a"), with_binary("2", "b")]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_is_read_once_and_anew_after_a_refusal() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let broker = script.brokers(SETUP, file).remove(0);
    script
        .on("GET /jobs.xml", [Reply::ok("<jobs/>")])
        .on("POST /jobs.xml", [Reply::errors(422, "Quota exceeded", "")]);
    let looked_up = || script.calls_but(&["GET /jobs", "POST /jobs"]).len();
    assert_eq!(
        broker.launch(&order("Node")).await,
        Err(BrokerError::Refused(
            "cannot create job `micado-c-i1`: Quota exceeded".to_owned()
        ))
    );
    assert_eq!(looked_up(), 5);
    script.on("POST /jobs.xml", [Reply::Lost]);
    for (times, lists) in [(2, 5), (1, 0)] {
        for _ in 0..times {
            assert!(matches!(
                broker.launch(&order("Node")).await,
                Err(BrokerError::Unknown(_))
            ));
        }
        assert_eq!(looked_up(), lists);
    }
    assert_eq!(LOOKING_UP.len(), Kind::ALL.len());
}

#[tokio::test(start_paused = true)]
async fn the_deployment_is_that_of_software_resource_and_region() {
    let (_folder, file) = credentials();
    let script = Script::new();
    let account = script.brokers(SETUP, file).remove(0).account.clone();
    let deployments = |inside: &str| {
        let whole = |it: &str| {
            format!(
                "<deployment>{it}<software-id>s</software-id><resource-id>r</resource-id><region-id>g</region-id></deployment>"
            )
        };
        Reply::ok(format!(
            "<deployments>{}</deployments>",
            inside.split('|').map(whole).collect::<String>()
        ))
    };
    let find = async |answer: Reply| {
        script.on("GET /deployments.xml", [answer]);
        account.catalogue.forget().await;
        let (software, resource, region) = (
            entry("s", "S", true),
            entry("r", "R", true),
            entry("g", "G", true),
        );
        account
            .catalogue
            .deployment(&account.link, &software, &resource, &region)
            .await
            .map(|entry| entry.id)
            .map_err(|failure| failure.words().to_owned())
    };
    let what = "deployment of software `S` in region `G` of resource `R`";
    assert_eq!(
        find(deployments(
            "<id>1</id><status>Active</status>|<id>2</id><status>retired</status>"
        ))
        .await,
        Ok("1".to_owned())
    );
    assert_eq!(
        find(deployments("<id>2</id><status>retired</status>")).await,
        Err(format!(
            "the broker's {what} is not active: have it activated"
        ))
    );
    assert_eq!(
        find(deployments("<id>1</id>|<id>2</id>")).await,
        Err(format!(
            "the broker has 2 active {what}s: 1, 2: leave one active"
        ))
    );
    assert_eq!(
        find(deployments(
            "<id>1</id><release>2</release>|<id>2</id><release>10</release>|<id>3</id>"
        ))
        .await,
        Ok("2".to_owned()),
        "cb5: the highest release"
    );
    assert_eq!(
        find(Reply::ok("<deployments/>")).await,
        Err(format!("the broker has no {what}: have it deployed there"))
    );
}
