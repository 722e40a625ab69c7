//! The API over a real unix socket and real HTTPS, with the real core behind it and a fake engine.

use super::{admission::Admission, *};
use crate::{
    clock,
    control::{
        Action, Answer as Came, CallKey, Config, Core, Event, Facts, Input, Request,
        runtime::{Effects, JoinConfig, Ticker, ticker},
    },
    engine::{
        EngineError, EngineEvent, ImageFacts, JoinFacts, LogOptions, Observation, SwarmNode,
        SwarmService, SwarmTask,
    },
    metrics::{Refresh, tests::Kept},
    model::{Container, Copy, Service},
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
    Client, ClientError, ClusterId, ConnectOptions, ContainerState, Critical, ErrorBody, ErrorCode,
    HistoryQuery, LaunchRequest, LogQuery, MemoryBytes, NanoCpus, PortMapping, Progress, Protocol,
    Resources, ScaleRequest, ServiceSpec, SetImageRequest, Settled, StartRequest,
};
use micado_cloudsetup::CloudSetup;
use micado_core::scaling::Policies;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
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

/// Knows the image `web`, and `pruned` once; loses its answer for `lost`; has one log.
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
    fn logs(&self, name: &str, _: &LogOptions) -> BoxStream<'static, Result<Bytes, EngineError>> {
        match name {
            "c-web" => stream::iter([Ok(Bytes::from("one\nt")), Ok(Bytes::from("wo\n"))]).boxed(),
            _ => stream::iter([lost()]).boxed(),
        }
    }
    async fn image(&self, image: &str) -> Result<ImageFacts, EngineError> {
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
            _ => Err(EngineError::NotFound("no such image".to_owned())),
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
type Told = Arc<Mutex<Vec<Event>>>;

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
pub(super) struct Manager {
    state: tempfile::TempDir,
    pub(super) pki: Arc<Pki>,
    pub(super) address: SocketAddr,
    pub(super) handle: Handle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) history: Arc<Kept>,
    pub(super) told: Told,
    certificate: Certificate,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

impl Manager {
    pub(super) fn start() -> Self {
        Self::on(core())
    }
    pub(super) fn on(core: Core) -> Self {
        Self::with(core, Arc::default())
    }
    /// A manager with existing history.
    pub(super) fn with(core: Core, history: Arc<Kept>) -> Self {
        Self::build(core, history, None)
    }
    /// One with these bounds on HTTPS connections.
    pub(super) fn admitting(core: Core, admission: Admission) -> Self {
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
        let offered = ApiState::new(
            handle.clone(),
            Arc::new(FakeEngine::default()),
            gate(state.path(), &pki),
            metrics.clone(),
            history.clone(),
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
    pub(super) fn refreshing(&self) -> Ticker {
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
    pub(super) fn state(&self) -> &Path {
        self.state.path()
    }
    fn socket(&self) -> PathBuf {
        self.state.path().join("micado.sock")
    }
    pub(super) fn by_socket(&self) -> Client {
        Client::connect(
            &format!("unix://{}", self.socket().display()),
            &ConnectOptions::default(),
        )
        .expect("an address")
    }
    fn by_https(&self, options: ConnectOptions) -> Client {
        Client::connect(
            &format!("https://localhost:{}", self.address.port()),
            &options,
        )
        .expect("usable files")
    }
    /// A client that trusts the authority and has no token.
    pub(super) fn http(&self) -> reqwest::Client {
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
    fn known(&self) -> ConnectOptions {
        ConnectOptions {
            state: Some(self.state.path().to_owned()),
            ..ConnectOptions::default()
        }
    }
    /// Status and body of a raw request over the socket.
    fn raw(&self, head: &str, body: &str) -> (u16, ErrorBody) {
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
pub(super) fn core_of(records: Vec<Record>) -> Core {
    let setup = CloudSetup::parse(SETUP, "cloudsetup.xml").expect("a good file");
    Core::new(
        Config::new(ClusterId::trusted("test"), setup),
        records.into_iter().map(|record| (record, 1)).collect(),
        1,
    )
}

/// A gate with an external registry.
fn gate(state: &Path, pki: &Arc<Pki>) -> Gate {
    let docker =
        bollard::Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION)
            .expect("an address");
    let client = pki.client_certificate("manager").expect("a certificate");
    let told = ExternalRegistry {
        host: "images.example.org:5000".to_owned(),
        authority: pki.authority().to_owned(),
        client,
        certs_dir: state.join("certs.d"),
    };
    let registry = Registry::external(docker, &told).expect("usable certificates");
    Gate {
        key: Arc::new(pki.credential_key().expect("a key")),
        pki: pki.clone(),
        registry: Arc::new(registry),
        agent: Some(state.join("micado-node")),
    }
}

fn bind(socket: &Path, pki: &Pki) -> Result<Api, BindError> {
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

fn launch(image: &str) -> LaunchRequest {
    let spec = ServiceSpec {
        image: image.to_owned(),
        client: "acme".to_owned(),
        location: micado_api::Location::default(),
        entrypoint: None,
        arguments: vec![],
        environment: vec![],
        ports: vec![],
        domain: None,
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        volumes: vec![],
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
    };
    LaunchRequest {
        spec,
        publish_all: true,
        request: Some("once".to_owned()),
        copies: std::num::NonZeroU32::MIN,
        unnamed: micado_api::Unnamed::default(),
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ErrorBody {
    match answer {
        Err(ClientError::Refused(body)) => body,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_is_recorded_once_and_shown() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let launched = client.launch(&launch("web")).await.expect("launched");
    let launched = &launched[0];
    assert_eq!(
        (launched.name.as_str(), launched.state),
        ("acme_web.1", ContainerState::Waiting)
    );
    let ports: Vec<String> = launched.ports.iter().map(ToString::to_string).collect();
    assert_eq!(
        ports,
        ["80/tcp", "443/tcp"],
        "all exposed ports, each at a port of the engine's choice"
    );
    assert_eq!(
        client.launch(&launch("web")).await.expect("the same")[0].name,
        launched.name
    );
    assert_eq!(client.containers(false).await.expect("a list").len(), 1);
    assert_eq!(
        client.services().await.expect("a list")[0].name.as_str(),
        "acme_web"
    );
    assert_eq!(
        client
            .service("acme_web.1")
            .await
            .expect("a service")
            .containers
            .len(),
        1
    );
    assert_eq!(
        client.explain("acme_web").await.expect("an explanation")[0].name,
        "acme_web.1"
    );
    assert_eq!(client.instances(true).await.expect("a list"), []);
    assert_eq!(
        client.status().await.expect("a status").containers[&ContainerState::Waiting],
        1
    );
    let log: Vec<_> = client
        .logs("acme_web", &LogQuery::default())
        .await
        .expect("a log")
        .collect()
        .await;
    assert!(log.is_empty(), "{log:?}");
    let not_ready = refusal(client.ready().await);
    assert_eq!(
        (not_ready.code, not_ready.message.as_str()),
        (
            ErrorCode::Unavailable,
            "the engine is not seen: the engine has not been seen yet"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_protected_until_that_is_ended() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let now = async |protected| {
        let explained = client.protect("acme_web", protected).await;
        explained.expect("it is known")[0].now.clone()
    };
    assert!(now(true).await.ends_with("; protected"));
    assert!(!now(false).await.contains("protected"));
    let unknown = refusal(client.protect("nobody", true).await);
    assert_eq!(unknown.code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_needs_its_image_on_the_engine_only_once() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let more = || LaunchRequest {
        request: None,
        ..launch("pruned")
    };
    let first = client.launch(&more()).await.expect("launched");
    let second = client
        .launch(&more())
        .await
        .expect("the service knows what nodes pull");
    assert_eq!(
        (second[0].name.as_str(), &second[0].ports),
        ("acme_pruned.2", &first[0].ports)
    );
    let mut other = more();
    other.spec.image = "elsewhere/pruned".to_owned();
    assert_eq!(
        refusal(client.launch(&other).await).code,
        ErrorCode::NotFound,
        "the same service's name, another image"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let unknown = refusal(client.launch(&launch("nothing")).await);
    assert_eq!(
        (unknown.code, unknown.message.as_str()),
        (ErrorCode::NotFound, "image `nothing`: no such image")
    );
    assert_eq!(
        refusal(client.launch(&launch("lost")).await).code,
        ErrorCode::Unavailable
    );
    assert_eq!(
        refusal(client.launch(&launch("-")).await).code,
        ErrorCode::BadRequest
    );
    assert_eq!(
        refusal(client.quit("nobody", false).await).message,
        "no container or service `nobody`"
    );
    assert_eq!(
        refusal(client.remove("nobody").await).code,
        ErrorCode::NotFound
    );
    assert_eq!(
        refusal(client.service("nobody").await).code,
        ErrorCode::NotFound
    );
    assert_eq!(
        refusal(client.explain("a/b").await).message,
        "no container, service or instance `a/b`"
    );
    assert_eq!(
        refusal(client.stop("a b", false).await).code,
        ErrorCode::BadRequest
    );
    assert_eq!(
        refusal(client.stop("nobody", false).await).code,
        ErrorCode::NotFound
    );
    assert_eq!(
        refusal(client.progress("nobody").await.map(drop)).message,
        "no container or instance `nobody`"
    );
    assert_eq!(
        refusal(client.logs("nobody", &LogQuery::default()).await.map(drop)).code,
        ErrorCode::NotFound
    );
    let start = StartRequest {
        cloud: micado_api::CloudName::trusted("mars"),
        application: "Node".to_owned(),
        flavour: micado_api::FlavourName::trusted("small"),
        tag: micado_api::Tag::trusted("one"),
        location: micado_api::Location::default(),
        first: false,
        files: [].into(),
    };
    assert_eq!(
        refusal(client.start(&start).await).code,
        ErrorCode::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_critical_usage_of_an_image_is_set_once_it_was_launched() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let critical = |mib, millis| Critical {
        memory: Some(MemoryBytes::mib(mib)),
        cpu: Some(NanoCpus::millis(millis)),
    };
    let set = |critical| SetImageRequest {
        image: "web".to_owned(),
        critical,
    };
    assert_eq!(
        refusal(client.set_image(&set(critical(400, 500))).await).code,
        ErrorCode::NotFound
    );
    assert_eq!(client.images().await.expect("a list"), []);
    client.launch(&launch("web")).await.expect("launched");
    assert_eq!(
        refusal(client.set_image(&set(critical(0, 500))).await).code,
        ErrorCode::BadRequest
    );
    let view = client
        .set_image(&set(critical(400, 500)))
        .await
        .expect("set");
    assert_eq!(
        (view.image.as_str(), view.critical),
        ("web", critical(400, 500))
    );
    assert_eq!(client.images().await.expect("a list"), [view]);
    assert_eq!(
        client
            .set_image(&set(Critical::default()))
            .await
            .expect("cleared")
            .critical,
        Critical::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_set_shown_and_removed_and_a_count_is_kept_within_it() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let policies = Policies {
        min: 2,
        ..Policies::standard(4)
    };
    let unknown = refusal(client.set_policy("acme_web", &policies).await);
    assert_eq!(unknown.code, ErrorCode::NotFound);
    client.launch(&launch("web")).await.expect("launched");
    let none = refusal(client.policy::<Policies>("acme_web").await);
    assert_eq!(none.code, ErrorCode::NotFound);
    let view = client.set_policy("acme_web", &policies).await;
    assert_eq!(view.expect("set").count, 2, "the minimum");
    assert_eq!(client.policy("acme_web").await, Ok(policies.clone()));
    assert_eq!(client.check_policy("acme_web", &policies).await, Ok(None));
    let to = |count| ScaleRequest {
        count: Some(count),
        ..ScaleRequest::default()
    };
    let outside = refusal(client.scale("acme_web", &to(5)).await);
    assert_eq!(
        (outside.code, outside.hint.as_deref()),
        (
            ErrorCode::Conflict,
            Some("`micado policy set acme_web --max 5` first")
        )
    );
    let scaled = client.scale("acme_web", &to(3)).await.expect("scaled");
    assert_eq!(scaled.manual.map(|manual| manual.floor), Some(3));
    assert_eq!(client.scaling("acme_web").await.expect("a view").count, 3);
    let bad = serde_json::json!({"maximum": 3});
    let refused = refusal(client.set_policy("acme_web", &bad).await);
    assert_eq!(refused.code, ErrorCode::BadRequest);
    let removed = client.remove_policy("acme_web").await.expect("removed");
    assert_eq!((removed.policy, removed.count), (None, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn past_figures_are_of_what_is_or_was_there() {
    let manager = Manager::start();
    let client = manager.by_socket();
    let asked = |from, until, resolution| HistoryQuery {
        from,
        until,
        resolution,
    };
    let unknown = refusal(client.history("acme_web.1", &HistoryQuery::default()).await);
    assert_eq!(
        (unknown.code, unknown.message.as_str()),
        (
            ErrorCode::NotFound,
            "no container, service or instance `acme_web.1`"
        )
    );
    client.launch(&launch("web")).await.expect("launched");
    let nothing = client
        .history("acme_web.1", &HistoryQuery::default())
        .await
        .expect("it waits, and nothing was measured");
    assert_eq!(
        (
            nothing.name.as_str(),
            nothing.resolution,
            nothing.points.len()
        ),
        ("acme_web.1", 2, 0)
    );
    let of_service = client
        .history("acme_web", &HistoryQuery::default())
        .await
        .expect("the sum of its containers");
    assert_eq!(of_service.name, "acme_web");
    let hour_ago = clock::now().0 / 1000 * 1000 - 3_600_000;
    assert_eq!(
        client
            .history("acme_web.1", &asked(Some(hour_ago), None, None))
            .await
            .expect("a history")
            .resolution,
        2,
        "as `micado history` asks"
    );
    assert_eq!(
        client
            .history("acme_web.1", &asked(Some(0), None, None))
            .await
            .expect("a history")
            .resolution,
        600
    );
    assert_eq!(
        refusal(
            client
                .history("acme_web.1", &asked(Some(7), Some(7), None))
                .await
        )
        .code,
        ErrorCode::BadRequest
    );
    let coarse = refusal(
        client
            .history("acme_web.1", &asked(None, None, Some(7)))
            .await,
    );
    assert_eq!(
        (coarse.code, coarse.message.as_str()),
        (
            ErrorCode::BadRequest,
            "there is no resolution of 7 s: figures are kept by 2, 60 and 600 s"
        )
    );
    let (status, body) = manager.raw("GET /v1/history/acme_web.1?from=yesterday", "");
    assert_eq!((status, body.code), (400, ErrorCode::BadRequest));
    client
        .launch(&LaunchRequest {
            request: None,
            ..launch("web")
        })
        .await
        .expect("another of the service");
    let two = client
        .history("acme_web", &HistoryQuery::default())
        .await
        .expect("the sum of both");
    assert_eq!(two.name, "acme_web");
    manager.history.silent.store(true, Ordering::SeqCst);
    let silent = refusal(client.history("acme_web.1", &HistoryQuery::default()).await);
    assert_eq!(
        (silent.code, silent.message.as_str()),
        (
            ErrorCode::Unavailable,
            "past figures cannot be read: it does not answer"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_library_refuses_is_refused_in_our_form() {
    let manager = Manager::start();
    let refused = |head: &str, body: &str| {
        let (status, body) = manager.raw(head, body);
        (status, body.code)
    };
    assert_eq!(
        refused("POST /v1/containers", "{"),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("POST /v1/containers", r#"{"spec": 1}"#),
        (400, ErrorCode::BadRequest)
    );
    let start = r#"{"cloud": "local", "application": "Node", "flavour": "small", "tag": "a b", "location": "application"}"#;
    let (status, body) = manager.raw("POST /v1/instances", start);
    assert_eq!((status, body.code), (400, ErrorCode::BadRequest));
    let words = "tag: tag `a b` may hold only letters, digits, `-`, `_` and `.`";
    assert!(body.message.contains(words), "{}", body.message);
    assert_eq!(
        refused("GET /v1/containers?all=maybe", ""),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("GET /v1/containers?any=true", ""),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("GET /v1/services/%ff", ""),
        (400, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("GET /v2/containers", ""),
        (404, ErrorCode::NotFound)
    );
    assert_eq!(
        refused("PUT /v1/containers", ""),
        (405, ErrorCode::BadRequest)
    );
    assert_eq!(
        refused("POST /v1/containers", &" ".repeat(BODY_MAX + 1)),
        (413, ErrorCode::BadRequest)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_until_it_settles() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let mut steps = Box::pin(client.progress("acme_web.1").await.expect("a stream"));
    let first = steps.next().await.expect("a step").expect("readable");
    assert_eq!(
        (first.text.as_str(), first.settled),
        ("waiting: the engine has not been seen yet", None)
    );
    client.quit("acme_web.1", false).await.expect("recorded");
    let last = steps.next().await.expect("a step").expect("readable");
    assert_eq!(
        (last.text.as_str(), last.settled),
        ("stopped", Some(Settled::Done))
    );
    assert!(steps.next().await.is_none(), "it ends with what settles it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_its_owner_and_replaces_a_stale_one() {
    let manager = Manager::start();
    assert_eq!(
        fs::metadata(manager.socket())
            .expect("there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert!(matches!(
        bind(&manager.socket(), &manager.pki),
        Err(BindError::Taken(_))
    ));
    let stale = manager.state.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("bound"));
    let api = bind(&stale, &manager.pki).expect("a stale socket is in nobody's way");
    drop(UnixStream::connect(&stale).expect("it answers now"));
    drop(api);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_streams_and_takes_the_socket_away() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let mut steps = Box::pin(client.progress("acme_web.1").await.expect("a stream"));
    steps.next().await.expect("a step").expect("readable");
    // The first client may still have a connection, which could break with another error.
    let (socket, later) = (manager.socket(), manager.by_socket());
    manager.stop.send(()).expect("it listens");
    assert!(steps.next().await.is_none());
    manager
        .served
        .await
        .expect("no panic")
        .expect("it ended well");
    assert!(!socket.exists());
    assert_eq!(
        later.status().await.expect_err("stopped").to_string(),
        format!("no manager answers at unix://{}", socket.display())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn https_needs_the_token_and_the_authority() {
    let manager = Manager::start();
    assert!(manager.by_https(manager.known()).status().await.is_ok());

    let other = manager.state.path().join("other");
    fs::write(&other, "f".repeat(64)).expect("written");
    let wrong_token = ConnectOptions {
        token_file: Some(other),
        ..manager.known()
    };
    assert_eq!(
        refusal(manager.by_https(wrong_token).status().await).message,
        "the token is not the manager's"
    );
    let no_token = ConnectOptions {
        ca: Some(manager.state.path().join("ca.crt")),
        ..ConnectOptions::default()
    };
    assert_eq!(
        refusal(manager.by_https(no_token).status().await).code,
        ErrorCode::Unauthorized
    );

    let stranger = tempfile::tempdir().expect("a folder");
    let stranger_ca = stranger.path().join("ca.crt");
    fs::write(
        &stranger_ca,
        Pki::open(&stranger.path().join("pki"))
            .expect("an authority")
            .authority(),
    )
    .expect("written");
    let wrong_authority = ConnectOptions {
        ca: Some(stranger_ca),
        ..manager.known()
    };
    assert!(matches!(
        manager.by_https(wrong_authority).status().await,
        Err(ClientError::Untrusted { .. })
    ));
    let by_address = Client::connect(&format!("https://{}", manager.address), &manager.known())
        .expect("usable files");
    assert!(
        matches!(
            by_address.status().await,
            Err(ClientError::Untrusted { .. })
        ),
        "a name that the certificate does not have"
    );

    let http = manager.http();
    let healthz = |path: &str| {
        http.get(format!(
            "https://localhost:{}/{path}",
            manager.address.port()
        ))
        .send()
    };
    assert_eq!(
        healthz("healthz").await.expect("an answer").status(),
        200,
        "health is no secret"
    );
    let refused = healthz("readyz").await.expect("an answer");
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers()["www-authenticate"].as_bytes()
        ),
        (401, b"Bearer".as_slice())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_the_token_unless_its_document_says_that_it_is_open() {
    let manager = Manager::start();
    let http = manager.http();
    let ask = async |method: &str, path: &str| {
        let url = format!("https://localhost:{}{path}", manager.address.port());
        let method = method.to_uppercase().parse().expect("a method");
        let answer = http.request(method, url).send().await.expect("an answer");
        answer.status().as_u16()
    };
    let document = serde_json::to_value(document()).expect("JSON");
    let mut open = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let status = ask(method, &path.replace(['{', '}'], "")).await;
            if operation["security"] == serde_json::json!([{}]) {
                open.push(path.as_str());
                assert_ne!(status, 401, "{method} {path}");
            } else {
                assert_eq!(status, 401, "{method} {path}");
            }
        }
    }
    assert_eq!(open, ["/healthz", JOIN_PATH]);
    for (method, path) in [
        ("get", "/v1/agent"),
        ("get", "/v1/agent/sessions/0"),
        ("post", "/v1/agent/renew"),
        ("get", "/v1/agent/program?machine=x"),
        ("get", "/v1/nothing"),
        ("put", "/v1/containers"),
    ] {
        assert_eq!(ask(method, path).await, 401, "{method} {path}");
    }
    let (status, refused) = manager.raw("GET /v1/agent", "");
    assert_eq!((status, refused.code), (401, ErrorCode::Unauthorized));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_while_it_serves() {
    let manager = Manager::start();
    assert!(manager.by_https(manager.known()).status().await.is_ok());
    assert!(matches!(
        manager.certificate.replace(b"", b""),
        Err(BindError::Certificate(_))
    ));
    assert!(manager.by_https(manager.known()).status().await.is_ok());
    let other = manager
        .pki
        .server_certificate("https", &["elsewhere".to_owned()])
        .expect("a certificate");
    manager
        .certificate
        .replace(other.certificate.as_bytes(), other.key.as_bytes())
        .expect("usable");
    assert!(
        matches!(
            manager.by_https(manager.known()).status().await,
            Err(ClientError::Untrusted { .. })
        ),
        "its name is another now"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_not_answered() {
    let manager = Manager::start();
    let mut stream = TcpStream::connect(manager.address).expect("connected");
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    // A TLS alert, or nothing.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn certificates_that_are_none_are_refused() {
    let state = tempfile::tempdir().expect("a folder");
    let socket = state.path().join("s");
    let refused = Api::bind(&Listen {
        socket: &socket,
        https: "127.0.0.1:0".parse().expect("an address"),
        certificate: b"",
        key: b"",
        authority: b"",
    });
    assert!(matches!(refused, Err(BindError::Certificate(_))));
}
