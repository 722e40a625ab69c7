//! Records sealed in the file: nothing that may be secret is in it in clear, nor is it after an
//! upgrade from a schema that had it so.

use super::*;
use crate::store::conformance::instance;
use redb::Builder;

const SECRET: &str = "s3cret-of-a-setting";

/// A store as micado wrote it when records lay in clear.
pub(in crate::store) fn schema_one(file: &Path, records: &[Record]) {
    let database = Builder::new().create(file).expect("create");
    let transaction = database.begin_write().expect("begin");
    for kind in KINDS.into_iter().filter(|kind| *kind != "imagecontainer") {
        let mut table = transaction.open_table(Table::new(kind)).expect("table");
        for record in records.iter().filter(|record| record.key().kind() == kind) {
            table
                .insert(
                    record.key().id().as_str(),
                    (1, record.encode().expect("JSON").as_slice()),
                )
                .expect("insert");
        }
    }
    transaction
        .open_table(TableDefinition::<&str, u64>::new("schema"))
        .expect("table")
        .insert("version", 1)
        .expect("insert");
    transaction.commit().expect("commit");
}

/// As before, after a life in which settings went and decisions came: these are behind the pages in
/// which those were.
fn schema_one_with_a_past(file: &Path) -> Contents {
    let many = (0..200).map(|n| setting(&format!("s{n}"), &format!("{SECRET} {n}")));
    schema_one(
        file,
        &many
            .chain([instance(), setting("token", SECRET)])
            .collect::<Vec<_>>(),
    );
    let database = Builder::new().open(file).expect("open");
    let transaction = database.begin_write().expect("begin");
    let mut decisions = transaction
        .open_table(Table::new("decision"))
        .expect("table");
    for record in (0..200).map(decision) {
        decisions
            .insert(
                record.key().id().as_str(),
                (1, record.encode().expect("JSON").as_slice()),
            )
            .expect("insert");
    }
    drop(decisions);
    let mut settings = transaction
        .open_table(Table::new("setting"))
        .expect("table");
    for n in 0..200 {
        settings.remove(format!("s{n}").as_str()).expect("remove");
    }
    drop(settings);
    transaction.commit().expect("commit");
    [(instance(), 1)]
        .into_iter()
        .chain((0..200).map(|n| (decision(n), 1)))
        .chain([(setting("token", SECRET), 1)])
        .collect()
}

fn tells(file: &Path, secret: &str) -> bool {
    std::fs::read(file)
        .expect("read")
        .windows(secret.len())
        .any(|part| part == secret.as_bytes())
}

#[tokio::test]
async fn nothing_that_is_secret_is_in_the_file() {
    let home = TestHome::fresh().await;
    let store = home.open().await;
    for version in 0..3 {
        store
            .commit(&[
                put(setting("token", &format!("{SECRET} {version}")), version),
                put(instance(), version),
            ])
            .await
            .expect("commit");
    }
    drop(store);
    for secret in [SECRET, "data.bin", "the broker's own words"] {
        assert!(!tells(&home.file(), secret), "{secret}");
    }
}

#[tokio::test]
async fn a_store_in_clear_is_sealed_and_nothing_of_it_lingers() {
    let home = TestHome::fresh().await;
    let wanted = schema_one_with_a_past(&home.file());
    let deleted = (0..200).any(|n| tells(&home.file(), &format!("{SECRET} {n}")));
    assert!(
        deleted && tells(&home.file(), &format!("\"{SECRET}\"")),
        "or the test is worth nothing"
    );
    for _ in 0..2 {
        assert_eq!(home.open().await.load().await, Ok(wanted.clone()));
        assert!(!tells(&home.file(), SECRET));
    }
    let names: Vec<_> = std::fs::read_dir(home.folder.path())
        .expect("read")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names.len(), 2, "the store and its key: {names:?}");
    assert_eq!(
        std::fs::metadata(home.file())
            .expect("metadata")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    home.history()
        .await
        .record(&[conformance::point(
            "a",
            micado_core::metrics::Resolution::Sample,
            Timestamp(1),
            &[],
        )])
        .await
        .expect("it keeps points now");
}

/// Killed after the records were sealed in place, in the middle of writing the new file.
#[tokio::test]
async fn an_upgrade_that_was_killed_is_carried_on() {
    let home = TestHome::fresh().await;
    let wanted = schema_one_with_a_past(&home.file());
    let database = super::super::database(&home.file()).expect("open");
    let remains = schema::upgrade(&home.file(), &database, &home.keys, MIGRATIONS).expect("sealed");
    assert_eq!(remains, schema::Remains::OfBefore);
    drop(database);
    let beside = home.file().with_added_extension("new");
    std::fs::write(&beside, "half a file").expect("write");

    assert_eq!(home.open().await.load().await, Ok(wanted));
    assert!(!tells(&home.file(), SECRET) && !beside.exists());
}

