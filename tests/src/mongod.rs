//! MongoDB for clusters under test: a database on the server that tests share, or a server of a test's own, which may be frozen and killed.

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::ClientOptions,
};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// The URL of a server that is there for all tests of a run; without it a test starts one of its own.
const SHARED: &str = "MICADO_TEST_MONGODB";
/// For looking into a database, and for dropping it: a server that is gone keeps no test waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the records of a cluster under test are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Store {
    /// In a file of the state folder.
    #[default]
    Embedded,
    /// In a database of the cluster's own.
    MongoDb,
    /// In a database of a server of the cluster's own: see [`Mongod::freeze`] and [`Mongod::kill`].
    OwnServer,
}

/// The database of one cluster, dropped with this.
#[derive(Debug)]
pub struct Mongod {
    url: String,
    server: Option<Server>,
}

impl Mongod {
    /// A database for the cluster of this folder, if its records are to be in one.
    pub(crate) fn start(store: Store, folder: &Path) -> Option<Self> {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).expect("a folder with a name");
        let shared = std::env::var(SHARED).ok().filter(|_| store == Store::MongoDb);
        match (store, shared) {
            (Store::Embedded, _) => None,
            (_, Some(url)) => Some(Self { url: url.replacen("/?", &format!("/{name}?"), 1), server: None }),
            (_, None) => {
                let server = Server::start(&folder.join("mongod"));
                Some(Self { url: format!("mongodb://127.0.0.1:{}/{name}?replicaSet=rs0", server.port), server: Some(server) })
            }
        }
    }

    /// What the manager is told of it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All documents of a collection, as a person sees them: without the sealed records.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn documents(&self, collection: &str) -> Vec<Document> {
        let database = database(&self.url).await.expect("a URL");
        let found = database.collection::<Document>(collection).find(doc! {}).projection(doc! { "record": 0 }).await;
        let documents = futures_util::TryStreamExt::try_collect(found.expect("the server answers")).await.expect("the documents");
        database.client().clone().shutdown().await;
        documents
    }

    /// Its server answers nobody until [`Mongod::thaw`], and breaks no connection.
    pub fn freeze(&self) {
        self.own().signal("-STOP");
    }

    /// Its server goes on.
    pub fn thaw(&self) {
        self.own().signal("-CONT");
    }

    /// Its server dies as of a power cut.
    pub fn kill(&self) {
        self.own().signal("-KILL");
    }

    /// Starts its server again on what it left.
    ///
    /// # Panics
    /// When it does not take writes within half a minute.
    pub fn restart(&self) {
        let Server { folder, port, .. } = self.own();
        assert!(script("start", folder, *port).status().expect("scripts/mongod runs").success());
    }

    fn own(&self) -> &Server {
        self.server.as_ref().expect("`Store::OwnServer` was asked for")
    }

    /// Whoever shares the server does not find what we left.
    async fn drop_database(&self) -> mongodb::error::Result<()> {
        let database = database(&self.url).await?;
        database.drop().await?;
        database.client().clone().shutdown().await;
        Ok(())
    }
}

async fn database(url: &str) -> mongodb::error::Result<Database> {
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(PATIENCE);
    let client = Client::with_options(options)?;
    Ok(client.default_database().expect("the URL names a database"))
}

impl Drop for Mongod {
    /// On a thread and a runtime of its own, as all that a cluster leaves is removed.
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async { tokio::time::timeout(PATIENCE, self.drop_database()).await.ok()?.ok() })
        };
        if !matches!(std::thread::scope(|scope| scope.spawn(work).join()), Ok(Some(()))) {
            eprintln!("the database of {} stays behind", self.url);
        }
    }
}

/// A server that is gone when this process is, however it ends.
#[derive(Debug)]
struct Server {
    folder: PathBuf,
    port: u16,
    runner: Child,
    // Its end is what tells the runner to stop.
    open: Option<ChildStdin>,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let mut runner = script("run", folder, port).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("scripts/mongod runs");
        let open = runner.stdin.take();
        let mut said = String::new();
        BufReader::new(runner.stdout.take().expect("its output")).read_line(&mut said).expect("it speaks");
        assert_eq!(said, "ready\n", "scripts/mongod: see what it says above");
        Self { folder: folder.to_owned(), port, runner, open }
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.join(format!("{}.pid", self.port))).expect("its pid");
        let pid = pid.split_whitespace().next().expect("a pid");
        assert!(Command::new("kill").args([signal, pid]).status().expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Err(error) = self.runner.wait() {
            eprintln!("scripts/mongod on {}: {error}", self.folder.display());
        }
    }
}

/// Not one that the system gives to outgoing connections, or it may be taken while a server that was killed is away. Test processes begin at different ones.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 1000).unwrap_or_default() * 15;
    let mut candidates = std::iter::repeat_with(|| 15_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 15_000);
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("it goes on for ever")
}

fn script(verb: &str, folder: &Path, port: u16) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/mongod"));
    command.arg(verb).arg(folder).arg(port.to_string());
    command
}
