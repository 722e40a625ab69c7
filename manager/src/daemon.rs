//! The daemon: connects the parts and runs them until it is stopped.

mod catalogue;
mod descriptors;
mod https;
mod registry;
mod schedule;
mod state;

pub(crate) use state::private_folder;

use crate::{
    api::{Api, ApiState, Gate, Listen, Token},
    build::Builds,
    cli::args::{ManagerArgs, Tick, UnknownNodes},
    control::{
        Config, heartbeat_for,
        runtime::{Effects, JoinConfig, Runtime},
    },
    engine::{
        Engine,
        swarm::{Claim, Leadership, Swarm, SwarmConfig},
    },
    metrics::{Foresight, History, LoadWatch, Metrics, Refresh, Rollup},
    model::Setting,
    pki::Pki,
    query::QueryWatch,
    registry::Registry,
    store::{Change, EmbeddedStore, Key, KeyFile, Kind, MongoStore, Place, Record, Store},
};
use anyhow::{Context, Result, anyhow};
use micado_api::{CloudName, ClusterId};
use micado_cloudsetup::{
    Broker, BrokerKind, Cloud, CloudBroker, CloudSetup, LocalCloud, LocalConfig,
};
use schedule::Schedule;
use state::write_public;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::SignalKind,
    sync::{mpsc, watch},
};

/// Runs the manager until a SIGTERM or SIGINT.
///
/// # Errors
/// If a part cannot be made ready, with its name and the cause; or if another manager has taken the
/// store.
pub async fn run(args: ManagerArgs) -> Result<()> {
    Daemon::build(args).await?.run().await
}

/// The parts of the manager, ready to run.
struct Daemon {
    store: Arc<dyn Store>,
    runtime: Runtime,
    ticks: mpsc::Receiver<()>,
    refresh: Refresh,
    api: Api,
    names: catalogue::Names,
    offered: ApiState,
    token: Token,
    lease: Arc<Leadership>,
    _schedule: Schedule,
}

impl Daemon {
    async fn build(args: ManagerArgs) -> Result<Self> {
        descriptors::raise();
        let state = private_folder(&args.state)?;
        let setup = cloud_setup(&args, &state)?;
        let opened = open_store(args.store.clone(), &state).await?;
        let (swarm, lease, brokers) = settle(&args, &state, &setup, opened.store.as_ref()).await?;
        let (cluster, address) = (swarm.cluster().clone(), swarm.address().await?);
        let pki = Arc::new(Pki::open(&state.join("pki"))?);
        write_public(&state.join("ca.crt"), pki.authority())?;
        let registry = Arc::new(registry::open(&args, &swarm, &pki, &address).await?);
        tokio::spawn(registry.clone().keep());
        let kept = registry.clone();
        let api = bind(&args, &state, &pki, &address)?;
        let token = Token::load_or_make(&state)?;

        let builds = Builds::new(swarm.docker().clone(), registry.clone(), state.clone());
        let config = config(&args, &swarm, setup);
        let engine: Arc<dyn Engine> = Arc::new(swarm);
        let key = Arc::new(pki.credential_key()?);
        let url = https::join_url(&args, &address, api.https_address()?.port());
        let effects = Effects {
            cluster: cluster.clone(),
            join: JoinConfig {
                url: url.clone(),
                authority: pki.authority().to_owned(),
                key: key.clone(),
            },
            engine: engine.clone(),
            brokers,
            registry: registry.clone(),
        };
        let gate = Gate {
            key,
            pki,
            registry,
            agent: args.agent.clone().or_else(agent_beside),
        };
        let (store, history) = (opened.store, opened.history);
        let (runtime, handle) = Runtime::new(config, store.clone(), effects);
        let metrics = Arc::new(Metrics::new(handle.facts().clone()));
        let refresh = Refresh {
            metrics: metrics.clone(),
            handle: handle.clone(),
            history: history.clone(),
            shown: opened.shown,
        };
        let names = catalogue::offer(&args, &state, &handle, &cluster, &address, &api).await?;
        let (schedule, ticks) = start_jobs(&args, &refresh, kept).await?;
        tracing::info!(%cluster, listen = %args.listen, advertise = %address, join = %url, "the manager is up");
        Ok(Self {
            store,
            runtime,
            ticks,
            refresh,
            api,
            names,
            offered: ApiState::new(handle, engine, gate, metrics, history, builds)
                .led(lease.clone()),
            token,
            lease,
            _schedule: schedule,
        })
    }

