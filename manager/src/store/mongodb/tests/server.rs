//! Real MongoDB servers for the tests, run by `scripts/mongod` and gone when the test process is, however it ends.

use crate::store::{KeyFile, Place, Url};
use ::mongodb::{Client, Database, bson::doc};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

/// The URL of a server that is there for all tests of a run; without it every test process starts one of its own.
const SHARED: &str = "MICADO_TEST_MONGODB";

/// More flags for the servers that `scripts/mongod` starts.
const FLAGS: &str = "MONGOD_FLAGS";

/// A replica set of one member or of several.
pub struct Server {
    folder: PathBuf,
    pub ports: Vec<u16>,
    runner: Child,
    // Its end is what tells the runner to stop.
    open: Option<ChildStdin>,
    _parent: TempDir,
}

impl Server {
    pub fn start(members: usize) -> Self {
        Self::start_with(members, &[])
    }

    /// With more flags.
    pub fn start_with(members: usize, flags: &[String]) -> Self {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("mongod");
        let ports: Vec<u16> = (0..members).map(|_| free_port()).collect();
        let mut runner =
            script("run", &folder, &ports).env(FLAGS, flags.join(" ")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("scripts/mongod runs");
        let open = runner.stdin.take();
        let mut said = String::new();
        BufReader::new(runner.stdout.take().expect("its output")).read_line(&mut said).expect("it speaks");
        assert_eq!(said, "ready\n", "scripts/mongod: see what it says above");
        Self { folder, ports, runner, open, _parent: parent }
    }

    /// A URL of a database of this set.
    pub fn url(&self, database: &str) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("mongodb://{}/{database}?replicaSet=rs0", hosts.join(","))
    }

    /// Kills a member as a power cut would.
    pub fn kill(&self, port: u16) {
        let pid = std::fs::read_to_string(self.folder.join(format!("{port}.pid"))).expect("its pid");
        let pid = pid.split_whitespace().next().expect("a pid");
        assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill runs").success());
    }

    /// Starts the members that do not run, on the data that they left.
    pub fn restart(&self) {
        assert!(script("start", &self.folder, &self.ports).status().expect("scripts/mongod runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.open.take());
        self.runner.wait().expect("scripts/mongod ends");
    }
}

/// Not one that the system gives to outgoing connections, or it may be taken while a server that was killed is away.
pub fn free_port() -> u16 {
    let mut drawn = std::iter::repeat_with(|| rand::random_range(15_000..30_000));
    drawn.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("drawn for ever")
}

fn script(verb: &str, folder: &std::path::Path, ports: &[u16]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/mongod"));
    command.arg(verb).arg(folder).args(ports.iter().map(u16::to_string));
    command
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URL of a database that no other test has, on the server that tests share.
pub fn fresh_url() -> String {
    // Never dropped: its runner sees the end of this process.
    static OWN: LazyLock<Server> = LazyLock::new(|| Server::start(1));
    let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    match std::env::var(SHARED) {
        Ok(url) => url.replacen("/?", &format!("/{name}?"), 1),
        Err(_) => OWN.url(&name),
    }
}

pub fn url(text: &str) -> Url {
    match text.parse() {
        Ok(Place::MongoDb(url)) => url,
        other => panic!("`{text}` is {other:?}"),
    }
}

/// A state folder's key.
pub fn keys() -> (TempDir, Arc<KeyFile>) {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = Arc::new(KeyFile::open(folder.path()).expect("a key"));
    (folder, keys)
}

/// The database as somebody else sees it.
pub async fn database(url: &str) -> Database {
    let client = Client::with_uri_str(url).await.expect("a client");
    client.default_database().expect("the URL names a database")
}

/// Makes commands of clients of this name fail; see `configureFailPoint` of MongoDB.
pub async fn fail(url: &str, app: &str, times: i32, mut how: ::mongodb::bson::Document) {
    how.insert("appName", app);
    let command = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": how };
    database(url).await.client().database("admin").run_command(command).await.expect("the server takes test commands");
}
