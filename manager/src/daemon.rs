//! The daemon: puts the parts together, runs them until it is told to stop.

use crate::{
    api::{Api, ApiState, Certificate, Gate, JOIN_PATH, Listen, Token},
    cli::args::{ManagerArgs, Tick, UnknownNodes},
    control::{
        Config, heartbeat_for,
        runtime::{self, Bell, Outside, Runtime, WayIn},
    },
    engine::{
        Engine,
        swarm::{Claim, Leadership, Swarm, SwarmConfig},
    },
    metrics::{History, Metrics, Refresh, Rollup},
    pki::{Identity, Pki},
    registry::{OwnRegistry, Registry, ToldRegistry},
    store::{Change, EmbeddedStore, Key, KeyFile, MongoStore, Place, Record, Store},
};
use anyhow::{Context, Result, anyhow, bail};
use micado_api::{CloudName, ClusterId};
use micado_cloudsetup::{
    Broker, BrokerKind, Cloud, CloudBroker, CloudSetup, LocalCloud, LocalConfig,
};
use std::{
    collections::BTreeMap,
    fs::Permissions,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{signal::unix::SignalKind, sync::watch};
use tokio_cron_scheduler::{Job, JobScheduler};

/// Runs the manager until a SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot be made ready, each named with its cause; or when another manager has taken
/// the store.
pub async fn run(args: ManagerArgs) -> Result<()> {
    let state = private_folder(&args.state)?;
    let setup = CloudSetup::read(
        &args
            .cloudsetup
            .clone()
            .unwrap_or_else(|| state.join("cloudsetup.xml")),
    )?;
    let opened = open_store(args.store.clone(), &state).await?;
    let store = opened.store;
    let (swarm, lease, brokers) = settle(&args, &state, &setup, store.as_ref()).await?;
    let (cluster, heartbeat, address) = (
        swarm.cluster().clone(),
        swarm.heartbeat(),
        swarm.address().await?,
    );

    let pki = Arc::new(Pki::open(&state.join("pki"))?);
    write_public(&state.join("ca.crt"), pki.authority())?;
    let registry = match told_registry(&args)? {
        Some(told) => Registry::told(swarm.docker().clone(), &told)?,
        None => {
            Registry::run(
                swarm.docker().clone(),
                &pki,
                &own_registry(&args, &cluster, &address),
            )
            .await?
        }
    };
    if let Err(error) = registry.ready().await {
        tracing::warn!(%error, "the registry is not ready; images are pushed once it is");
    }
    let names = own_names(&args, &address);
    let identity = pki.server_certificate("https", &names)?;
    let api = Api::bind(&Listen {
        socket: &state.join("micado.sock"),
        https: args.listen,
        certificate: identity.certificate.as_bytes(),
        key: identity.key.as_bytes(),
        authority: pki.authority().as_bytes(),
    })?;
    tokio::spawn(keep_certificate(pki.clone(), names, api.certificate()));
    let token = Token::load_or_make(&state)?;

    let (engine, registry): (Arc<dyn Engine>, _) = (Arc::new(swarm), Arc::new(registry));
    let key = Arc::new(pki.credential_key()?);
    let url = join_url(&args, &address, api.https_address()?.port());
    let way_in = WayIn {
        url: url.clone(),
        authority: pki.authority().to_owned(),
        key: key.clone(),
    };
    let outside = Outside {
        cluster: cluster.clone(),
        way_in,
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
    let config = Config {
        max_instances: Some(args.max_instances),
        max_price: args.max_price,
        remove_unknown_nodes: args.unknown_nodes == UnknownNodes::Remove,
        down_timeout: args.down_timeout,
        heartbeat,
        ..Config::new(cluster.clone(), setup)
    };
    let (runtime, handle) = Runtime::new(config, store.clone(), opened.history.clone(), outside);
    let (bell, ticks) = runtime::bell();
    let _scheduler = schedule(&args.tick, bell).await?;
    let (metrics, history) = (Arc::new(Metrics::default()), opened.history);
    let (bell, turns) = runtime::bell();
    let _refreshing = schedule(&args.refresh, bell).await?;
    let refresh = Refresh {
        metrics: metrics.clone(),
        handle: handle.clone(),
        history: history.clone(),
        shown: opened.shown,
    };
    tokio::spawn(refresh.clone().run(turns));
    let (bell, minutes) = runtime::bell();
    let _rolling_up = schedule(&Tick::Every(MINUTE), bell).await?;
    tokio::spawn(
        Rollup {
            metrics: metrics.clone(),
            handle: handle.clone(),
            history: history.clone(),
        }
        .run(minutes),
    );
    let (stop, stopped) = watch::channel(false);
    tracing::info!(%cluster, listen = %args.listen, advertise = %address, join = %url, "the manager is up");

    let stopped_too = stopped.clone();
    let mut until = stopped.clone();
    let until_stopped = async move { drop(until.wait_for(|stop| *stop).await) };
    let serve = async {
        api.serve(
            ApiState::new(handle, engine, gate, metrics, history),
            token,
            until_stopped,
        )
        .await
        .context("the API failed")
    };
    let work = async {
        runtime
            .run(ticks, stopped)
            .await
            .context("the store failed")
    };
    let mut until = stopped_too;
    let led = async {
        tokio::select! {
            error = lease.lost() => Err(anyhow!(error)),
            _ = until.wait_for(|stop| *stop) => Ok(()),
        }
    };
    let signals = async {
        signal().await?;
        stop.send_replace(true);
        Ok(())
    };
    let ended = tokio::try_join!(serve, work, led, signals).map(drop);
    if ended.is_ok() {
        refresh.end().await;
    }
    store.close().await;
    ended
}

/// One store, by what it is to whom.
struct Opened {
    store: Arc<dyn Store>,
    history: Arc<dyn History>,
    /// Where people read how everything is, if that is a MongoDB.
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

/// The engine as a Swarm manager of the store's cluster (or of a new one), the lease to lead it, and
/// the clouds' brokers.
async fn settle(
    args: &ManagerArgs,
    state: &Path,
    setup: &CloudSetup,
    store: &dyn Store,
) -> Result<(Swarm, Arc<Leadership>, Brokers)> {
    let contents = store.load().await?;
    let setting = |wanted: &str| {
        contents.iter().find_map(|(record, _)| match record {
            Record::Setting(name, value) if name == wanted => Some(value.clone()),
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
    // Before anything is written: whoever is refused must not take the cluster for its own later.
    let mut lease = None;
    if present.is_some() && labelled.is_none_or(|labelled| labelled == cluster) {
        lease = Some(Swarm::lead(&args.engine, &claim).await?);
    }
    // Before anything is made under this id, so that whoever cleans up knows it.
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
    // Where a Swarm is to be made, its address is that network's gateway. Where one was made so, the
    // network is there again before the address is needed.
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

/// By the names of their clouds.
type Brokers = BTreeMap<CloudName, Arc<dyn Broker>>;

/// Records a setting that is not there yet, and returns its value.
async fn keep_setting(store: &dyn Store, name: &str, value: String) -> Result<String> {
    let change = Change {
        key: Key::Setting(name.to_owned()),
        expected: 0,
        record: Some(Record::Setting(name.to_owned(), value.clone())),
    };
    store.commit(&[change]).await?;
    Ok(value)
}

/// The store's file in the state folder.
const STORE: &str = "store.redb";

/// The setting that names the cluster.
const CLUSTER: &str = "cluster";

/// The setting that tells this store from others: whoever has it may lead the cluster.
const IDENTITY: &str = "identity";

/// The id that a first start drew that ended before the Swarm had it: networks may carry it
/// already.
fn drawn(file: &Path) -> Option<ClusterId> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The broker of a cloud of this machine's. `subnet`: what its network must have, if that matters.
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

/// Whether the instances of `local` clouds are on the manager's own engine, and so reach it through
/// their network's gateway.
fn shares_engine(args: &ManagerArgs) -> bool {
    args.cloud_engine
        .as_ref()
        .is_none_or(|engine| *engine == args.engine)
}

/// The node agent's program where `micado` itself is, if it is there.
fn agent_beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name("micado-node")).filter(|path| path.is_file())
}

/// The registry that the manager is told of, if it is.
fn told_registry(args: &ManagerArgs) -> Result<Option<ToldRegistry>> {
    let (Some(host), Some(authority), Some(certificate), Some(key)) = (
        &args.registry,
        &args.registry_ca,
        &args.registry_cert,
        &args.registry_key,
    ) else {
        return Ok(None);
    };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let client = Identity {
        certificate: read(certificate)?,
        key: read(key)?,
    };
    Ok(Some(ToldRegistry {
        host: host.clone(),
        authority: read(authority)?,
        client,
        certs_dir: args.registry_certs_dir.clone(),
    }))
}

/// The registry that the manager runs.
fn own_registry(args: &ManagerArgs, cluster: &ClusterId, address: &str) -> OwnRegistry {
    let certs_dir = args.registry_certs_dir.clone();
    OwnRegistry {
        port: args.registry_port,
        certs_dir,
        ..OwnRegistry::new(cluster.clone(), address.to_owned())
    }
}

/// Under which names the HTTPS API may be asked for.
fn own_names(args: &ManagerArgs, address: &str) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        address.to_owned(),
    ];
    names.extend(args.api_address.as_ref().map(|at| at.host.clone()));
    if !args.listen.ip().is_unspecified() {
        names.push(args.listen.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}

/// Where machines trade their credentials. `address` is where they reach the manager's engine,
/// `port` what the HTTPS API has.
fn join_url(args: &ManagerArgs, address: &str, port: u16) -> String {
    let said = args.api_address.as_ref();
    if said.is_none() && args.listen.ip().is_loopback() {
        tracing::warn!(listen = %args.listen, "no machine can reach the HTTPS API, so none will join; listen on an address of the machines' network, or say --api-address");
    }
    let host = said.map_or(address, |at| at.host.as_str());
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!(
        "https://{host}:{}{JOIN_PATH}",
        said.and_then(|at| at.port).unwrap_or(port)
    )
}

/// Rings the bell as often as the tick says. The scheduler lives as long as what is returned.
async fn schedule(tick: &Tick, bell: Bell) -> Result<JobScheduler> {
    let scheduler = JobScheduler::new().await?;
    let job = match tick {
        Tick::Every(interval) => Job::new_repeated(*interval, move |_, _| bell.ring())?,
        Tick::Cron(expression) => Job::new(expression.as_str(), move |_, _| bell.ring())
            .with_context(|| format!("cron expression `{expression}`"))?,
    };
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

/// Looks every day whether the certificate of the HTTPS API must be made anew, and has the API show
/// what there is.
async fn keep_certificate(pki: Arc<Pki>, names: Vec<String>, shown: Certificate) {
    loop {
        tokio::time::sleep(DAY).await;
        let kept = pki
            .server_certificate("https", &names)
            .map_err(anyhow::Error::from);
        let kept =
            kept.and_then(|it| Ok(shown.replace(it.certificate.as_bytes(), it.key.as_bytes())?));
        if let Err(error) = kept {
            tracing::warn!(%error, "the certificate of the HTTPS API could not be looked after; it is tried again tomorrow");
        }
    }
}

/// Between two roll-ups.
const MINUTE: Duration = Duration::from_secs(60);
/// Between two looks at the certificate.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Comes back when the process is told to stop.
async fn signal() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    Ok(())
}

/// The state folder, its owner's only, whoever made it. One that is open to others and holds other
/// things is not taken for ours.
pub(crate) fn private_folder(path: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot make the state folder `{}`", path.display());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(cannot)?;
    let open = std::fs::metadata(path)
        .with_context(cannot)?
        .permissions()
        .mode()
        & 0o077
        != 0;
    let known = [STORE, "cloudsetup.xml", "store.key"]
        .iter()
        .any(|file| path.join(file).exists());
    if open
        && !known
        && std::fs::read_dir(path)
            .with_context(cannot)?
            .next()
            .is_some()
    {
        bail!(
            "the state folder `{}` is open to others and holds other things: give the manager a folder of its own with --state",
            path.display()
        );
    }
    let private = || {
        format!(
            "cannot keep others out of the state folder `{}`; give it to the user that runs the manager",
            path.display()
        )
    };
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).with_context(private)?;
    path.canonicalize().with_context(cannot)
}

/// A file that everybody may read once they may enter the state folder.
fn write_public(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Verb};
    use clap::Parser;

    #[test]
    fn a_state_folder_that_was_open_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        std::fs::create_dir(&state).expect("made");
        std::fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("opened");
        private_folder(&state).expect("it is ours");
        assert_eq!(
            std::fs::metadata(&state)
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
    }

    fn args(line: &str) -> ManagerArgs {
        let line = format!("micado manager {line}");
        match Cli::parse_from(line.split_whitespace()).verb {
            Verb::Manager(args) => *args,
            verb => panic!("not the daemon: {verb:?}"),
        }
    }

    #[test]
    fn machines_are_told_an_address_that_the_certificate_names() {
        let cases = [
            ("", "https://10.0.0.1:7443/v1/join", "10.0.0.1"),
            (
                "--api-address micado.example.org",
                "https://micado.example.org:7443/v1/join",
                "micado.example.org",
            ),
            (
                "--api-address 192.0.2.7:443",
                "https://192.0.2.7:443/v1/join",
                "192.0.2.7",
            ),
            (
                "--api-address 2001:db8::7",
                "https://[2001:db8::7]:7443/v1/join",
                "2001:db8::7",
            ),
            (
                "--api-address [2001:db8::7]:443",
                "https://[2001:db8::7]:443/v1/join",
                "2001:db8::7",
            ),
        ];
        for (line, url, name) in cases {
            assert_eq!(join_url(&args(line), "10.0.0.1", 7443), url);
            assert!(
                own_names(&args(line), "10.0.0.1")
                    .iter()
                    .any(|it| it == name),
                "{line}"
            );
        }
    }

    #[test]
    fn an_open_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("theirs"), "").expect("written");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("opened");
        assert!(
            private_folder(folder.path())
                .expect_err("a refusal")
                .to_string()
                .contains("--state")
        );
        assert_eq!(
            std::fs::metadata(folder.path())
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
    }

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
