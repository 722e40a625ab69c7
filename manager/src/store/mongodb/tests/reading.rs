//! Content of the collections: readable for people, without secrets; and databases that are no
//! store of ours.

use super::{
    server::{database, free_port, keys},
    *,
};
use crate::{clock, store::conformance};
use ::mongodb::{
    Database,
    bson::{Bson, Document, doc},
};
use futures_util::TryStreamExt;
use micado_api::{
    ContainerName, ContainerState, ContainerUsage, ContainerView, Critical, Hundredths, ImageView,
    InstanceId, InstanceState, InstanceView, Location, MachineUsage, MemoryBytes, NanoCpus, Origin,
    PricePerHour, Resources, ServiceName, Tag, Timestamp, agent::ContainerHappening,
};
use micado_core::metrics::{EventRecord, Point, Resolution};

/// The one document of a collection, as a shell shows it.
async fn shown(database: &Database, kind: &str) -> String {
    let mut found: Vec<Document> = database
        .collection(kind)
        .find(doc! {})
        .await
        .expect("find")
        .try_collect()
        .await
        .expect("read");
    assert_eq!(found.len(), 1, "{kind}: {found:?}");
    let mut document = found.remove(0);
    if let Some(Bson::Binary(_)) = document.get("record") {
        document.insert("record", "(sealed)");
    }
    let fields: String = document
        .iter()
        .map(|(name, value)| format!("  {name}: {value}\n"))
        .collect();
    format!("{kind}\n{fields}")
}

fn instance_view() -> InstanceView {
    InstanceView {
        id: InstanceId::trusted("k3x9"),
        tag: Tag::trusted("application01"),
        cloud: "local".parse().expect("a name"),
        application: "Node".into(),
        flavour: "small".parse().expect("a name"),
        location: Location::default(),
        state: InstanceState::Active,
        released: false,
        state_since: Timestamp(2),
        reason: None,
        origin: Origin::Planner,
        address: Some("10.1.0.3".into()),
        node: Some("n1".into()),
        capacity: Resources::new(MemoryBytes::mib(896), NanoCpus::cores(1)),
        reserved: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        memory_left: MemoryBytes::mib(640),
        containers: 1,
        price: PricePerHour(50_000),
        created_at: Timestamp(1),
        joined_after_ms: None,
        returns: None,
        usage: Some(MachineUsage {
            at: Timestamp(89_000),
            memory_total: MemoryBytes::mib(1024),
            memory_left: MemoryBytes::mib(700),
            memory_least_left: MemoryBytes::mib(300),
            cpu: Some(NanoCpus::millis(310)),
            cpu_peak: NanoCpus::millis(900),
            cores: NanoCpus::cores(1),
            load: Some(Hundredths(42)),
            disk_left: 7 << 30,
            disk_total: 10 << 30,
        }),
    }
}

fn container_view(name: &str) -> ContainerView {
    ContainerView {
        name: ContainerName::trusted(name),
        service: ServiceName::trusted("alice_web"),
        image: "micado-web:latest".into(),
        state: ContainerState::Running,
        reason: None,
        exit_code: None,
        instance: Some(Tag::trusted("application01")),
        protected: false,
        health: None,
        location: Location::default(),
        address: Some("10.1.0.3".into()),
        ports: vec![],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        created_at: Timestamp(5),
        usage: Some(ContainerUsage {
            at: Timestamp(89_000),
            memory: MemoryBytes::mib(90),
            memory_peak: MemoryBytes::mib(200),
            cpu: Some(NanoCpus::millis(20)),
            cpu_peak: NanoCpus::millis(240),
            oom_kills: 0,
            memory_pressure: None,
            cpu_pressure: None,
            throttled: None,
            received: 1000,
            sent: 20_000,
            read: 0,
            written: 4096,
        }),
    }
}

fn image_view(image: &str) -> ImageView {
    ImageView {
        image: image.into(),
        digest: Some("sha256:0123".into()),
        critical: Critical {
            memory: Some(MemoryBytes::mib(400)),
            cpu: None,
        },
        suggested: Some(Critical {
            memory: Some(MemoryBytes::mib(160)),
            cpu: Some(NanoCpus::millis(300)),
        }),
        footprint: Some(Resources::new(MemoryBytes::mib(120), NanoCpus::millis(200))),
        measured_ms: 7_200_500,
        services: Vec::new(),
        revisions: Vec::new(),
    }
}