    async fn run(self) -> Result<()> {
        let (stop, stopped) = watch::channel(false);
        let mut until_led = stopped.clone();
        let led = async {
            tokio::select! {
                error = self.lease.lost() => Err(anyhow!(error)),
                _ = until_led.wait_for(|stop| *stop) => Ok(()),
            }
        };
        let mut until = stopped.clone();
        let until_stopped = async move { drop(until.wait_for(|stop| *stop).await) };
        let mut until = stopped.clone();
        let until_named = async move { drop(until.wait_for(|stop| *stop).await) };
        let names = self.names.serve(self.refresh.handle.clone(), until_named);
        let serve = async {
            let served = self.api.serve(self.offered, self.token, until_stopped);
            served.await.context("the API failed")
        };
        let work = async {
            let worked = self.runtime.run(self.ticks, stopped);
            worked.await.context("the store failed")
        };
        let signals = async {
            signal().await?;
            stop.send_replace(true);
            Ok(())
        };
        let ended = tokio::try_join!(serve, names, work, led, signals).map(drop);
        if ended.is_ok() {
            self.refresh.end().await;
        }
        self.store.close().await;
        ended
    }
}

/// Interval of the roll-up.
const ROLL_UP: Duration = Duration::from_secs(60);

/// Starts the jobs: refresh, roll-up, garbage collection, the watch of loads and the forecast as
/// tasks, and the ticks of the control loop.
async fn start_jobs(
    args: &ManagerArgs,
    refresh: &Refresh,
    registry: Arc<Registry>,
) -> Result<(Schedule, mpsc::Receiver<()>)> {
    let rollup = Rollup {
        metrics: refresh.metrics.clone(),
        handle: refresh.handle.clone(),
        history: refresh.history.clone(),
    };
    let loads = LoadWatch {
        metrics: refresh.metrics.clone(),
        handle: refresh.handle.clone(),
    };
    let queries = QueryWatch {
        handle: refresh.handle.clone(),
    };
    let foresight = Foresight {
        metrics: refresh.metrics.clone(),
        handle: refresh.handle.clone(),
        history: refresh.history.clone(),
    };
    let schedule = Schedule::new().await?;
    let ticks = schedule.ticks(&args.tick).await?;
    tokio::spawn(refresh.clone().run(schedule.ticks(&args.refresh).await?));
    tokio::spawn(rollup.run(schedule.ticks(&Tick::Every(ROLL_UP)).await?));
    if registry.is_own().is_ok() {
        tokio::spawn(registry.collect_at(schedule.ticks(&args.registry_gc).await?));
    }
    tokio::spawn(loads.run());
    tokio::spawn(queries.run());
    tokio::spawn(foresight.run());
    schedule.start().await?;
    Ok((schedule, ticks))
}

fn cloud_setup(args: &ManagerArgs, state: &Path) -> Result<CloudSetup> {
    let beside = || state.join("cloudsetup.xml");
    Ok(CloudSetup::read(
        &args.cloudsetup.clone().unwrap_or_else(beside),
    )?)
}

fn config(args: &ManagerArgs, swarm: &Swarm, setup: CloudSetup) -> Config {
    Config {
        max_instances: Some(args.max_instances),
        max_price: args.max_price,
        remove_unknown_nodes: args.unknown_nodes == UnknownNodes::Remove,
        return_machines: args.return_machines,
        hold: args.hold,
        down_timeout: args.down_timeout,
        heartbeat: swarm.heartbeat(),
        catalogue: catalogue::is_wanted(args),
        drain_wait: args.drain_wait,
        ..Config::new(swarm.cluster().clone(), setup)
    }
}

