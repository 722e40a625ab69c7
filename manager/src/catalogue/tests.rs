use super::{row::registered, *};
use crate::model::Registration;
use micado_api::{ContainerName, InstanceId, Timestamp};
use std::{collections::BTreeMap, sync::Arc};

fn machine(id: &str, answers: bool) -> Arc<Node> {
    Arc::new(Node {
        id: id.to_owned(),
        name: id.to_owned(),
        address: format!("{id}.example"),
        meta: BTreeMap::new(),
        answers,
    })
}

/// An entry of a service, of the container with the same name and this number.
pub(crate) fn entry(service: &str, number: u32, status: Status) -> Entry {
    let node = machine("app1", true);
    let registration = Registration {
        id: format!("{service}.{number}"),
        service: service.to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 80,
        tags: vec![format!("tag-{service}")],
        meta: BTreeMap::new(),
        since: Timestamp(1),
    };
    Entry {
        status,
        copy: Some((InstanceId::trusted("app1"), number)),
        ..registered(&registration, &node)
    }
}

fn container(entry: &Entry) -> Source {
    Source::Container(ContainerName::trusted(entry.id.as_str()))
}

pub(crate) fn put(catalogue: &Catalogue, index: u64, entries: &[Entry]) {
    let entries = entries.iter();
    let entries = entries.map(|entry| (container(entry), vec![entry.clone()]));
    catalogue.apply(
        index,
        Change {
            entries: entries.collect(),
            ..Change::default()
        },
    );
}

fn take(catalogue: &Catalogue, index: u64, entry: &Entry) {
    let entries = vec![(container(entry), Vec::new())];
    catalogue.apply(
        index,
        Change {
            entries,
            ..Change::default()
        },
    );
}

pub(crate) fn complete(index: u64) -> Catalogue {
    let catalogue = Catalogue::default();
    catalogue.complete(index);
    catalogue
}

fn topics(catalogue: &Catalogue) -> [u64; 3] {
    Topic::EVERY.map(|topic| *catalogue.watch_topic(topic).borrow())
}

#[test]
fn a_change_raises_the_index_of_what_it_touches_alone() {
    let catalogue = complete(1_000);
    let (web, db) = (
        entry("web", 1, Status::Passing),
        entry("db", 1, Status::Passing),
    );
    put(&catalogue, 1_001, &[web.clone(), db]);
    assert_eq!(topics(&catalogue), [1_001, 1_000, 1_001]);
    let critical = entry("web", 1, Status::Critical);
    put(&catalogue, 1_002, std::slice::from_ref(&critical));
    assert_eq!(catalogue.service("web").index, 1_002);
    assert_eq!(catalogue.service("db").index, 1_001);
    // Names and tags are as before.
    assert_eq!(topics(&catalogue), [1_001, 1_000, 1_002]);
    let service = catalogue.service("web");
    let row = service.rows().next().expect("a row");
    assert_eq!((row.created, row.modified), (1_001, 1_002));
    // The same once more is no change.
    put(&catalogue, 1_003, &[critical]);
    assert_eq!(catalogue.service("web").index, 1_002);
    assert_eq!(topics(&catalogue), [1_001, 1_000, 1_002]);
    assert_eq!(catalogue.next_index(5), 1_003);
    assert_eq!(catalogue.next_index(5_000), 5_000);
}

#[test]
fn a_removed_service_keeps_its_index_for_an_hour() {
    let catalogue = complete(1_000);
    let web = entry("web", 1, Status::Passing);
    put(&catalogue, 2_000, std::slice::from_ref(&web));
    take(&catalogue, 3_000, &web);
    assert_eq!(topics(&catalogue), [3_000, 1_000, 3_000]);
    let removed = catalogue.service("web");
    assert!(removed.is_empty() && removed.index == 3_000);
    assert!(catalogue.services().is_empty());
    assert_eq!(catalogue.service("never").index, 1_000);
    let db = entry("db", 1, Status::Passing);
    put(&catalogue, 3_599_000 + 3_000, std::slice::from_ref(&db));
    assert_eq!(catalogue.service("web").index, 3_000);
    put(
        &catalogue,
        3_600_000 + 3_000,
        &[entry("db", 1, Status::Critical)],
    );
    // Nobody may see a lower index than before.
    assert_eq!(catalogue.service("web").index, 3_000);
    assert_eq!(catalogue.service("never").index, 3_000);
    put(&catalogue, 3_600_000 + 3_001, &[web]);
    assert_eq!(catalogue.service("web").index, 3_603_001);
}

