//! A manager as the daemon builds it (store, runtime, jobs and API) on a fake engine and a fake
//! cloud.

use crate::fake::{FakeCloud, FakeEngine, IMAGE, instance};
use axum_server::tls_rustls::RustlsConfig;
use bollard::{API_DEFAULT_VERSION, Docker};
use micado_api::{
    AntiAffinity, CloudName, ClusterId, ContainerState, LaunchRequest, Location, MemoryBytes,
    NanoCpus, Resources, RestartPolicy, ServiceSpec, Unnamed,
};
use micado_cloudsetup::{Broker, CloudSetup};
use micado_manager::{
    api::{Api, ApiState, Gate, Listen, Token},
    build::Builds,
    control::{
        Config, Handle,
        runtime::{Effects, JoinConfig, Runtime, ticker},
    },
    metrics::{History, Metrics, Refresh},
    pki::Pki,
    registry::{ExternalRegistry, Registry},
    store::{Change, EmbeddedStore, KeyFile, MongoStore, Place, Record, Store, StoreError},
};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{interval, sleep},
};

/// Machines of the cluster.
pub const MACHINES: usize = 1000;

/// The clouds; machines are there already.
const SETUP: &str = "<s><clouds><c><name>far</name><broker>local</broker><flavours>
    <f><size>large</size><id>l</id><memory>16G</memory><cores>8</cores><price>0.04</price></f>
  </flavours></c></clouds><applications><a><name>Node</name><sname>n</sname><executable>e</executable></a></applications></s>";

/// Interval of the safety net and of the refresh, as by default.
const TICK: Duration = Duration::from_secs(10);

/// A manager that runs.
pub struct Rig {
    pub handle: Handle,
    pub engine: Arc<FakeEngine>,
    pub metrics: Arc<Metrics>,
    pub address: SocketAddr,
    pub tls: RustlsConfig,
    store: Arc<dyn Store>,
    stop: watch::Sender<bool>,
    jobs: JoinHandle<()>,
    served: JoinHandle<io::Result<()>>,
    worked: JoinHandle<Result<(), StoreError>>,
    state: TempDir,
}

impl Rig {
    /// A manager of [`MACHINES`] machines, all of them empty. Its store is a new file, or the
    /// MongoDB of this URL.
    pub async fn start(mongodb: Option<&str>) -> Self {
        Self::begin(mongodb, false).await
    }

    /// The same, in a new file, with what the catalogue of services needs.
    pub async fn with_catalogue() -> Self {
        Self::begin(None, true).await
    }

    async fn begin(mongodb: Option<&str>, catalogue: bool) -> Self {
        let state = folder();
        let engine = FakeEngine::new(MACHINES);
        let opened = Opened::open(state.path(), mongodb).await;
        fill(&*opened.store).await;
        let pki = Arc::new(Pki::open(&state.path().join("pki")).expect("an authority"));
        std::fs::write(state.path().join("ca.crt"), pki.authority()).expect("written");
        let gate = gate(state.path(), &pki);
        let (runtime, handle) = Runtime::new(
            Config {
                max_instances: None,
                catalogue,
                ..Config::new(cluster(), CloudSetup::parse(SETUP, "bench").expect("XML"))
            },
            opened.store.clone(),
            effects(engine.clone(), &gate),
        );
        let metrics = Arc::new(Metrics::new(handle.facts().clone()));
        let api = bind(state.path(), &pki);
        let address = api.https_address().expect("an address");
        let tls = api.tls();
        let token = Token::load_or_make(state.path()).expect("a token");
        let folder = state.path().to_owned();
        let builds = Builds::new(nowhere(), gate.registry.clone(), folder);
        let offered = ApiState::new(
            handle.clone(),
            engine.clone(),
            gate,
            metrics.clone(),
            opened.history.clone(),
            builds,
        );
        let refresh = Refresh {
            metrics: metrics.clone(),
            handle: handle.clone(),
            history: opened.history,
            shown: opened.shown,
        };
        let (stop, stopped) = watch::channel(false);
        let (ticker, ticks) = ticker();
        let (refresher, refreshes) = micado_manager::control::runtime::ticker();
        tokio::spawn(refresh.run(refreshes));
        let jobs = tokio::spawn(async move {
            let mut interval = interval(TICK);
            loop {
                interval.tick().await;
                ticker.tick();
                refresher.tick();
            }
        });
        let mut until = stopped.clone();
        let stopping = async move { drop(until.wait_for(|stop| *stop).await) };
        let rig = Self {
            handle,
            engine,
            metrics,
            address,
            tls,
            store: opened.store,
            stop,
            jobs,
            served: tokio::spawn(api.serve(offered, token, stopping)),
            worked: tokio::spawn(runtime.run(ticks, stopped)),
            state,
        };
        rig.until_rest().await;
        rig
    }

    /// The manager's state folder.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The address of the unix socket.
    pub fn socket(&self) -> String {
        format!("unix://{}", self.state.path().join(SOCKET).display())
    }