/// Binds the API on both listeners, with a certificate that is renewed while it serves.
fn bind(args: &ManagerArgs, state: &Path, pki: &Arc<Pki>, address: &str) -> Result<Api> {
    let names = https::own_names(args, address);
    let identity = pki.server_certificate("https", &names)?;
    let api = Api::bind(&Listen {
        socket: &state.join("micado.sock"),
        https: args.listen,
        certificate: identity.certificate.as_bytes(),
        key: identity.key.as_bytes(),
        authority: pki.authority().as_bytes(),
    })?;
    tokio::spawn(https::keep_certificate(
        pki.clone(),
        names,
        api.certificate(),
    ));
    Ok(api)
}

/// One store, under its different traits.
struct Opened {
    store: Arc<dyn Store>,
    history: Arc<dyn History>,
    /// Collections for people to read, if the store is a MongoDB.
    shown: Option<Arc<MongoStore>>,
}

async fn open_store(place: Option<Place>, state: &Path) -> Result<Opened> {
    let keys = Arc::new(KeyFile::open(state)?);
    let file = match place.map(Place::resolve).transpose()? {
        Some(Place::MongoDb(url)) => {
            let store = Arc::new(MongoStore::open(&url, keys).await?);
            return Ok(Opened {
                store: store.clone(),
                history: store.clone(),
                shown: Some(store),
            });
        }
        Some(Place::File(file) | Place::Written(file)) => file,
        None => state.join(STORE),
    };
    let store = Arc::new(EmbeddedStore::open(file, keys).await?);
    Ok(Opened {
        store: store.clone(),
        history: store,
        shown: None,
    })
}

/// Makes the engine a Swarm manager of the store's cluster (or of a new one), takes the lease to
/// lead it, and makes the clouds' brokers.
async fn settle(
    args: &ManagerArgs,
    state: &Path,
    setup: &CloudSetup,
    store: &dyn Store,
) -> Result<(Swarm, Arc<Leadership>, Brokers)> {
    let contents = store.load().await?;
    let setting = |wanted: &str| {
        contents.iter().find_map(|(record, _)| match record {
            Record::Setting(it) if it.name == wanted => Some(it.value.clone()),
            _ => None,
        })
    };
    let known = setting(CLUSTER).map(ClusterId::trusted);
    let identity = match setting(IDENTITY) {
        Some(identity) => identity,
        None => keep_setting(store, IDENTITY, format!("{:016x}", rand::random::<u64>())).await?,
    };
    let claim = Claim {
        identity,
        take_over: args.take_over,
        lasts: args.lease,
    };
    let present = Swarm::present(&args.engine).await?;
    let labelled = present.as_ref().and_then(|swarm| swarm.cluster.clone());
    let file = state.join("cluster-id");
    let fresh = || {
        drawn(&file).unwrap_or_else(|| ClusterId::trusted(format!("{:08x}", rand::random::<u32>())))
    };
    let cluster = known.clone().or(labelled.clone()).unwrap_or_else(fresh);
    // Before anything is written: a refused manager must not take the cluster for its own later.
    let mut lease = None;
    if present.is_some() && labelled.is_none_or(|labelled| labelled == cluster) {
        lease = Some(Swarm::lead(&args.engine, &claim).await?);
    }
    // Before anything is made under this id, so that a clean-up finds it.
    write_public(&file, &format!("{cluster}\n"))?;
    let subnet = present.as_ref().and_then(|swarm| swarm.subnet.clone());
    let locals: Vec<_> = setup
        .clouds
        .iter()
        .filter(|cloud| cloud.broker == BrokerKind::Local)
        .map(|cloud| local(args, &cluster, cloud, subnet.clone()))
        .collect();
    let rented = CloudBroker::all(setup)?;
    let mut config = SwarmConfig {
        endpoint: args.engine.clone(),
        advertise: args.advertise.clone(),
        wanted: known.clone(),
        heartbeat: heartbeat_for(args.down_timeout),
        ..SwarmConfig::new(cluster.clone())
    };
    // A new Swarm gets that network's gateway as its address. An existing Swarm made so needs the
    // network before its address.
    if let Some(local) = locals.iter().find(|_| shares_engine(args))
        && args.advertise.is_none()
        && (present.is_none() || subnet.is_some())
    {
        let (gateway, subnet) = local.gateway(&cluster).await?;
        config.advertise = Some(gateway.to_string());
        config.gateway_of = Some(subnet);
    }
    let swarm = Swarm::connect(&config).await?;
    let lease = match lease {
        Some(lease) => lease,
        None => Swarm::lead(&args.engine, &claim).await?,
    };
    if known.is_none() {
        keep_setting(store, CLUSTER, swarm.cluster().to_string()).await?;
    }
    let brokers = locals
        .into_iter()
        .map(|it| Arc::new(it) as Arc<dyn Broker>)
        .chain(rented.into_iter().map(|it| Arc::new(it) as Arc<dyn Broker>))
        .map(|broker| (broker.cloud().clone(), broker))
        .collect();
    Ok((swarm.led(lease.clone()), lease, brokers))
}