#[tokio::test]
async fn a_link_to_the_file_stays_and_what_it_leads_to_is_sealed() {
    let home = TestHome::fresh().await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("data.redb");
    let wanted = schema_one_with_a_past(&file);
    std::os::unix::fs::symlink(&file, home.file()).expect("a link");
    assert_eq!(home.open().await.load().await, Ok(wanted));
    assert!(home.file().is_symlink() && !tells(&file, SECRET));
    assert_eq!(
        std::fs::read_dir(elsewhere.path()).expect("read").count(),
        1,
        "nothing else is left there"
    );
}

/// As one that is a mount, which the kernel lets nobody rename over.
#[tokio::test]
async fn a_file_that_cannot_be_replaced_goes_on_sealed() {
    let home = TestHome::fresh().await;
    let wanted = schema_one_with_a_past(&home.file());
    let database = super::super::database(&home.file()).expect("open");
    schema::upgrade(&home.file(), &database, &home.keys, MIGRATIONS).expect("sealed");
    let database = rewrite::rewrite(&home.file(), database, |_, _| {
        Err(io::ErrorKind::ResourceBusy.into())
    })
    .expect("it goes on");
    assert!(
        matches!(home.refusal().await, StoreError::InUse(_)),
        "it is still locked"
    );
    assert!(!home.file().with_added_extension("new").exists());
    drop(database);
    assert_eq!(home.open().await.load().await, Ok(wanted));
    assert!(
        !tells(&home.file(), SECRET),
        "and it is replaced once that can be done"
    );
}

/// Of whatever key it will be: only the manager that it is of says so.
#[tokio::test]
async fn a_copy_leaves_both_files_as_they_are_where_they_hold_something() {
    use crate::store::{Place, copy};
    let (home, stranger) = (
        TestHome::fresh().await,
        tempfile::tempdir().expect("a folder"),
    );
    let wanted = schema_one_with_a_past(&home.file());
    let (full, empty) = (stranger.path().join("full"), stranger.path().join("empty"));
    schema_one(&full, &[setting("a", SECRET)]);
    let to = async |target: &Path| {
        copy(
            Place::File(home.file()),
            Place::File(target.to_owned()),
            stranger.path(),
        )
        .await
    };
    assert!(
        to(&full)
            .await
            .expect_err("a refusal")
            .to_string()
            .contains("not empty")
    );
    assert_eq!(to(&empty).await.expect("copied").records["decision"], 200);
    for (file, secret) in [
        (home.file(), format!("\"{SECRET}\"")),
        (full, SECRET.to_owned()),
    ] {
        assert!(
            tells(&file, &secret),
            "{} is in clear still",
            file.display()
        );
    }
    assert!(!tells(&empty, SECRET));
    assert_eq!(
        home.open().await.load().await,
        Ok(wanted),
        "and is sealed with its own key"
    );

    let blank = stranger.path().join("blank");
    std::fs::write(&blank, "").expect("write");
    assert!(
        copy(
            Place::File(blank.clone()),
            Place::File(empty),
            stranger.path()
        )
        .await
        .expect_err("a refusal")
        .to_string()
        .contains("nothing in")
    );
    assert_eq!(std::fs::metadata(&blank).expect("metadata").len(), 0);
}

#[tokio::test]
async fn a_store_of_another_key_is_refused_and_left_alone() {
    let home = TestHome::fresh().await;
    home.open()
        .await
        .commit(&[put(setting("token", SECRET), 0)])
        .await
        .expect("commit");
    let other = TestHome::fresh().await;
    let error = EmbeddedStore::open(home.file(), other.keys.clone())
        .await
        .expect_err("another key");
    assert!(
        matches!(&error, StoreError::Schema(words) if words.contains("another key") && words.contains("store.key")),
        "{error}"
    );
    assert_eq!(
        home.open().await.load().await,
        Ok(vec![(setting("token", SECRET), 1)])
    );
}

#[tokio::test]
async fn records_that_were_exchanged_are_found_out() {
    let home = TestHome::fresh().await;
    home.open()
        .await
        .commit(&[put(setting("a", "1"), 0), put(setting("b", "2"), 0)])
        .await
        .expect("commit");
    let database = Database::create(home.file()).expect("open");
    let transaction = database.begin_write().expect("begin");
    let mut settings = transaction
        .open_table(Table::new("setting"))
        .expect("table");
    let other = settings
        .get("b")
        .expect("get")
        .expect("there")
        .value()
        .1
        .to_vec();
    settings.insert("a", (1, other.as_slice())).expect("insert");
    drop(settings);
    transaction.commit().expect("commit");
    drop(database);
    let error = home
        .open()
        .await
        .load()
        .await
        .expect_err("it is b's record");
    assert!(
        error.to_string().starts_with("setting `a` in the store "),
        "{error}"
    );
}
