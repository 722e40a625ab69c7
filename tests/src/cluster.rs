//! A cluster for one test: a network, an engine for the manager in a container, and a manager.
//! Dropping it removes all of them.

use crate::{
    Rented, Setup, cloudbroker, diagnosis,
    engine::Engine,
    faulty::FaultyBroker,
    free_port,
    host::{Boots, Host},
    manager::{Manager, log_tail},
    mongod::{Mongod, Store},
    run,
    view::{measured, wait},
};
use micado_api::{Client, ConnectOptions, ContainerView, LaunchRequest};
use micado_cloudbroker::Simulator;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Settings of a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    pub setup: Setup,
    /// Additional arguments for the manager.
    pub arguments: Vec<&'static str>,
    /// Reach the cloud through a [`FaultyBroker`].
    pub faulty: bool,
    /// Rent through CloudBroker, from a simulator, instead of from `setup`.
    pub rented: Option<Rented>,
    /// Interval of the manager's ticks, in seconds.
    pub tick: u32,
    /// Let the manager return machines by itself. Off for most tests: machines stay while they look.
    pub returns: bool,
    pub store: Store,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            setup: Setup::default(),
            arguments: Vec::new(),
            faulty: false,
            rented: None,
            tick: 2,
            returns: false,
            store: Store::default(),
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The manager's API.
    pub api: Client,
    pub(crate) host: Host,
    engine: Engine,
    broker: Option<FaultyBroker>,
    simulator: Option<Simulator>,
    boots: Boots,
    /// Port of the HTTPS API, the same for all managers of the cluster.
    pub(crate) port: u16,
    arguments: Vec<String>,
    manager: Option<Manager>,
    mongod: Option<Mongod>,
    pub(crate) remains: Remains,
}

impl Cluster {
    /// Makes a cluster and waits until its manager is ready. Needs a runtime with several threads.
    ///
    /// # Panics
    /// If a part cannot be made. The same holds for all functions.
    pub async fn start(options: Options) -> Self {
        let begin = Instant::now();
        let host = Host::connect().await;
        host.sweep().await;
        let folder = tempfile::Builder::new()
            .prefix(run::FOLDER_PREFIX)
            .tempdir_in(run::folder())
            .expect("a folder for the cluster")
            .keep();
        let network = format!(
            "micado-{}",
            folder
                .file_name()
                .expect("it was given one")
                .to_string_lossy()
                .to_lowercase()
        );
        // From here on everything is removed, even after a failure.
        let remains = Remains {
            network: network.clone(),
            folder: folder.clone(),
        };
        host.make_network(&network, &folder).await;
        let boots = host.watch_boots();
        let engine = Engine::start(&host, &network, &folder).await;
        let broker = options
            .faulty
            .then(|| FaultyBroker::start(&folder, &host.endpoint));
        let simulator = match &options.rented {
            Some(rented) => Some(rented.start(&host.endpoint, &network, &folder).await),
            None => None,
        };
        let mongod = tokio::task::block_in_place(|| Mongod::start(options.store, &folder));
        let cloud = broker
            .as_ref()
            .map_or_else(|| host.endpoint.clone(), FaultyBroker::endpoint);
        let mut arguments = engine.arguments();
        arguments.extend(
            [
                "--cloud-engine",
                &cloud,
                "--cloud-network",
                &network,
                "--tick",
                &options.tick.to_string(),
                "--return-machines",
                &options.returns.to_string(),
            ]
            .map(str::to_owned),
        );
        // The manager is a process of the host, its engine a container: machines reach the manager
        // through the network's gateway. The port outlives the manager.
        let port = free_port();
        arguments.extend([
            "--listen".to_owned(),
            format!("0.0.0.0:{port}"),
            "--api-address".to_owned(),
            host.gateway(&network).await,
        ]);
        if options.rented.as_ref().is_some_and(|rented| rented.stock) {
            arguments.extend(["--agent".to_owned(), cloudbroker::agent()]);
        }
        arguments.extend(
            mongod
                .iter()
                .flat_map(|mongod| ["--store".to_owned(), mongod.url().to_owned()]),
        );
        arguments.extend(
            options
                .arguments
                .iter()
                .map(|argument| (*argument).to_owned()),
        );
        let api = Client::connect(&address(&folder), &ConnectOptions::default())
            .expect("a socket's address");
        let rented = options.rented.as_ref().zip(simulator.as_ref());
        let setup = rented.map_or_else(
            || options.setup.xml(),
            |(rented, simulator)| rented.xml(&simulator.url(), &folder),
        );
        let mut cluster = Self {
            api,
            host,
            engine,
            broker,
            simulator,
            boots,
            port,
            arguments,
            manager: None,
            mongod,
            remains,
        };
        cluster.write_setup(&setup);
        cluster.start_manager(&[]).await;
        measured("a cluster made", begin.elapsed());
        cluster
    }