#[tokio::test]
async fn the_collections_read_well_and_tell_no_secrets() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let records = [
        conformance::instance(),
        conformance::service(),
        conformance::container(),
        conformance::image(),
        conformance::decision(7),
        setting("token", "s3cret"),
    ];
    let changes: Vec<_> = records.into_iter().map(|record| put(record, 0)).collect();
    store.commit(&changes).await.expect("commit");
    let before = store.load().await.expect("load");
    let images = [
        image_view("registry:5000/team/micado-web:latest"),
        image_view("gone"),
    ];
    store
        .show(
            Timestamp(90_001),
            &[instance_view()],
            &[container_view("alice_web.1"), container_view("gone.1")],
            &images,
        )
        .await
        .expect("shown");
    assert_eq!(
        store.load().await,
        Ok(before.clone()),
        "what is shown changes no record, and makes none"
    );

    let database = database(&home.url).await;
    let all = async |kinds: &[&str]| {
        let mut all = Vec::new();
        for kind in kinds {
            all.push(shown(&database, kind).await);
        }
        all.join("\n")
    };
    insta::assert_snapshot!(
        "collections",
        all(&[
            "container",
            "instance",
            "imagecontainer",
            "service",
            "decision",
            "setting"
        ])
        .await
    );

    let blind = InstanceView {
        usage: None,
        ..instance_view()
    };
    let unseen = ContainerView {
        usage: None,
        ..container_view("alice_web.1")
    };
    let new = ImageView {
        suggested: None,
        footprint: None,
        measured_ms: 0,
        ..images[0].clone()
    };
    store
        .show(Timestamp(90_001), &[blind], &[unseen], &[new])
        .await
        .expect("shown");
    assert_eq!(store.load().await, Ok(before));
    insta::assert_snapshot!(
        "collections_when_blind",
        all(&["container", "instance", "imagecontainer"]).await
    );

    // The environment, the arguments, a person's files (as base64 too), a setting's value.
    for kind in database.list_collection_names().await.expect("names") {
        let documents: Vec<Document> = database
            .collection(&kind)
            .find(doc! {})
            .await
            .expect("find")
            .try_collect()
            .await
            .expect("read");
        for document in documents {
            let bytes = document.to_vec().expect("BSON");
            for secret in [
                "s3cret",
                "PORT=8080",
                "a b",
                "data.bin",
                "AAH+/w==",
                "log_tail",
            ] {
                assert!(
                    !bytes
                        .windows(secret.len())
                        .any(|part| part == secret.as_bytes()),
                    "{kind} tells `{secret}`"
                );
            }
        }
    }
}

