//! A server that fails, hangs, dies, steps down, or loses replies: acknowledged commits stay, and
//! nothing is done partly or twice.

use super::{
    server::{Server, database, fail},
    *,
};
use crate::store::{Change, Key};
use ::mongodb::bson::doc;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};
use tokio::task::JoinSet;

/// Shorter time-outs still: every lasting fault costs them.
const IMPATIENT: Pace = Pace {
    answer: Duration::from_millis(800),
    lease: Duration::from_secs(2),
};

/// Two records that are written together.
fn both(value: u64, expected: u64) -> [Change; 2] {
    ["a", "b"].map(|name| put(setting(name, &value.to_string()), expected))
}

/// Returns the settings once the store answers again, waiting as the manager would: the driver
/// checks a failed server twice a second.
async fn settings_again(store: &MongoStore) -> Vec<(String, String, u64)> {
    let begun = Instant::now();
    while let Err(error) = store.load().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
    }
    settings(store).await
}

/// Commits under a fault that `lift` ends. Checks that it was done completely or not at all, and
/// that a repetition by version makes no duplicate.
async fn commit_under_fault(
    store: &MongoStore,
    version: &mut u64,
    what: &str,
    lift: impl Future<Output = ()>,
) -> bool {
    let (before, value) = (*version, *version + 1);
    let outcome = store.commit(&both(value, before)).await;
    lift.await;
    assert!(
        matches!(outcome, Ok(()) | Err(StoreError::Failed(_))),
        "{what}: {outcome:?}"
    );
    let done = |version: u64| {
        vec![
            ("a".to_owned(), version.to_string(), version),
            ("b".to_owned(), version.to_string(), version),
        ]
    };
    let found = settings_again(store).await;
    assert!(
        found == done(value) || (outcome.is_err() && found == done(before)),
        "{what}: {outcome:?}, and then {found:?}"
    );
    let again = store.commit(&both(value, before)).await;
    match found == done(value) {
        true => assert!(
            matches!(again, Err(StoreError::Conflict(Key::Setting(_)))),
            "{what}: {again:?}"
        ),
        false => assert_eq!(again, Ok(()), "{what}"),
    }
    assert_eq!(settings(store).await, done(value), "{what}");
    *version = value;
    outcome.is_ok()
}

#[tokio::test]
async fn whatever_the_server_says_nothing_is_half_done() {
    let server = Server::start(1);
    let url = format!("{}&appName=faulty", server.url("faults"));
    let home = TestHome::at(url.clone());
    let store = home.store(IMPATIENT).await.expect("open");
    store.commit(&both(1, 0)).await.expect("commit");
    let mut version = 1;
    let off = || async {
        let command = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        database(&server.url("faults"))
            .await
            .client()
            .database("admin")
            .run_command(command)
            .await
            .expect("off");
    };
    let cut = || doc! { "closeConnection": true };
    let error = |code: i32| doc! { "errorCode": code };
    // Stepped down, shutting down, a write conflict, and an unknown code.
    let transient = [
        cut(),
        error(10107),
        error(91),
        doc! { "errorCode": 112, "errorLabels": ["TransientTransactionError"] },
    ];
    let passing = ["update", "find", "commitTransaction"]
        .into_iter()
        .flat_map(|command| transient.iter().map(move |how| (command, 1, how.clone())));
    let lasting = [
        ("update", 1000, cut()),
        ("commitTransaction", 1000, cut()),
        ("commitTransaction", 1000, error(91)),
        ("commitTransaction", 1, error(8000)),
        ("update", 1, error(8000)),
        (
            "commitTransaction",
            1,
            doc! { "writeConcernError": { "code": 91, "errmsg": "as the test wants it" } },
        ),
        // Hangs for longer than our time-out, then executes the command.
        (
            "commitTransaction",
            1,
            doc! { "blockConnection": true, "blockTimeMS": 1500 },
        ),
        (
            "update",
            1,
            doc! { "blockConnection": true, "blockTimeMS": 1500 },
        ),
    ];
    for (command, times, mut how) in passing.chain(lasting) {
        how.insert("failCommands", [command]);
        let what = format!("{command} {how}");
        fail(&url, "faulty", times, how).await;
        commit_under_fault(&store, &mut version, &what, off()).await;
    }
}