    /// Address of the manager's API.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.remains.folder)
    }

    /// Port of the manager's HTTPS API.
    #[must_use]
    pub const fn https_port(&self) -> u16 {
        self.port
    }

    /// A file in the manager's state folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.remains.folder.join(name)
    }

    #[must_use]
    pub fn broker(&self) -> &FaultyBroker {
        self.broker.as_ref().expect("`faulty` was asked for")
    }

    /// The simulator that machines are rented from.
    #[must_use]
    pub fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("`rented` was asked for")
    }

    /// The MongoDB with the cluster's records.
    #[must_use]
    pub fn mongod(&self) -> &Mongod {
        self.mongod
            .as_ref()
            .expect("a `store` other than the embedded one was asked for")
    }

    /// The manager's state folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.remains.folder
    }

    /// Process id of the manager.
    #[must_use]
    pub fn manager_pid(&self) -> u32 {
        self.manager
            .as_ref()
            .and_then(Manager::pid)
            .expect("a manager that runs")
    }

    /// Replaces `cloudsetup.xml`; the next manager reads it.
    pub fn write_setup(&self, text: &str) {
        std::fs::write(self.file("cloudsetup.xml"), text).expect("cloudsetup.xml");
    }

    /// Arguments for another manager with a state folder of its own on the same engine and clouds.
    #[must_use]
    pub fn arguments_of_another(&self, state: &Path) -> Vec<String> {
        std::fs::copy(self.file("cloudsetup.xml"), state.join("cloudsetup.xml"))
            .expect("cloudsetup.xml");
        let mut arguments = ["manager", "--state", &state.display().to_string()]
            .map(str::to_owned)
            .to_vec();
        arguments.extend_from_slice(&self.arguments);
        let listen = arguments.iter().position(|argument| argument == "--listen");
        arguments[listen.expect("it was told") + 1] = format!("0.0.0.0:{}", free_port());
        arguments
    }

    /// Last lines of the logs of its managers.
    #[must_use]
    pub fn manager_log(&self) -> String {
        log_tail(&self.remains.folder, 50)
    }

    /// Starts the manager and waits until it is ready.
    pub async fn start_manager(&mut self, environment: &[(&str, &str)]) {
        self.spawn_manager(environment);
        wait("the manager is ready", 60, async || {
            assert!(
                self.manager.as_mut().is_some_and(Manager::runs),
                "the manager ended by itself"
            );
            self.api.ready().await.ok()
        })
        .await;
    }

    /// Starts the manager without waiting.
    pub fn spawn_manager(&mut self, environment: &[(&str, &str)]) {
        assert!(
            !self.manager.as_mut().is_some_and(Manager::runs),
            "a manager runs already"
        );
        self.manager = Some(Manager::start(
            &self.remains.folder,
            &self.arguments,
            environment,
        ));
    }

    /// Kills the manager with SIGKILL.
    pub async fn kill_manager(&mut self) {
        self.manager.as_mut().expect("a manager").kill().await;
    }

    pub fn manager_runs(&mut self) -> bool {
        self.manager.as_mut().is_some_and(Manager::runs)
    }

    /// Waits until the manager has ended by itself.
    pub async fn manager_ended(&mut self) {
        self.manager.as_mut().expect("a manager").gone().await;
    }

    /// Kills the manager's engine and everything on it, as a power cut would.
    pub async fn kill_engine(&self) {
        self.host.kill(&self.engine.id).await;
    }

    /// Restarts the manager's engine after it was killed, and waits until it answers.
    pub async fn revive_engine(&self) {
        self.host.start(&self.engine.id).await;
        self.engine.answers().await;
    }

    /// Launches, and returns the recorded containers.
    pub async fn launch(&self, request: &LaunchRequest) -> ContainerView {
        let launched = self.api.launch(request).await;
        let launched = launched.unwrap_or_else(|error| panic!("launch: {error}"));
        launched.into_iter().next().expect("one container")
    }

    /// Number of machines that the cloud has booted for this cluster since then.
    #[must_use]
    pub fn machines_booted_since(&self, since: SystemTime) -> usize {
        let cluster = std::fs::read_to_string(self.file("cluster-id")).expect("the cluster's id");
        self.boots.since(since, cluster.trim())
    }

    /// Gives the manager's engine the image `micado-tools`: a shell and its tools, and a folder
    /// `/data`.
    pub async fn load_tools(&self) {
        self.engine.import_tools().await;
    }

    /// Runs a script beside the manager's engine.
    pub async fn on_engine(&self, script: &str) -> String {
        self.host.run(&self.engine.id, script).await
    }

    /// Running tasks of the engine, each with its container on its machine.
    pub async fn running_tasks(&self) -> BTreeMap<String, String> {
        self.engine.running_tasks().await
    }

    /// The engine's Swarm services.
    pub async fn swarm_services(&self) -> Vec<String> {
        self.engine.services().await
    }

    /// Names of a container on the shared network: the two that it shares with its service's other
    /// containers, the plain one first, and its own.
    pub async fn names_of(&self, container: &str) -> [String; 3] {
        let names = self
            .engine
            .names_of(container)
            .await
            .and_then(|names| names.try_into().ok());
        names.unwrap_or_else(|| panic!("{container} has no three names on its network"))
    }

    /// Present worker token of the Swarm.
    pub async fn worker_token(&self) -> String {
        self.engine.worker_token().await
    }

    /// Nodes of the Swarm, including the manager's own.
    pub async fn nodes(&self) -> Vec<String> {
        self.engine.nodes().await
    }

    /// Instances that the Swarm's engines claim to be, by their labels.
    pub async fn claims(&self) -> Vec<String> {
        self.engine.claims().await
    }

    /// Removes all containers, stops all instances, and waits until none of either is left.
    pub async fn empty(&self) {
        let view = self.look().await.expect("a manager that answers");
        for container in &view.containers {
            self.api
                .quit(container.name.as_str(), true)
                .await
                .unwrap_or_else(|error| panic!("quit: {error}"));
        }
        self.until("no container is left", 60, |view| {
            view.containers.is_empty().then_some(())
        })
        .await;
        for instance in view.in_use() {
            self.api
                .stop(instance.tag.as_str(), true)
                .await
                .unwrap_or_else(|error| panic!("stop: {error}"));
        }
        self.until("no instance is in use", 60, |view| {
            view.in_use().is_empty().then_some(())
        })
        .await;
        wait("the cloud has no machine", 60, async || {
            self.machines().await.is_empty().then_some(())
        })
        .await;
    }

    /// Reply of this container's web server at its published port.
    pub async fn ask(&self, name: &str, path: &str) -> String {
        let view = self.look().await.expect("a manager that answers");
        let container = view
            .container(name)
            .unwrap_or_else(|| panic!("no container {name}"));
        let port = container
            .ports
            .iter()
            .find_map(|port| port.host)
            .unwrap_or_else(|| panic!("{name} has no published port: {container:?}"));
        let address = container.address.as_deref().expect("the machine's address");
        wait(
            &format!("{name} answers at {address}:{port}"),
            5,
            async || self.get(address, port, path).await,
        )
        .await
    }

    /// Reply of an HTTP server, if it replies.
    pub async fn get(&self, address: &str, port: u16, path: &str) -> Option<String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .tls_certs_only([])
            .build()
            .expect("an HTTP client");
        client
            .get(format!("http://{address}:{port}{path}"))
            .send()
            .await
            .ok()?
            .text()
            .await
            .ok()
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}", folder.join("micado.sock").display())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.remains.on_a_thread(async |host, remains| {
                diagnosis::print(host, &remains.network, &remains.folder).await
            });
        }
        if let Some(manager) = &mut self.manager {
            manager.end();
        }
    }
}

/// Resources to remove: everything on this network, and this folder.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) network: String,
    folder: PathBuf,
}

impl Remains {
    /// Runs on a thread and a runtime of its own: a drop cannot await, and the test's own runtime
    /// may be going down.
    fn on_a_thread(&self, work: impl AsyncFnOnce(&Host, &Self) + Send) {
        let done = std::thread::scope(|scope| {
            let body = || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map(|runtime| {
                        runtime.block_on(async { work(&Host::connect().await, self).await })
                    })
            };
            scope.spawn(body).join()
        });
        if !matches!(done, Ok(Ok(()))) {
            eprintln!("the end of the cluster on {} failed", self.network);
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        self.on_a_thread(async |host, remains| host.clear(&remains.network).await);
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays behind: {error}", self.folder.display());
        }
    }
}