/// Message of the `Schema` error of opening.
async fn schema_error(home: &TestHome) -> String {
    match home.store(QUICK).await {
        Err(StoreError::Schema(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_store_of_ours_is_refused_and_left_alone() {
    let home = TestHome::fresh().await;
    let theirs = database(&home.url).await;
    theirs
        .collection("instance")
        .insert_one(doc! { "_id": "vm-1" })
        .await
        .expect("inserted");
    assert!(
        schema_error(&home)
            .await
            .contains("`instance` of another program")
    );
    assert_eq!(
        theirs.list_collection_names().await.expect("names"),
        ["instance"]
    );

    let home = TestHome::fresh().await;
    home.store(QUICK).await.expect("made").close().await;
    let (_state, other) = keys();
    let stranger = TestHome {
        url: home.url.clone(),
        keys: other,
        state: tempfile::tempdir().expect("a folder"),
    };
    assert!(schema_error(&stranger).await.contains("another key"));

    let ours = database(&home.url).await;
    for version in [0, 2] {
        ours.collection::<Document>("schema")
            .update_one(doc! {}, doc! { "$set": { "version": version } })
            .await
            .expect("updated");
        let words = format!("has schema {version} and this micado reads schema 1");
        let error = schema_error(&home).await;
        assert!(error.contains(&words), "{error}");
    }
}

#[tokio::test]
async fn a_record_that_was_changed_by_hand_is_named() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    store
        .commit(&[put(setting("a", "1"), 0), put(setting("b", "2"), 0)])
        .await
        .expect("commit");
    let database = database(&home.url).await;
    let settings = database.collection::<Document>("setting");
    let other = settings
        .find_one(doc! { "_id": "b" })
        .await
        .expect("find")
        .expect("there");
    settings
        .update_one(
            doc! { "_id": "a" },
            doc! { "$set": { "record": other.get("record") } },
        )
        .await
        .expect("updated");
    let error = store.load().await.expect_err("it is b's record");
    assert!(
        error
            .to_string()
            .starts_with("setting `a` in the store mongodb://"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_or_is_not_there_is_named_without_the_password() {
    let home = TestHome::fresh().await;
    let server = home.url.trim_start_matches("mongodb://").to_owned();
    let nobody = format!("127.0.0.1:{}", free_port());
    let cases = [
        (format!("mongodb://ann:s3cret@{server}"), "lets nobody in"),
        (
            format!("mongodb://ann:s3cret@{nobody}/db"),
            "does not answer",
        ),
        (format!("mongodb://ann:s3cret@@{server}"), "cannot be used"),
        (
            format!("mongodb://ann:s3cret@{server}&connectTimeoutMS=s3cret"),
            "cannot be used",
        ),
    ];
    for (url, words) in cases {
        let broken = TestHome {
            url,
            keys: home.keys.clone(),
            state: tempfile::tempdir().expect("a folder"),
        };
        let error = broken.store(QUICK).await.expect_err("it cannot be opened");
        assert!(
            matches!(&error, StoreError::Failed(said) if said.contains(words) && said.contains("mongodb://") && !said.contains("s3cret")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_store_is_copied_whole_and_only_where_there_is_none() {
    use crate::store::{EmbeddedStore, Place, copy};
    let (home, other) = (TestHome::fresh().await, TestHome::fresh().await);
    let state = tempfile::tempdir().expect("a folder");
    let file = |name: &str| Place::File(state.path().join(name));
    let database = |home: &TestHome| home.url.parse::<Place>().expect("a place");
    let open = async |name: &str| {
        EmbeddedStore::open(
            state.path().join(name),
            Arc::new(KeyFile::open(state.path()).expect("a key")),
        )
        .await
        .expect("open")
    };
    let records: Vec<_> = (0..1500)
        .map(conformance::decision)
        .chain([
            conformance::instance(),
            conformance::service(),
            conformance::container(),
            conformance::image(),
            setting("token", "s3cret"),
        ])
        .collect();
    let first = open("first").await;
    first
        .commit(
            &records
                .iter()
                .cloned()
                .map(|record| put(record, 0))
                .collect::<Vec<_>>(),
        )
        .await
        .expect("commit");
    let (points, events) = a_past();
    first.record(&points).await.expect("recorded");
    first.record_events(&events).await.expect("recorded");
    let refusal = |from: Place, to: Place| async {
        copy(from, to, state.path())
            .await
            .expect_err("a refusal")
            .to_string()
    };

    assert!(
        refusal(file("first"), database(&home))
            .await
            .contains("in use")
    );
    let wanted = first.load().await.expect("load");
    drop(first);
    assert!(
        refusal(file("none"), database(&home))
            .await
            .contains("no store")
    );
    assert!(
        refusal(database(&home), file("second"))
            .await
            .contains("no store")
    );
    let copied = copy(file("first"), database(&home), state.path())
        .await
        .expect("from a file to a database");
    assert_eq!(
        (copied.records["decision"], copied.records["imagecontainer"]),
        (1500, 1)
    );
    assert_eq!(
        (copied.records["samples"], copied.records["events"]),
        (points.len(), events.len()),
        "each once"
    );
    assert!(
        refusal(file("first"), database(&home))
            .await
            .contains("not empty")
    );
    copy(database(&home), database(&other), state.path())
        .await
        .expect("from a database to another");
    copy(database(&other), file("second"), state.path())
        .await
        .expect("from a database to a file");
    copy(file("second"), file("third"), state.path())
        .await
        .expect("from a file to another");
    let third = open("third").await;
    assert_eq!(third.load().await, Ok(wanted));
    assert_eq!(conformance::all_events(&third).await, events);
    for (resolution, instance) in Resolution::ALL
        .into_iter()
        .flat_map(|resolution| ["a", "b"].map(|it| (resolution, it)))
    {
        let of: Vec<Point> = points
            .iter()
            .filter(|it| it.resolution == resolution && it.instance.as_str() == instance)
            .cloned()
            .collect();
        assert_eq!(
            third
                .recall(&conformance::all_of(instance, resolution))
                .await,
            Ok(of)
        );
    }
}

/// Points of two instances over nearly their whole retention, and more events than a piece, many at
/// the same time.
fn a_past() -> (Vec<Point>, Vec<EventRecord>) {
    let now = clock::now().0;
    let at = |resolution: Resolution, part: u64| {
        Timestamp(
            now - u64::try_from(resolution.kept().as_millis()).expect("a month") * part / 1000,
        )
    };
    let of = |resolution: Resolution| {
        (0..950).rev().flat_map(move |part| {
            ["a", "b"].map(|it| {
                conformance::point(it, resolution, at(resolution, part), &["alice_web.1"])
            })
        })
    };
    let ids = (0..7000_u64).map(|number| EventRecord {
        engine_id: format!("{number:08}"),
        ..conformance::event("a", "alice_web", number / 6500, ContainerHappening::Started)
    });
    (
        Resolution::ALL.into_iter().flat_map(of).collect(),
        ids.collect(),
    )
}

#[tokio::test]
async fn eight_megabytes_of_files_are_kept() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let Record::Instance(instance) = conformance::instance() else {
        panic!("an instance")
    };
    let content: Vec<u8> = (0..8 << 20)
        .map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let files = [
        ("first".to_owned(), content[..5 << 20].to_vec()),
        ("second".to_owned(), content[5 << 20..].to_vec()),
    ]
    .into();
    let record = Record::Instance(crate::model::Instance { files, ..instance });
    store
        .commit(&[put(record.clone(), 0), put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    store
        .commit(&[put(record.clone(), 1)])
        .await
        .expect("commit");
    assert_eq!(
        store.load().await.expect("load"),
        [(record, 2), (setting("a", "1"), 1)]
    );
}
