//! The embedded store: the conformance suite, its file, its schema, and SIGKILL.

mod full_disk;
mod sealing;

use super::*;
use crate::store::conformance::{self, Home, conformance, decision, put, setting};
use micado_api::Timestamp;
use micado_core::metrics::{History, Resolution};
use std::{
    cell::Cell,
    io::{BufRead, BufReader, Write as _},
    process::{Command, Stdio},
};

struct TestHome {
    folder: tempfile::TempDir,
    keys: Arc<KeyFile>,
}

#[async_trait::async_trait]
impl Home for TestHome {
    async fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let keys = Arc::new(KeyFile::open(folder.path()).expect("a key"));
        Self { folder, keys }
    }
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(
            EmbeddedStore::open(self.file(), self.keys.clone())
                .await
                .expect("open"),
        )
    }
    async fn history(&self) -> Arc<dyn History> {
        Arc::new(
            EmbeddedStore::open(self.file(), self.keys.clone())
                .await
                .expect("open"),
        )
    }
}

impl TestHome {
    fn file(&self) -> PathBuf {
        self.folder.path().join("micado.redb")
    }
    /// The error of opening, checked to name the file.
    async fn refusal(&self) -> StoreError {
        let error = EmbeddedStore::open(self.file(), self.keys.clone())
            .await
            .expect_err("must be refused");
        assert!(
            error
                .to_string()
                .contains(&self.file().display().to_string()),
            "{error} does not name the file"
        );
        error
    }
}

conformance!(TestHome);

