//! A manager for tests: the real API and core, a fake engine and an external registry.

use super::super::{admission::Admission, *};
use crate::{
    clock,
    control::{
        Action, Answer as Came, CallKey, Config, Core, Event, Facts, Input, Request,
        runtime::{Effects, JoinConfig, Ticker, ticker},
    },
    engine::{
        EngineError, EngineEvent, ImageFacts, JoinFacts, LogLine, LogOptions, Observation,
        SwarmNode, SwarmService, SwarmTask,
    },
    metrics::{Refresh, tests::Kept},
    model::{Container, Copy, Login, Service},
    pki::Pki,
    registry::{ExternalRegistry, Registry},
    store::Record,
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use micado_api::{
    Client, ClientError, ClusterId, ConnectOptions, ErrorBody, LaunchRequest, MemoryBytes,
    NanoCpus, PortMapping, Progress, Protocol, Resources, ServiceSpec,
};
use micado_cloudsetup::CloudSetup;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
};

/// Knows the image `web`, `pruned` once, and one that is private; loses its answer for `lost`; has
/// one log. Knows a user of most registries.
#[derive(Debug, Default)]
pub(crate) struct FakeEngine {
    pruned: AtomicBool,
}

fn lost<T>() -> Result<T, EngineError> {
    Err(EngineError::Unavailable("no answer".to_owned()))
}

#[async_trait::async_trait]
impl Engine for FakeEngine {
    async fn observe(&self) -> Result<Observation, EngineError> {
        lost()
    }
    async fn tasks(&self, _: &[String]) -> Result<Vec<SwarmTask>, EngineError> {
        lost()
    }
    async fn tasks_on(&self, _: &str) -> Result<Vec<SwarmTask>, EngineError> {
        lost()
    }
    fn events(&self) -> BoxStream<'static, EngineEvent> {
        stream::empty().boxed()
    }
    async fn services(&self, _: &[String]) -> Result<Vec<SwarmService>, EngineError> {
        lost()
    }
    async fn node(&self, _: &str) -> Result<Option<SwarmNode>, EngineError> {
        lost()
    }
    async fn create(
        &self,
        _: &Service,
        _: &Container,
        _: &Copy,
        _: &str,
    ) -> Result<(), EngineError> {
        lost()
    }
    async fn remove(&self, _: &str) -> Result<(), EngineError> {
        lost()
    }
    async fn set_active(&self, _: &str, _: bool) -> Result<(), EngineError> {
        lost()
    }
    async fn remove_node(&self, _: &str) -> Result<(), EngineError> {
        lost()
    }
    fn logs(&self, name: &str, _: &LogOptions) -> BoxStream<'static, Result<LogLine, EngineError>> {
        let line = |second: u8, stderr: bool, text: &'static str| {
            Ok(LogLine {
                at: Some(format!("2026-11-30T01:02:0{second}.000000000Z")),
                stderr,
                text: Bytes::from(text),
            })
        };
        match name {
            "c-web" => stream::iter([line(1, false, "one\n"), line(4, true, "two\n")]).boxed(),
            "c-late" => stream::iter([line(2, false, "late\n"), line(3, false, "r")]).boxed(),
            _ => stream::iter([lost()]).boxed(),
        }
    }
    fn follow(
        &self,
        name: &str,
        after: Option<String>,
        _: Option<u32>,
    ) -> BoxStream<'static, Result<LogLine, EngineError>> {
        let line = LogLine {
            text: Bytes::from(format!("{name} after {after:?}\n")),
            stderr: false,
            at: None,
        };
        stream::iter([Ok(line)]).boxed()
    }
    async fn image(&self, image: &str, login: Option<&Login>) -> Result<ImageFacts, EngineError> {
        let port = |container| PortMapping {
            host: Some(container),
            container,
            protocol: Protocol::Tcp,
        };
        match image {
            "web" => Ok(ImageFacts {
                pull: None,
                exposed: vec![port(80), port(443)],
                platforms: std::collections::BTreeSet::new(),
            }),
            "lost" => lost(),
            "pruned" if !self.pruned.swap(true, Ordering::SeqCst) => Ok(ImageFacts {
                pull: Some("pruned@sha256:00".to_owned()),
                exposed: vec![port(80)],
                platforms: std::collections::BTreeSet::new(),
            }),
            "r.example.org/private" if login.is_some() => Ok(ImageFacts {
                pull: None,
                exposed: Vec::new(),
                platforms: std::collections::BTreeSet::new(),
            }),
            "r.example.org/private" => Err(EngineError::NotFound("unauthorized".to_owned())),
            _ => Err(EngineError::NotFound("no such image".to_owned())),
        }
    }
    async fn log_in(
        &self,
        host: &str,
        user: &str,
        password: &str,
    ) -> Result<Option<String>, EngineError> {
        match (host, user, password) {
            ("gone.example.org", ..) => lost(),
            ("tokens.example.org", ..) => Ok(Some("a token".to_owned())),
            (_, "alice", "good") => Ok(None),
            _ => Err(EngineError::Refused("unauthorized".to_owned())),
        }
    }
    async fn join_facts(&self) -> Result<JoinFacts, EngineError> {
        Ok(JoinFacts {
            managers: vec!["10.0.0.1:2377".to_owned()],
            token: "SWMTKN-secret".to_owned(),
        })
    }
    async fn rotate_join_token(&self) -> Result<(), EngineError> {
        lost()
    }
}