#[tokio::test]
async fn a_waiter_is_woken_by_its_own_service() {
    let catalogue = complete(1_000);
    let mut web = catalogue.watch("web");
    let mut db = catalogue.watch("db");
    put(&catalogue, 1_001, &[entry("web", 1, Status::Passing)]);
    assert!(web.has_changed().expect("it is kept"));
    assert!(!db.has_changed().expect("it is kept"));
    assert_eq!(web.borrow_and_update().index, 1_001);
    // It is the same service for those who came before there was any.
    put(&catalogue, 1_002, &[entry("db", 1, Status::Passing)]);
    db.changed().await.expect("it is kept");
    assert_eq!(db.borrow().rows().count(), 1);
}

#[test]
fn a_node_that_goes_changes_the_nodes() {
    let catalogue = complete(1_000);
    let change = |index, node: Option<Arc<Node>>| {
        let nodes = [(InstanceId::trusted("i1"), node)].into();
        catalogue.apply(
            index,
            Change {
                nodes,
                ..Change::default()
            },
        );
    };
    change(1_001, Some(machine("app1", true)));
    change(1_002, Some(machine("app1", true)));
    assert_eq!(topics(&catalogue), [1_000, 1_001, 1_001]);
    change(1_003, Some(machine("app1", false)));
    let nodes = catalogue.nodes();
    assert_eq!((nodes[0].created, nodes[0].modified), (1_001, 1_003));
    change(1_004, None);
    assert!(catalogue.nodes().is_empty());
    assert_eq!(topics(&catalogue), [1_000, 1_004, 1_004]);
}

#[test]
fn a_new_manager_begins_above_the_indexes_of_the_last() {
    let catalogue = Catalogue::default();
    assert!(!catalogue.is_complete());
    // The clock is back by far.
    catalogue.begin(9_000);
    let index = catalogue.next_index(10);
    put(&catalogue, index, &[entry("web", 1, Status::Passing)]);
    catalogue.complete(index);
    assert!(catalogue.is_complete());
    assert_eq!(catalogue.service("web").index, 9_001);
    assert_eq!(catalogue.service("never").index, 9_001);
    assert_eq!(topics(&catalogue), [9_001; 3]);
}

#[test]
fn an_answer_is_made_once_for_a_selection() {
    let catalogue = complete(1_000);
    put(&catalogue, 1_001, &[entry("web", 1, Status::Passing)]);
    let service = catalogue.service("web");
    let made = std::cell::Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        bytes::Bytes::from_static(b"[]")
    };
    let passing = Selection {
        passing: true,
        ..Selection::default()
    };
    for _ in 0..3 {
        service.answer(Form::Health, &passing, make);
    }
    service.answer(Form::Checks, &passing, make);
    service.answer(Form::Health, &Selection::default(), make);
    assert_eq!(made.get(), 3);
    for _ in 0..2 {
        assert_eq!(catalogue.answer(Topic::Nodes, "nodes", make).0, 1_000);
    }
    catalogue.answer(Topic::Services, "nodes", make);
    assert_eq!(made.get(), 5);
}

#[test]
fn the_tags_of_a_service_are_those_of_its_entries() {
    let catalogue = complete(1_000);
    let tagged = |number, tags: &[&str]| Entry {
        tags: tags.iter().map(ToString::to_string).collect(),
        ..entry("web", number, Status::Passing)
    };
    let names = |catalogue: &Catalogue| {
        let service = catalogue.service("web");
        let tags: Vec<&String> = service.tags().iter().collect();
        format!("{tags:?} {}", topics(catalogue)[0])
    };
    put(&catalogue, 1_001, &[tagged(1, &["a", "b"])]);
    assert_eq!(names(&catalogue), r#"["a", "b"] 1001"#);
    put(&catalogue, 1_002, &[tagged(2, &["b"])]);
    assert_eq!(names(&catalogue), r#"["a", "b"] 1001"#);
    put(&catalogue, 1_003, &[tagged(2, &["b", "c"])]);
    assert_eq!(names(&catalogue), r#"["a", "b", "c"] 1003"#);
    // Another entry has the tag still.
    put(&catalogue, 1_004, &[tagged(2, &["c"])]);
    assert_eq!(names(&catalogue), r#"["a", "b", "c"] 1003"#);
    take(&catalogue, 1_005, &tagged(2, &[]));
    assert_eq!(names(&catalogue), r#"["a", "b"] 1005"#);
}