#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    let home = TestHome::fresh().await;
    std::fs::write(home.file(), "").expect("an empty file that anybody may read");
    std::fs::set_permissions(home.file(), Permissions::from_mode(0o644)).expect("mode");
    home.open().await;
    assert_eq!(
        std::fs::metadata(home.file())
            .expect("metadata")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[tokio::test]
async fn a_second_manager_is_refused() {
    let home = TestHome::fresh().await;
    let first = home.open().await;
    let error = home.refusal().await;
    assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
    drop(first);
    home.open().await;
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let home = TestHome::fresh().await;
    for content in ["hello, this is a text\n".repeat(10_000).as_str(), "x"] {
        std::fs::write(home.file(), content).expect("write");
        let error = home.refusal().await;
        assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
        assert_eq!(std::fs::read_to_string(home.file()).expect("read"), content);
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let home = TestHome::fresh().await;
    let database = Database::create(home.file()).expect("create");
    let transaction = database.begin_write().expect("begin");
    transaction
        .open_table(TableDefinition::<u64, u64>::new("theirs"))
        .expect("table");
    transaction.commit().expect("commit");
    drop(database);
    let error = home.refusal().await;
    assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
}

#[tokio::test]
async fn a_folder_is_refused() {
    let home = TestHome::fresh().await;
    std::fs::create_dir(home.file()).expect("folder");
    assert!(matches!(home.refusal().await, StoreError::Failed(_)));
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_begun_afresh() {
    let home = TestHome::fresh().await;
    home.open().await;
    let file = OpenOptions::new()
        .write(true)
        .open(home.file())
        .expect("open");
    file.write_all_at(&[0; 9], 0)
        .expect("the mark that redb writes last is missing");
    drop(file);
    home.open()
        .await
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    assert_eq!(
        home.open().await.load().await,
        Ok(vec![(setting("a", "1"), 1)]),
        "and is kept from then on"
    );
}

#[tokio::test]
async fn a_first_start_killed_before_the_schema_was_written_goes_on() {
    let home = TestHome::fresh().await;
    drop(Database::create(home.file()).expect("a redb file without tables"));
    assert_eq!(home.open().await.load().await, Ok(vec![]));
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let home = TestHome::fresh().await;
    drop(home.open().await);
    let database = Database::create(home.file()).expect("open");
    let transaction = database.begin_write().expect("begin");
    transaction
        .open_table(Table::new("instance"))
        .expect("table")
        .insert("k3x9", (1, b"{}".as_slice()))
        .expect("insert");
    transaction.commit().expect("commit");
    drop(database);
    let error = home.open().await.load().await.expect_err("no instance");
    assert!(
        error
            .to_string()
            .starts_with("instance `k3x9` in the store "),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_of_another_schema_is_refused_and_left_alone() {
    let home = TestHome::fresh().await;
    drop(home.open().await);
    let write_version = |version: u64| {
        let database = Database::create(home.file()).expect("open");
        let transaction = database.begin_write().expect("begin");
        transaction
            .open_table(TableDefinition::<&str, u64>::new("schema"))
            .expect("table")
            .insert("version", version)
            .expect("insert");
        transaction.commit().expect("commit");
    };
    for version in [0, schema::VERSION + 1] {
        write_version(version);
        let error = home.refusal().await;
        let words = format!("has schema {version} and this micado reads schema 1");
        assert!(
            matches!(&error, StoreError::Schema(text) if text.contains(&words)),
            "{error}"
        );
    }
    write_version(schema::VERSION);
    assert_eq!(home.open().await.load().await, Ok(vec![]));
}

#[tokio::test]
async fn a_kind_that_is_newer_than_the_file_is_empty_until_it_is_written() {
    let home = TestHome::fresh().await;
    drop(home.open().await);
    let database = Database::create(home.file()).expect("open");
    let transaction = database.begin_write().expect("begin");
    let deleted = transaction.delete_table(Table::new("imagecontainer"));
    assert!(deleted.expect("deleted"));
    transaction.commit().expect("commit");
    drop(database);
    let store = home.open().await;
    assert_eq!(store.load().await, Ok(vec![]));
    let change = put(conformance::image(), 0);
    store.commit(&[change]).await.expect("commit");
    assert_eq!(store.load().await, Ok(vec![(conformance::image(), 1)]));
}

#[tokio::test]
async fn points_that_are_too_old_are_let_go_of() {
    let home = TestHome::fresh().await;
    let history = home.history().await;
    let hour = 3_600_000;
    let now = Timestamp(1_000 * 24 * hour);
    let ages = [
        (Resolution::Sample, hour),
        (Resolution::Minute, 24 * hour),
        (Resolution::TenMinutes, 30 * 24 * hour),
    ];
    let at = |instance, resolution, age: u64| {
        conformance::point(
            instance,
            resolution,
            Timestamp(now.0 - age),
            &["alice_web.1"],
        )
    };
    for (resolution, kept) in ages {
        // One more than a piece.
        let old = (1..=10_001).map(|age| at("b", resolution, kept + age));
        let points: Vec<_> = [kept + 1, kept, 0]
            .into_iter()
            .flat_map(|age| ["a", "b", "c"].map(|it| at(it, resolution, age)))
            .chain(old)
            .collect();
        history.record(&points).await.expect("recorded");
    }
    history.forget(now).await.expect("let go of");
    drop(history);
    let history = home.history().await;
    for (resolution, kept) in ages {
        for instance in ["a", "b", "c"] {
            let found = history
                .recall(&conformance::all_of(instance, resolution))
                .await;
            assert_eq!(
                found,
                Ok(vec![
                    at(instance, resolution, kept),
                    at(instance, resolution, 0)
                ]),
                "what is not too old of {instance}"
            );
        }
    }
}

/// redb's single writer serves callers in the order of their requests.
#[tokio::test]
async fn a_commit_waits_for_a_piece_of_what_is_forgotten_at_most() {
    let home = TestHome::fresh().await;
    let store = EmbeddedStore::open(home.file(), home.keys.clone())
        .await
        .expect("open");
    let points: Vec<_> = (0..30_000)
        .map(|at| conformance::point("a", Resolution::Sample, Timestamp(at), &[]))
        .collect();
    store.record(&points).await.expect("recorded");
    let (over, mut committed) = (Cell::new(false), 0);
    let forgetting = async {
        store
            .forget(Timestamp(10_000_000))
            .await
            .expect("let go of");
        over.set(true);
    };
    let committing = async {
        while !over.get() {
            store
                .commit(&[put(setting(&committed.to_string(), ""), 0)])
                .await
                .expect("commit");
            committed += 1;
        }
    };
    tokio::join!(forgetting, committing);
    assert_eq!(
        store
            .recall(&conformance::all_of("a", Resolution::Sample))
            .await,
        Ok(vec![])
    );
    assert!(
        committed >= 3,
        "of three pieces and {committed} commits each came between"
    );
}

#[tokio::test]
async fn two_hours_of_points_leaves_a_file_of_bounded_size() {
    let home = TestHome::fresh().await;
    let history = home.history().await;
    // Ten machines report every ten seconds, and expired points are deleted once a minute.
    for turn in 0..720_u64 {
        let now = Timestamp(1_700_000_000_000 + turn * 10_000);
        let points: Vec<_> = (0..50_u64)
            .map(|number| {
                conformance::point(
                    &format!("i{}", number % 10),
                    Resolution::Sample,
                    Timestamp(now.0 + number / 10 * 2000),
                    &["alice_web.1", "bob_db.1"],
                )
            })
            .collect();
        history.record(&points).await.expect("recorded");
        if turn % 6 == 0 {
            history.forget(now).await.expect("let go of");
        }
    }
    let length = std::fs::metadata(home.file()).expect("metadata").len();
    assert!(
        length <= 16 << 20,
        "{length} bytes for an hour of 20 containers"
    );
}

#[tokio::test]
async fn ten_thousand_commits_leave_a_small_file() {
    let home = TestHome::fresh().await;
    let store = home.open().await;
    for n in 0..10_000_u64 {
        // Writes of a running cluster: a changing state, and decisions, of which the newest hundred
        // are kept.
        let mut changes = vec![
            put(setting("state", &n.to_string()), n),
            put(decision(n), 0),
        ];
        changes.extend(
            n.checked_sub(100)
                .map(|old| conformance::delete(Key::Decision(old), 1)),
        );
        store.commit(&changes).await.expect("commit");
    }
    assert_eq!(store.load().await.expect("load").len(), 101);
    let length = std::fs::metadata(home.file()).expect("metadata").len();
    assert!(length <= 4 << 20, "{length} bytes for 101 records");
}

/// Makes the test binary, run again as a child, the writer, and names its file.
const WRITER: &str = "MICADO_TEST_WRITER";

/// A child writes and prints what was acknowledged. It is killed at some point, and all of that
/// must be there. (SIGKILL shows that nothing acknowledged is still in the process, and that an
/// incomplete commit is undone. Durability on the disk rests on redb's sync.)
#[tokio::test]
async fn a_killed_writer_loses_nothing_it_was_promised() {
    if let Some(path) = std::env::var_os(WRITER) {
        return write_until_killed(Path::new(&path)).await;
    }
    // The child has the key while it runs.
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("micado.redb");
    let mut written = 0;
    for kill_after in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args([
                "--exact",
                "store::embedded::tests::a_killed_writer_loses_nothing_it_was_promised",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(WRITER, &file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("child");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"))
            .lines()
            .map_while(Result::ok);
        let mut acknowledged = lines
            .by_ref()
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        let mut last = acknowledged.by_ref().take(kill_after + 1).last();
        child.kill().expect("kill");
        last = acknowledged.last().or(last);
        child.wait().expect("wait");
        let last = last.expect("it wrote");

        let contents = open_beside_key(&file).await.load().await.expect("load");
        let counters: Vec<u64> = contents
            .iter()
            .filter_map(|(record, _)| {
                if let Record::Setting(it) = record {
                    it.value.parse().ok()
                } else {
                    None
                }
            })
            .collect();
        let decisions = contents
            .iter()
            .filter(|(record, _)| matches!(record, Record::Decision(_)))
            .count() as u64;
        assert_eq!(
            counters,
            [decisions, decisions],
            "records that are written together"
        );
        assert!(
            decisions == last || decisions == last + 1,
            "{last} were acknowledged, {decisions} are there"
        );
        assert!(decisions > written);
        written = decisions;
    }
}

async fn open_beside_key(file: &Path) -> EmbeddedStore {
    let keys = KeyFile::open(file.parent().expect("a folder")).expect("a key");
    EmbeddedStore::open(file, Arc::new(keys))
        .await
        .expect("open")
}

/// Writes for ever: the n-th commit adds a decision and sets two counters to n.
async fn write_until_killed(path: &Path) {
    let store = open_beside_key(path).await;
    let mut n = store
        .load()
        .await
        .expect("load")
        .iter()
        .filter(|(record, _)| matches!(record, Record::Decision(_)))
        .count() as u64;
    let mut out = std::io::stdout();
    loop {
        let counter = |name: &str| put(setting(name, &(n + 1).to_string()), n);
        store
            .commit(&[counter("a"), put(decision(n), 0), counter("b")])
            .await
            .expect("commit");
        n += 1;
        // Not `println!`, which a test harness may capture.
        writeln!(out, "acknowledged {n}").expect("the parent listens");
    }
}

#[tokio::test]
async fn old_events_go_and_those_that_are_too_many() {
    let home = TestHome::fresh().await;
    let history = EmbeddedStore::open(home.file(), home.keys.clone())
        .await
        .expect("open");
    let minute = std::time::Duration::from_secs(60);
    let kept = conformance::event(
        "kept",
        "alice_web",
        0,
        micado_api::agent::ContainerHappening::Started,
    );
    history
        .record_events(&[conformance::old_event("old", minute), kept.clone()])
        .await
        .expect("recorded");
    assert_eq!(conformance::all_events(&history).await.len(), 2);
    history
        .forget(crate::clock::now())
        .await
        .expect("forgotten");
    assert_eq!(conformance::all_events(&history).await, [kept]);
    let more: Vec<_> = (1..5)
        .map(|ms| {
            conformance::event(
                "kept",
                "alice_web",
                ms,
                micado_api::agent::ContainerHappening::Started,
            )
        })
        .collect();
    history.record_events(&more).await.expect("recorded");
    assert!(
        !history
            .forget_some_events(crate::clock::now(), 3)
            .expect("forgotten")
    );
    assert_eq!(conformance::all_events(&history).await, more[1..]);
}