/// Brokers by the names of their clouds.
type Brokers = BTreeMap<CloudName, Arc<dyn Broker>>;

/// Stores a setting if it is missing, and returns its value.
async fn keep_setting(store: &dyn Store, name: &str, value: String) -> Result<String> {
    let change = Change {
        key: Key::Setting(name.to_owned()),
        expected: 0,
        record: Some(Setting::new(name, &value).into_record()),
    };
    store.commit(&[change]).await?;
    Ok(value)
}

/// The store's file in the state folder.
const STORE: &str = "store.redb";

/// The setting that names the cluster.
const CLUSTER: &str = "cluster";

/// Setting that identifies this store: its manager may lead the cluster.
const IDENTITY: &str = "identity";

/// Cluster id of a first start that ended before the Swarm had it: networks may carry it already.
fn drawn(file: &Path) -> Option<ClusterId> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The broker of a cloud on this machine. `subnet`: required addresses of its network, if any.
fn local(
    args: &ManagerArgs,
    cluster: &ClusterId,
    cloud: &Cloud,
    subnet: Option<String>,
) -> LocalCloud {
    let endpoint = args
        .cloud_engine
        .clone()
        .or_else(|| cloud.endpoint.clone())
        .unwrap_or_else(|| args.engine.clone());
    let network = args
        .cloud_network
        .clone()
        .unwrap_or_else(|| format!("micado-{cluster}-instances"));
    LocalCloud::new(
        cloud.clone(),
        endpoint,
        LocalConfig {
            network,
            image: args.node_image.clone(),
            subnet: subnet.filter(|_| shares_engine(args)),
        },
    )
}

/// Returns true if the instances of `local` clouds are on the manager's own engine, and so reach it
/// through their network's gateway.
fn shares_engine(args: &ManagerArgs) -> bool {
    args.cloud_engine
        .as_ref()
        .is_none_or(|engine| *engine == args.engine)
}

/// The node agent's program in the folder of `micado` itself, if it exists.
fn agent_beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name("micado-node")).filter(|path| path.is_file())
}

/// Resolves when the process is asked to stop.
async fn signal() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_id_counts_as_drawn() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cluster-id");
        assert_eq!(drawn(&file), None);
        for (text, id) in [
            ("", None),
            ("a b\n", None),
            ("0123abcd\n", Some("0123abcd")),
        ] {
            write_public(&file, text).expect("written");
            assert_eq!(drawn(&file).as_ref().map(ClusterId::as_str), id, "{text:?}");
        }
    }
}