/// A proxy that breaks connections after the server has answered a commit: the reply is lost.
struct Thief {
    port: u16,
    left: Arc<AtomicU32>,
}

impl Thief {
    async fn start(server: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let left = Arc::new(AtomicU32::new(0));
        let steals = left.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Self::pass(client, server, steals.clone()));
            }
        });
        Self { port, left }
    }

    async fn pass(
        mut client: tokio::net::TcpStream,
        server: u16,
        left: Arc<AtomicU32>,
    ) -> std::io::Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        const COMMIT: &[u8] = b"commitTransaction";
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", server)).await?;
        let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut steal = false;
        loop {
            tokio::select! {
                length = client.read(&mut asked) => {
                    let asked = &asked[..length?];
                    if asked.is_empty() {
                        return Ok(());
                    }
                    steal = asked.windows(COMMIT.len()).any(|part| part == COMMIT);
                    server.write_all(asked).await?;
                }
                length = server.read(&mut answered) => {
                    let answered = &answered[..length?];
                    let stolen = steal && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
                    if answered.is_empty() || stolen {
                        return Ok(());
                    }
                    client.write_all(answered).await?;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_was_done_once() {
    let server = Server::start(1);
    let thief = Thief::start(server.ports()[0]).await;
    let home = TestHome::at(format!(
        "mongodb://127.0.0.1:{}/lost?directConnection=true",
        thief.port
    ));
    let store = home.store(QUICK).await.expect("open");
    store.commit(&both(1, 0)).await.expect("commit");
    let mut version = 1;
    for (stolen, survives) in [(1, true), (2, true), (u32::MAX, false)] {
        thief.left.store(stolen, Ordering::Relaxed);
        let lift = async { thief.left.store(0, Ordering::Relaxed) };
        let ok = commit_under_fault(
            &store,
            &mut version,
            &format!("{stolen} answers lost"),
            lift,
        )
        .await;
        assert_eq!(ok, survives, "{stolen} answers lost");
    }
}

/// Concurrent writers, each counting in a setting of its own, and their acknowledged counts.
struct Writers {
    tasks: JoinSet<()>,
    acknowledged: Arc<Mutex<Vec<u64>>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Writers {
    const COUNT: usize = 4;

    fn start(store: &Arc<MongoStore>) -> Self {
        let (acknowledged, stop) = (
            Arc::new(Mutex::new(vec![0; Self::COUNT])),
            tokio::sync::watch::Sender::new(false),
        );
        let mut tasks = JoinSet::new();
        for writer in 0..Self::COUNT {
            tasks.spawn(Self::write(
                writer,
                store.clone(),
                acknowledged.clone(),
                stop.subscribe(),
            ));
        }
        Self {
            tasks,
            acknowledged,
            stop,
        }
    }

    /// Counts up. After a failure, reads the count: it is at least the acknowledged one and at most
    /// the last requested one.
    async fn write(
        writer: usize,
        store: Arc<MongoStore>,
        acknowledged: Arc<Mutex<Vec<u64>>>,
        stop: tokio::sync::watch::Receiver<bool>,
    ) {
        let name = format!("writer{writer}");
        let mut count = 0;
        while !*stop.borrow() {
            match store
                .commit(&[put(setting(&name, &(count + 1).to_string()), count)])
                .await
            {
                Ok(()) => count += 1,
                Err(StoreError::Failed(_)) => {
                    let contents = match store.load().await {
                        Ok(contents) => contents,
                        Err(StoreError::Failed(_)) => continue,
                        Err(error) => panic!("the manager would end: {error}"),
                    };
                    let found = contents
                        .iter()
                        .find(|(record, _)| record.key() == Key::Setting(name.clone()));
                    let (value, version) = found.map_or((0, 0), |(record, version)| match record {
                        Record::Setting(it) => (it.value.parse().expect("a number"), *version),
                        other => panic!("{other:?}"),
                    });
                    assert_eq!(value, version, "every write counts once");
                    assert!(
                        value == count || value == count + 1,
                        "{name}: {count} were acknowledged, {value} are there"
                    );
                    count = value;
                }
                Err(error) => panic!("{error}"),
            }
            acknowledged.lock().expect("no writer has failed")[writer] = count;
        }
    }

    /// Waits until every writer has this many more acknowledged counts.
    async fn until_more(&self, more: u64) {
        let begun = Instant::now();
        let counts = || {
            self.acknowledged
                .lock()
                .expect("no writer has failed")
                .clone()
        };
        let goal: Vec<u64> = counts().iter().map(|count| count + more).collect();
        while counts().iter().zip(&goal).any(|(count, goal)| count < goal) {
            assert!(
                begun.elapsed() < Duration::from_secs(40),
                "{:?} of {goal:?}",
                counts()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the writers and checks that all acknowledged counts are stored.
    async fn finish(mut self, store: &MongoStore) {
        self.stop.send_replace(true);
        while let Some(writer) = self.tasks.join_next().await {
            writer.expect("a writer");
        }
        let promised = self
            .acknowledged
            .lock()
            .expect("no writer has failed")
            .clone();
        let there: Vec<u64> = settings(store)
            .await
            .into_iter()
            .map(|(_, value, _)| value.parse().expect("a number"))
            .collect();
        assert_eq!(there, promised);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_it_acknowledged() {
    let server = Server::start(1);
    let home = TestHome::at(server.url("kill"));
    let store = Arc::new(home.store(QUICK).await.expect("open"));
    let writers = Writers::start(&store);
    for _ in 0..2 {
        writers.until_more(20).await;
        server.signal(server.ports()[0], "-KILL");
        server.restart();
    }
    writers.until_more(20).await;
    writers.finish(&store).await;
}

/// Kills the primary under load; the writers must continue by themselves.
async fn kill_the_primary(server: &Server, database_name: &str, pace: Pace) -> Arc<MongoStore> {
    let home = TestHome::at(server.url(database_name));
    let store = Arc::new(home.store(pace).await.expect("open"));
    let writers = Writers::start(&store);
    writers.until_more(20).await;
    let hello = database(&home.url)
        .await
        .run_command(doc! { "hello": 1 })
        .await
        .expect("an answer");
    let primary = hello
        .get_str("primary")
        .expect("a primary")
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    server.signal(primary, "-KILL");
    writers.until_more(20).await;
    writers.finish(&store).await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_whose_primary_is_killed_goes_on() {
    kill_the_primary(&Server::start(3), "primary", QUICK).await;
}

/// With MongoDB's defaults, the set is without a primary for longer than the time-out of a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_may_take_longer_than_a_commit() {
    let server = Server::start(3);
    let admin = database(&server.url("admin")).await;
    let found = admin
        .run_command(doc! { "replSetGetConfig": 1 })
        .await
        .expect("the set's settings");
    let mut config = found.get_document("config").expect("settings").clone();
    config.insert("version", config.get_i32("version").expect("a number") + 1);
    config
        .get_document_mut("settings")
        .expect("settings")
        .insert("electionTimeoutMillis", 10_000);
    admin
        .run_command(doc! { "replSetReconfig": config })
        .await
        .expect("taken");
    let begun = Instant::now();
    let store = kill_the_primary(&server, "elected", Pace::default()).await;
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "or the test is worth nothing: {:?}",
        begun.elapsed()
    );
    tokio::time::timeout(Duration::from_millis(100), store.lost())
        .await
        .expect_err("it is ours");
}

#[tokio::test]
async fn a_manager_that_is_cut_off_knows_it_before_another_may_take_over() {
    let server = Server::start(1);
    let home = TestHome::at(server.url("cut"));
    let store = home.store(QUICK).await.expect("open");
    store
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    let begun = Instant::now();
    server.signal(server.ports()[0], "-KILL");
    let lost = tokio::time::timeout(QUICK.lease + Duration::from_millis(500), store.lost())
        .await
        .expect("it is told");
    assert!(matches!(lost, StoreError::Failed(_)), "{lost:?}");
    let refused = store
        .commit(&[put(setting("a", "2"), 1)])
        .await
        .expect_err("nothing is decided on what it knew");
    assert_eq!(refused, lost, "and who wants to is told the same");
    assert!(store.load().await.is_err());
    assert!(
        begun.elapsed() < QUICK.lease + QUICK.answer * 3,
        "none of it takes for ever: {:?}",
        begun.elapsed()
    );
    server.restart();
    assert_eq!(settings(&store).await, [("a".into(), "1".into(), 1)]);
    tokio::time::timeout(Duration::from_millis(100), store.lost())
        .await
        .expect_err("it is ours again");
    store
        .commit(&[put(setting("a", "2"), 1)])
        .await
        .expect("commit");
}
