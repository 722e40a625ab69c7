//! What is in the collections: for people to read, and for nobody to steal; and what is no store of ours.

use super::{
    server::{database, free_port, keys},
    *,
};
use crate::store::conformance;
use ::mongodb::{
    Database,
    bson::{Bson, Document, doc},
};
use futures_util::TryStreamExt;
use micado_api::{
    ContainerName, ContainerState, ContainerView, InstanceId, InstanceState, InstanceView, Location, MemoryBytes, NanoCpus, Origin, PricePerHour, Resources,
    ServiceName, Tag, Timestamp,
};

/// The one document of a collection, as a shell shows it.
async fn shown(database: &Database, kind: &str) -> String {
    let mut found: Vec<Document> = database.collection(kind).find(doc! {}).await.expect("find").try_collect().await.expect("read");
    assert_eq!(found.len(), 1, "{kind}: {found:?}");
    let mut document = found.remove(0);
    if let Some(Bson::Binary(_)) = document.get("record") {
        document.insert("record", "(sealed)");
    }
    let fields: String = document.iter().map(|(name, value)| format!("  {name}: {value}\n")).collect();
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
        usage: None,
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
        location: Location::default(),
        address: Some("10.1.0.3".into()),
        ports: vec![],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        created_at: Timestamp(5),
        usage: None,
    }
}

#[tokio::test]
async fn the_collections_read_well_and_tell_no_secrets() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let records = [conformance::instance(), conformance::service(), conformance::container(), conformance::decision(7), setting("token", "s3cret")];
    let changes: Vec<_> = records.into_iter().map(|record| put(record, 0)).collect();
    store.commit(&changes).await.expect("commit");
    let before = store.load().await.expect("load");
    store.show(Timestamp(90_001), &[instance_view()], &[container_view("alice_web.1"), container_view("gone.1")]).await.expect("shown");
    assert_eq!(store.load().await, Ok(before), "what is shown changes no record, and makes none");

    let database = database(&home.url).await;
    let mut all = Vec::new();
    for kind in ["container", "instance", "imagecontainer", "service", "decision", "setting"] {
        all.push(shown(&database, kind).await);
    }
    insta::assert_snapshot!("collections", all.join("\n"));

    // The environment, the arguments, a person's files (as numbers too), a setting's value.
    for kind in database.list_collection_names().await.expect("names") {
        let documents: Vec<Document> = database.collection(&kind).find(doc! {}).await.expect("find").try_collect().await.expect("read");
        for document in documents {
            let bytes = document.to_vec().expect("BSON");
            for secret in ["s3cret", "PORT=8080", "a b", "data.bin", "[0,1,254,255]", "log_tail"] {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{kind} tells `{secret}`");
            }
        }
    }
}

/// The words of the `Schema` error that opening ends with.
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
    theirs.collection("instance").insert_one(doc! { "_id": "vm-1" }).await.expect("inserted");
    assert!(schema_error(&home).await.contains("`instance` of another program"));
    assert_eq!(theirs.list_collection_names().await.expect("names"), ["instance"]);

    let home = TestHome::fresh().await;
    home.store(QUICK).await.expect("made").close().await;
    let (_state, other) = keys();
    let stranger = TestHome { url: home.url.clone(), keys: other, _state: tempfile::tempdir().expect("a folder") };
    assert!(schema_error(&stranger).await.contains("another key"));

    let ours = database(&home.url).await;
    ours.collection::<Document>("schema").update_one(doc! {}, doc! { "$set": { "version": 3 } }).await.expect("updated");
    assert!(schema_error(&home).await.contains("has schema 3 and this micado knows up to 2"));
}

#[tokio::test]
async fn a_record_that_was_changed_by_hand_is_named() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    store.commit(&[put(setting("a", "1"), 0), put(setting("b", "2"), 0)]).await.expect("commit");
    let database = database(&home.url).await;
    let settings = database.collection::<Document>("setting");
    let other = settings.find_one(doc! { "_id": "b" }).await.expect("find").expect("there");
    settings.update_one(doc! { "_id": "a" }, doc! { "$set": { "record": other.get("record") } }).await.expect("updated");
    let error = store.load().await.expect_err("it is b's record");
    assert!(error.to_string().starts_with("setting `a` in the store mongodb://"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_or_is_not_there_is_named_without_the_password() {
    let home = TestHome::fresh().await;
    let server = home.url.trim_start_matches("mongodb://").to_owned();
    let nobody = format!("127.0.0.1:{}", free_port());
    let cases = [
        (format!("mongodb://ann:s3cret@{server}"), "lets nobody in"),
        (format!("mongodb://ann:s3cret@{nobody}/db"), "does not answer"),
        (format!("mongodb://ann:s3cret@@{server}"), "cannot be used"),
        (format!("mongodb://ann:s3cret@{server}&connectTimeoutMS=s3cret"), "cannot be used"),
    ];
    for (url, words) in cases {
        let broken = TestHome { url, keys: home.keys.clone(), _state: tempfile::tempdir().expect("a folder") };
        let error = broken.store(QUICK).await.expect_err("it cannot be opened");
        assert!(matches!(&error, StoreError::Failed(said) if said.contains(words) && said.contains("mongodb://") && !said.contains("s3cret")), "{error:?}");
    }
}

#[tokio::test]
async fn a_store_is_copied_whole_and_only_where_there_is_none() {
    use crate::store::{EmbeddedStore, Place, copy};
    let home = TestHome::fresh().await;
    let state = tempfile::tempdir().expect("a folder");
    let file = |name: &str| Place::File(state.path().join(name));
    let database: Place = home.url.parse().expect("a place");
    let records: Vec<_> = (0..1500).map(conformance::decision).chain([conformance::instance(), conformance::service(), conformance::container()]).collect();
    let first = EmbeddedStore::open(state.path().join("first")).await.expect("open");
    first.commit(&records.iter().cloned().map(|record| put(record, 0)).collect::<Vec<_>>()).await.expect("commit");
    let refusal = |from: Place, to: Place| async { copy(from, to, state.path()).await.expect_err("a refusal").to_string() };

    assert!(refusal(file("first"), database.clone()).await.contains("in use"));
    let wanted = first.load().await.expect("load");
    drop(first);
    assert!(refusal(file("none"), database.clone()).await.contains("no store"));
    assert!(refusal(database.clone(), file("second")).await.contains("no store"));
    let copied = copy(file("first"), database.clone(), state.path()).await.expect("copied");
    assert_eq!(copied.records["decision"], 1500);
    assert!(refusal(file("first"), database.clone()).await.contains("not empty"));
    copy(database, file("second"), state.path()).await.expect("and back");
    assert_eq!(EmbeddedStore::open(state.path().join("second")).await.expect("open").load().await, Ok(wanted));
}
