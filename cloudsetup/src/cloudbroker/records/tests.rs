//! Tests of reading the broker's documents, in all possible spellings.

use super::*;
use crate::dom;

fn root(text: &str) -> Element {
    dom::parse(text).expect(text)
}

fn jobs(text: &str) -> Result<Vec<(String, MachineState)>, Failure> {
    let cluster = ClusterId::trusted("c");
    Ok(all::<Job>(&root(text))?
        .iter()
        .filter_map(|job| job.machine(&cluster))
        .map(|machine| (machine.id, machine.state))
        .collect())
}

#[test]
fn lists_come_under_any_name() {
    let item = "<job><id>1</id><name>micado-c-i</name><status>running</status></job>";
    let one = vec![("1".to_owned(), MachineState::Running)];
    for text in [
        format!("<jobs type='array'>{item}</jobs>"),
        format!("<nil-classes>{item}</nil-classes>"),
        format!("<x><total>1</total>{item}</x>"),
        item.to_owned(),
    ] {
        assert_eq!(jobs(&text).as_ref(), Ok(&one), "{text}");
    }
    for text in [
        "<jobs type='array'/>",
        "<jobs></jobs>",
        "<nil-classes type='array'/>",
        "<jobs>\n</jobs>",
    ] {
        assert_eq!(jobs(text), Ok(Vec::new()), "{text}");
    }
}

#[test]
fn what_is_no_list_is_not_an_empty_one() {
    let others = [
        "<html/>",
        "<html><body><p>Log in</p></body></html>",
        "<hash><error>no</error></hash>",
        "<result>Not supported</result>",
        "<jobs><software><id>1</id></software></jobs>",
    ];
    for text in others {
        assert!(
            matches!(jobs(text), Err(Failure::Lost(words)) if words.starts_with("the answer is no list of <job>, but <")),
            "{text}"
        );
    }
    let nameless = "<jobs><job><name>micado-c-i</name><tag><id>7</id></tag></job></jobs>";
    assert_eq!(
        jobs(nameless),
        Err(Failure::Lost(
            "the answer has no <job> with an id, but <job>".to_owned()
        ))
    );
    assert!(one::<Job>(&root("<jobs><job><id>1</id></job></jobs>")).is_err());
}

#[test]
fn spellings_of_names_and_of_nothing_are_one() {
    let job = |text: &str| one::<Job>(&root(text)).expect(text);
    let dashed = job(
        "<job><tag><id>9</id></tag><id>1</id><name>n</name><status> Running </status><region-id>r</region-id><job-outcome-string/></job>",
    );
    let underscored = job(
        "<job><id>1</id><name>n</name><status>RUNNING</status><region_id>r</region_id><job_outcome_string nil='true'>x</job_outcome_string></job>",
    );
    assert_eq!(dashed, underscored);
    assert_eq!(
        (
            dashed.status.as_str(),
            dashed.region.as_deref(),
            dashed.outcome
        ),
        ("running", Some("r"), None)
    );
    let odd = job(
        "<job><id type='integer'>1</id><nodes type='integer'>a lot</nodes><created-at>yesterday</created-at></job>",
    );
    assert_eq!(
        (odd.id.as_str(), odd.name.as_str(), odd.status.as_str()),
        ("1", "", "")
    );
}

#[test]
fn every_status_of_a_job() {
    use MachineState::{Dead, Pending, Running, Stopping};
    let known = [
        ("created", Pending),
        ("submitted", Pending),
        ("assembling", Pending),
        ("starting", Pending),
        ("preparing", Pending),
        ("running", Running),
        ("stopping", Stopping),
        ("finishing", Stopping),
        ("completed", Dead),
        ("COMPLETED", Dead),
        ("queued", Pending),
        ("", Pending),
    ];
    for (status, state) in known {
        let text = format!("<job><id>1</id><name>micado-c-i</name><status>{status}</status></job>");
        assert_eq!(jobs(&text), Ok(vec![("1".to_owned(), state)]), "{status}");
    }
}

#[test]
fn every_status_of_an_instance() {
    use MachineState::{Pending, Running, Stopping};
    let known = [
        ("starting", Some(Pending)),
        ("initializing", Some(Pending)),
        ("preparing", Some(Pending)),
        ("running", Some(Running)),
        ("stopping", Some(Stopping)),
        ("halted", None),
        ("Halted", None),
        ("hibernating", Some(Pending)),
    ];
    for (status, state) in known {
        let instance: Instance = one(&root(&format!(
            "<instance><id>1</id><name>micado-c-i</name><status>{status}</status></instance>"
        )))
        .expect(status);
        assert_eq!(
            instance
                .machine(&ClusterId::trusted("c"))
                .map(|machine| machine.state),
            state,
            "{status}"
        );
    }
}

#[test]
fn an_address_is_one_or_is_not_there_yet() {
    let address = |external: &str, internal: &str| {
        let text = format!(
            "<instance><id>1</id><internal-ip-address>{internal}</internal-ip-address><external_ip_address>{external}</external_ip_address></instance>"
        );
        one::<Instance>(&root(&text)).expect("an instance").address
    };
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(address("203.0.113.9", "10.0.0.4"), said("203.0.113.9"));
    assert_eq!(address("not allocated", "10.0.0.4"), said("10.0.0.4"));
    assert_eq!(address("2001:db8::1", ""), said("2001:db8::1"));
    assert_eq!(
        (
            address("not allocated", "not allocated"),
            address("host.example", ""),
            address("", "-")
        ),
        (None, None, None)
    );
}

#[test]
fn only_names_of_this_cluster_are_machines() {
    let cluster = ClusterId::trusted("c1");
    for (name, instance) in [
        ("micado-c1-web-1", Some("web-1")),
        ("micado-c1-", None),
        ("micado-c2-x", None),
        ("micado-c11-x", None),
        ("dscr0123", None),
        ("xmicado-c1-a", None),
        ("micado-c1-a b", None),
    ] {
        let job = Job {
            name: name.to_owned(),
            ..Job::default()
        };
        assert_eq!(
            job.machine(&cluster)
                .map(|machine| machine.instance.to_string())
                .as_deref(),
            instance,
            "{name}"
        );
    }
}

#[test]
fn a_job_tells_what_was_ordered_and_how_it_ended() {
    let text = "<job><id>1</id><name>micado-c-i</name><description>micado cloud=zrh tag=t location=database application=My%20Node flavour=small</description>
        <status>completed</status><job-outcome-string>interrupted</job-outcome-string><stop-reason>out of credit</stop-reason></job>";
    let machine = one::<Job>(&root(text))
        .expect("a job")
        .machine(&ClusterId::trusted("c"))
        .expect("ours");
    let told = (
        machine.tag.map(|tag| tag.to_string()),
        machine.location.map(|location| location.to_string()),
        machine.application,
        machine.flavour.map(|flavour| flavour.to_string()),
    );
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        (said("t"), said("database"), said("My Node"), said("small"))
    );
    assert_eq!(
        machine.detail,
        said("completed; interrupted; out of credit")
    );
}

#[test]
fn the_liveliest_of_one_name_counts() {
    use MachineState::{Dead, Pending, Running, Stopping};
    let best = |states: &[MachineState]| liveliest(states.iter().copied(), |state| *state);
    assert_eq!(
        (
            best(&[Dead, Pending, Running]),
            best(&[Stopping, Dead]),
            best(&[Dead, Pending]),
            best(&[])
        ),
        (Some(Running), Some(Stopping), Some(Pending), None)
    );
}