const SETUP: &str = "<setup>
  <clouds><cloud><name>local</name><broker>local</broker><flavours>
    <flavour><size>small</size><memory>1G</memory><cores>1</cores><price>0.05</price></flavour>
  </flavours></cloud></clouds>
  <applications><application><name>Node</name><sname>node</sname><executable>run</executable></application></applications>
</setup>";

/// Events that the core received.
pub(in crate::api) type Told = Arc<Mutex<Vec<Event>>>;

/// Runs the core on a loop of its own: its calls are dropped, its replies and progress are passed
/// on.
async fn think(
    mut core: Core,
    mut inputs: mpsc::Receiver<Input>,
    progress: broadcast::Sender<Progress>,
    facts: Facts,
    told: Told,
) {
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Read(read) => read(Ok(&core)),
            Input::Tell(event) => {
                told.lock().expect("nobody panicked").push((*event).clone());
                for action in core.handle(clock::now(), *event) {
                    if let Action::Commit(changes) = action {
                        facts.publish(clock::now(), &core, &changes);
                    }
                }
            }
            Input::Request(ticket, request, asker) => {
                let mut asker = Some(asker);
                let event = Event::Request(ticket, *request);
                told.lock().expect("nobody panicked").push(event.clone());
                for action in core.handle(clock::now(), event) {
                    match action {
                        Action::Commit(changes) => facts.publish(clock::now(), &core, &changes),
                        Action::Reply(_, reply) => {
                            drop(asker.take().map(|asker| asker.send(reply)))
                        }
                        Action::Progress(step) => drop(progress.send(step)),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// A manager without a real environment, and the folder with its state.
pub(in crate::api) struct Manager {
    pub(super) state: tempfile::TempDir,
    pub(in crate::api) pki: Arc<Pki>,
    pub(in crate::api) address: SocketAddr,
    pub(in crate::api) handle: Handle,
    pub(in crate::api) metrics: Arc<Metrics>,
    pub(in crate::api) history: Arc<Kept>,
    pub(in crate::api) told: Told,
    pub(super) certificate: Certificate,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) served: JoinHandle<io::Result<()>>,
}

impl Manager {
    pub(in crate::api) fn start() -> Self {
        Self::on(core())
    }
    pub(in crate::api) fn on(core: Core) -> Self {
        Self::with(core, Arc::default())
    }
    /// A manager with existing history.
    pub(in crate::api) fn with(core: Core, history: Arc<Kept>) -> Self {
        Self::build(core, history, None)
    }
    /// One with these bounds on HTTPS connections.
    pub(in crate::api) fn admitting(core: Core, admission: Admission) -> Self {
        Self::build(core, Arc::default(), Some(admission))
    }
    fn build(core: Core, history: Arc<Kept>, admission: Option<Admission>) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let pki = Arc::new(Pki::open(&state.path().join("pki")).expect("an authority"));
        fs::write(state.path().join("ca.crt"), pki.authority()).expect("written");
        let mut api = bind(&state.path().join("micado.sock"), &pki).expect("both listeners");
        api.admission = admission.unwrap_or(api.admission);
        let (address, certificate) = (api.https_address().expect("an address"), api.certificate());
        let token = Token::load_or_make(state.path()).expect("a token");
        let (handle, inputs, progress) = Handle::new();
        let (told, facts) = (Told::default(), handle.facts().clone());
        facts.replace(clock::now(), &core);
        tokio::spawn(think(core, inputs, progress, facts, told.clone()));
        let (stop, stopped) = oneshot::channel();
        let metrics = Arc::new(Metrics::new(handle.facts().clone()));
        let gate = gate(state.path(), &pki);
        let builds = Builds::new(nowhere(), gate.registry.clone(), state.path().to_owned());
        let offered = ApiState::new(
            handle.clone(),
            Arc::new(FakeEngine::default()),
            gate,
            metrics.clone(),
            history.clone(),
            builds,
        );
        let served = tokio::spawn(api.serve(offered, token, async { drop(stopped.await) }));
        Self {
            state,
            pki,
            address,
            handle,
            metrics,
            history,
            told,
            certificate,
            stop,
            served,
        }
    }
    /// Starts the refresh job; it runs at each tick.
    pub(in crate::api) fn refreshing(&self) -> Ticker {
        let (ticker, turns) = ticker();
        let (metrics, handle, history) = (
            self.metrics.clone(),
            self.handle.clone(),
            self.history.clone(),
        );
        tokio::spawn(
            Refresh {
                metrics,
                handle,
                history,
                shown: None,
            }
            .run(turns),
        );
        ticker
    }
    pub(in crate::api) fn state(&self) -> &Path {
        self.state.path()
    }
    pub(super) fn socket(&self) -> PathBuf {
        self.state.path().join("micado.sock")
    }
    pub(in crate::api) fn by_socket(&self) -> Client {
        Client::connect(
            &format!("unix://{}", self.socket().display()),
            &ConnectOptions::default(),
        )
        .expect("an address")
    }
    pub(super) fn by_https(&self, options: ConnectOptions) -> Client {
        Client::connect(
            &format!("https://localhost:{}", self.address.port()),
            &options,
        )
        .expect("usable files")
    }
    /// A client that trusts the authority and has no token.
    pub(in crate::api) fn http(&self) -> reqwest::Client {
        // Only one provider can be the process's default; any other is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca =
            reqwest::Certificate::from_pem(self.pki.authority().as_bytes()).expect("a certificate");
        reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .build()
            .expect("a client")
    }
    pub(super) fn known(&self) -> ConnectOptions {
        ConnectOptions {
            state: Some(self.state.path().to_owned()),
            ..ConnectOptions::default()
        }
    }
    /// Status and body of a raw request over the socket.
    pub(super) fn raw(&self, head: &str, body: &str) -> (u16, ErrorBody) {
        let mut stream = UnixStream::connect(self.socket()).expect("the socket answers");
        let length = body.len();
        write!(stream, "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        (
            status,
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{body}: {error}")),
        )
    }
}

/// A core that has observed nothing yet.
pub(crate) fn core() -> Core {
    core_of(Vec::new())
}

/// A core that was just asked to launch a container, with its actions.
pub(crate) fn launched() -> (Core, Vec<Action>) {
    let mut core = core();
    let listed = Event::Answered(
        CallKey::List("local".parse().expect("a name")),
        Came::Listed(Ok(Vec::new())),
    );
    for event in [Event::Tick, Event::Observed(Observation::default()), listed] {
        drop(core.handle(clock::now(), event));
    }
    let facts = ImageFacts {
        pull: Some("web@sha256:00".to_owned()),
        exposed: Vec::new(),
        platforms: std::collections::BTreeSet::new(),
    };
    let request = Request::Launch(Box::new(launch("web")), facts);
    let actions = core.handle(clock::now(), Event::Request(0, request));
    (core, actions)
}

/// Effects on the fake engine, without clouds. Their keys are in this folder.
pub(crate) fn effects(state: &Path) -> Effects {
    let pki = Arc::new(Pki::open(&state.join("pki")).expect("an authority"));
    let Gate { key, registry, .. } = gate(state, &pki);
    Effects {
        cluster: ClusterId::trusted("test"),
        join: JoinConfig {
            url: String::new(),
            authority: String::new(),
            key,
        },
        engine: Arc::new(FakeEngine::default()),
        brokers: BTreeMap::new(),
        registry,
    }
}

/// A core with these records in its store.
pub(in crate::api) fn core_of(records: Vec<Record>) -> Core {
    let setup = CloudSetup::parse(SETUP, "cloudsetup.xml").expect("a good file");
    Core::new(
        Config::new(ClusterId::trusted("test"), setup),
        records.into_iter().map(|record| (record, 1)).collect(),
        1,
    )
}

/// A gate with an external registry.
/// An engine that does not answer.
fn nowhere() -> bollard::Docker {
    bollard::Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION)
        .expect("an address")
}

fn gate(state: &Path, pki: &Arc<Pki>) -> Gate {
    let client = pki.client_certificate("manager").expect("a certificate");
    let told = ExternalRegistry {
        host: "images.example.org:5000".to_owned(),
        authority: pki.authority().to_owned(),
        client,
        certs_dir: state.join("certs.d"),
    };
    let registry = Registry::external(nowhere(), &told).expect("usable certificates");
    Gate {
        key: Arc::new(pki.credential_key().expect("a key")),
        pki: pki.clone(),
        registry: Arc::new(registry),
        agent: Some(state.join("micado-node")),
    }
}

pub(super) fn bind(socket: &Path, pki: &Pki) -> Result<Api, BindError> {
    let identity = pki
        .server_certificate("https", &["localhost".to_owned()])
        .expect("a certificate");
    let https = "127.0.0.1:0".parse().expect("an address");
    Api::bind(&Listen {
        socket,
        https,
        certificate: identity.certificate.as_bytes(),
        key: identity.key.as_bytes(),
        authority: pki.authority().as_bytes(),
    })
}

pub(super) fn launch(image: &str) -> LaunchRequest {
    let spec = ServiceSpec {
        image: image.to_owned(),
        client: "acme".to_owned(),
        location: micado_api::Location::default(),
        entrypoint: None,
        arguments: vec![],
        environment: vec![],
        ports: vec![],
        domain: None,
        tags: Vec::new(),
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: vec![],
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
        run: Box::default(),
    };
    LaunchRequest {
        spec,
        publish_all: true,
        request: Some("once".to_owned()),
        copies: std::num::NonZeroU32::MIN,
        unnamed: micado_api::Unnamed::default(),
    }
}

pub(super) fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ErrorBody {
    match answer {
        Err(ClientError::Refused(body)) => body,
        other => panic!("not refused: {other:?}"),
    }
}