    /// Waits until the engine was observed and all machines are in use.
    async fn until_rest(&self) {
        loop {
            let status = self.handle.read(|core| core.status()).await;
            if status.expect("a manager that runs").blind.is_none() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        // The first lists of the cloud, and what follows from them.
        sleep(Duration::from_millis(300)).await;
    }

    /// Waits until so many containers run.
    pub async fn until_running(&self, containers: usize) {
        // Counting all states takes the core's time.
        while self.engine.created() < containers {
            sleep(Duration::from_millis(5)).await;
        }
        let mut running = 0;
        while running < containers {
            sleep(Duration::from_millis(20)).await;
            let status = self.handle.read(|core| core.status()).await;
            let states = status.expect("a manager that runs").containers;
            let now = states.get(&ContainerState::Running);
            running = now.map_or(0, |count| *count as usize);
        }
    }

    /// Stops it, as SIGTERM stops the daemon.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.jobs.abort();
        self.worked
            .await
            .expect("it ends")
            .expect("the store works");
        self.served.await.expect("it ends").expect("the API works");
        self.store.close().await;
    }
}

/// The unix socket in the state folder.
const SOCKET: &str = "micado.sock";

/// A folder on the disk that holds the build: folders for temporary files may be in memory, where a
/// durable write costs nothing.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn cluster() -> ClusterId {
    ClusterId::trusted("bench")
}

/// A store, as the daemon opens it.
struct Opened {
    store: Arc<dyn Store>,
    history: Arc<dyn History>,
    shown: Option<Arc<MongoStore>>,
}

impl Opened {
    async fn open(state: &Path, mongodb: Option<&str>) -> Self {
        let keys = Arc::new(KeyFile::open(state).expect("a key"));
        let Some(url) = mongodb else {
            let store = EmbeddedStore::open(state.join("store.redb"), keys).await;
            let store = Arc::new(store.expect("a store"));
            return Self {
                store: store.clone(),
                history: store,
                shown: None,
            };
        };
        let Ok(Place::MongoDb(url)) = url.parse() else {
            panic!("`{url}` is no URL of a MongoDB")
        };
        let store = Arc::new(MongoStore::open(&url, keys).await.expect("a store"));
        Self {
            store: store.clone(),
            history: store.clone(),
            shown: Some(store),
        }
    }
}

/// Records of the machines.
async fn fill(store: &dyn Store) {
    let records = (0..MACHINES).map(|number| Record::Instance(instance(number)));
    let changes: Vec<Change> = records.map(made).collect();
    store.commit(&changes).await.expect("a commit");
}

/// The change that makes a record.
pub fn made(record: Record) -> Change {
    Change {
        key: record.key(),
        expected: 0,
        record: Some(record),
    }
}

/// Registry for the files of machines. Nothing is ever sent to it.
/// An engine that does not answer.
fn nowhere() -> Docker {
    Docker::connect_with_http("tcp://127.0.0.1:1", 1, API_DEFAULT_VERSION).expect("an address")
}

fn gate(state: &Path, pki: &Arc<Pki>) -> Gate {
    let external = ExternalRegistry {
        host: "registry:5000".to_owned(),
        authority: pki.authority().to_owned(),
        client: pki.client_certificate("manager").expect("a certificate"),
        certs_dir: state.join("certs.d"),
    };
    let registry = Registry::external(nowhere(), &external);
    Gate {
        key: Arc::new(pki.credential_key().expect("a key")),
        pki: pki.clone(),
        registry: Arc::new(registry.expect("usable certificates")),
        agent: None::<PathBuf>,
    }
}

fn effects(engine: Arc<FakeEngine>, gate: &Gate) -> Effects {
    let cloud: Arc<dyn Broker> = FakeCloud::new(MACHINES);
    Effects {
        cluster: cluster(),
        join: JoinConfig {
            url: "https://localhost/v1/join".to_owned(),
            authority: gate.pki.authority().to_owned(),
            key: gate.key.clone(),
        },
        engine,
        brokers: BTreeMap::from([(CloudName::trusted("far"), cloud)]),
        registry: gate.registry.clone(),
    }
}

fn bind(state: &Path, pki: &Pki) -> Api {
    let names = ["localhost".to_owned()];
    let identity = pki.server_certificate("https", &names);
    let identity = identity.expect("a certificate");
    Api::bind(&Listen {
        socket: &state.join(SOCKET),
        https: ([127, 0, 0, 1], 0).into(),
        certificate: identity.certificate.as_bytes(),
        key: identity.key.as_bytes(),
        authority: pki.authority().as_bytes(),
    })
    .expect("both listeners")
}

/// A launch of so many containers of this client, as `micado launch` asks for it.
pub fn launch(client: &str, request: &str, copies: usize) -> LaunchRequest {
    let copies = u32::try_from(copies).ok().and_then(NonZeroU32::new);
    LaunchRequest {
        spec: ServiceSpec {
            image: IMAGE.to_owned(),
            client: client.to_owned(),
            location: Location::default(),
            entrypoint: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            ports: Vec::new(),
            domain: None,
            tags: Vec::new(),
            reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
            volumes: Vec::new(),
            restart: RestartPolicy::default(),
            anti_affinity: AntiAffinity::default(),
            run: Box::default(),
        },
        publish_all: true,
        request: Some(request.to_owned()),
        unnamed: Unnamed::default(),
        copies: copies.expect("at least one"),
    }
}
