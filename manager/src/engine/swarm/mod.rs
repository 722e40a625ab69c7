//! Docker in Swarm mode: the engine that runs the containers.

mod edited;
mod events;
mod hidden;
mod image;
pub(crate) use image::{check as check_image, is_pulled, repository, short};
pub(crate) mod labels;
mod lease;
mod logs;
mod setup;
pub use lease::{Claim, Leadership};
pub use setup::Present;
mod spec;
mod template;
mod token;
mod view;

use super::{
    Engine, EngineError, EngineEvent, ImageFacts, JoinFacts, LogLine, LogOptions, Observation,
    SwarmNode, SwarmService, SwarmTask,
    docker::{self, LIMIT, ask, explain_as, status, words},
    login,
};
use crate::{
    control::{DOWN_TIMEOUT, heartbeat_for},
    model::{Container, Copy, Login, Service},
};
use bollard::{
    Docker,
    models::{self, NodeSpec, NodeSpecAvailabilityEnum, ServiceSpec},
    query_parameters::{
        DeleteNodeOptions, ListServicesOptions, ListTasksOptions, UpdateNodeOptions,
        UpdateServiceOptions,
    },
};
use futures_util::stream::BoxStream;
use micado_api::ClusterId;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Address of the engine, and settings for its Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmConfig {
    /// `unix:///PATH` or `tcp://HOST:PORT`.
    pub endpoint: String,
    /// Address under which machines reach this engine. With `None`, the engine chooses; if it
    /// cannot, this host's own outward address is used. Only for an engine that is not in a Swarm
    /// yet.
    pub advertise: Option<String>,
    /// Cluster that the Swarm must be; `None` accepts any.
    pub wanted: Option<ClusterId>,
    /// Id for a Swarm without one if none is wanted.
    pub fresh: ClusterId,
    /// Addresses of the containers' overlay network when it is first made, one per container. It
    /// must overlap with no network of the machines.
    pub subnet: String,
    /// Addresses of the network with the advertised address as its gateway, if it is one of a
    /// `local` cloud. A new Swarm remembers them: see [`Present::subnet`].
    pub gateway_of: Option<String>,
    /// Heartbeat of nodes in a Swarm that the manager made: a node that misses three is down. Whole
    /// seconds.
    pub heartbeat: Duration,
}

impl SwarmConfig {
    /// The engine of this host, for a cluster that gets this id if the Swarm has none.
    #[must_use]
    pub fn new(fresh: ClusterId) -> Self {
        Self {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            advertise: None,
            wanted: None,
            fresh,
            // Swarm's own choice would be a /24, full with 250 containers.
            subnet: "10.213.0.0/16".to_owned(),
            gateway_of: None,
            heartbeat: heartbeat_for(DOWN_TIMEOUT),
        }
    }
}

/// The Swarm of one cluster, through one of its managers.
#[derive(Debug, Clone)]
pub struct Swarm {
    docker: Docker,
    /// Its address.
    endpoint: String,
    cluster: ClusterId,
    heartbeat: Duration,
    /// `None`: changes are not guarded by a lease.
    lease: Option<Arc<Leadership>>,
    specs: Arc<edited::Specs>,
}

/// Name of the overlay network of all containers of a cluster.
#[must_use]
pub fn network_name(cluster: &ClusterId) -> String {
    format!("micado-{cluster}")
}

/// Upper bound for attempts to change a node that somebody else changes at the same time.
const ATTEMPTS: u32 = 5;

/// Upper bound for names in a filter. Each has 64 bytes, and a URL may have some 65,000.
const NAMES: usize = 100;

impl Swarm {
    /// Connects to the engine, makes it a Swarm manager if it is in no Swarm, determines the
    /// Swarm's cluster, and makes the cluster's network. All steps are idempotent.
    ///
    /// # Errors
    /// `Refused` if the engine is too old or new, a worker of another Swarm, of another cluster, or
    /// needs an advertise address; `Unavailable` if it does not answer.
    pub async fn connect(config: &SwarmConfig) -> Result<Self, EngineError> {
        let docker = docker::connect(&config.endpoint).await?;
        setup::become_manager(&docker, config).await?;
        let (cluster, heartbeat) = setup::settle(&docker, config).await?;
        setup::make_network(&docker, &cluster, &config.subnet).await?;
        Ok(Self {
            docker,
            endpoint: config.endpoint.clone(),
            cluster,
            heartbeat,
            lease: None,
            specs: Arc::default(),
        })
    }

    /// Returns the Swarm that the engine already manages, if any. Changes nothing.
    ///
    /// # Errors
    /// As [`Swarm::connect`].
    pub async fn present(endpoint: &str) -> Result<Option<Present>, EngineError> {
        let docker = docker::connect(endpoint).await?;
        setup::present(&docker, endpoint).await
    }

    /// Takes the lease of the Swarm that the engine manages. One of another identity is watched
    /// until it is renewed or expires.
    ///
    /// # Errors
    /// `Refused` while another manager holds it; else as [`Swarm::connect`].
    pub async fn lead(endpoint: &str, claim: &Claim) -> Result<Arc<Leadership>, EngineError> {
        lease::take(&docker::connect(endpoint).await?, claim).await
    }

    /// Guards changes of this Swarm by this lease.
    #[must_use]
    pub fn led(self, lease: Arc<Leadership>) -> Self {
        Self {
            lease: Some(lease),
            ..self
        }
    }

    /// Refuses changes without the lease.
    async fn may_change(&self) -> Result<(), EngineError> {
        match &self.lease {
            Some(lease) => lease.ensure().await,
            None => Ok(()),
        }
    }

    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Heartbeat of the Swarm when it was connected to: its owner's, if the Swarm existed before.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// The engine itself, for calls outside of Swarm.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Returns the address under which machines reach this engine, as the Swarm has it.
    ///
    /// # Errors
    /// `Unavailable` if the engine does not answer or has no address.
    pub async fn address(&self) -> Result<String, EngineError> {
        let info = ask(
            || "ask the engine for its Swarm address".to_owned(),
            self.docker.info(),
        )
        .await?;
        let address = info
            .swarm
            .and_then(|swarm| swarm.node_addr)
            .filter(|address| !address.is_empty());
        address.ok_or_else(|| {
            EngineError::Unavailable(
                "the engine does not say which address it has in the Swarm".to_owned(),
            )
        })
    }

    /// Tries once to change a node's availability; `false` if somebody else changed the node in
    /// between.
    async fn try_set_active(
        &self,
        node: &str,
        availability: NodeSpecAvailabilityEnum,
    ) -> Result<bool, EngineError> {
        let found = ask(
            || format!("look at node `{node}`"),
            self.docker.inspect_node(node),
        )
        .await?;
        let spec = found.spec.unwrap_or_default();
        if spec.availability == Some(availability) {
            return Ok(true);
        }
        let version = found
            .version
            .and_then(|version| version.index)
            .and_then(|index| i64::try_from(index).ok())
            .unwrap_or_default();
        let changed = NodeSpec {
            availability: Some(availability),
            ..spec
        };
        let update = self
            .docker
            .update_node(node, changed, UpdateNodeOptions { version });
        match ask(|| format!("set node `{node}` to {availability}"), update).await {
            Ok(()) => Ok(true),
            Err(error) if is_out_of_sequence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists services of this cluster; with names, those with a name that begins with one of them.
    async fn list_services(
        &self,
        names: Option<Vec<String>>,
    ) -> Result<Vec<SwarmService>, EngineError> {
        let label = format!("{}={}", labels::CLUSTER, self.cluster);
        let mut filters = HashMap::from([("label".to_owned(), vec![label])]);
        filters.extend(names.clone().map(|names| ("name".to_owned(), names)));
        let ours = ListServicesOptions {
            filters: Some(filters),
            ..Default::default()
        };
        let services = ask(
            || "list the Swarm's services".to_owned(),
            self.docker.list_services(Some(ours)),
        )
        .await?;
        if names.is_none() {
            let all = services.iter().filter_map(|service| service.id.as_deref());
            self.specs.keep(&all.collect());
        }
        let services = services.into_iter();
        Ok(services.filter_map(|it| self.as_ours(it)).collect())
    }

    /// A service of ours as the core sees it.
    fn as_ours(&self, service: models::Service) -> Option<SwarmService> {
        let edited = self.specs.is_edited(&service);
        let service = view::service(&self.cluster, service)?;
        Some(SwarmService { edited, ..service })
    }

    /// Sets a Swarm service with a name of ours back to this spec, if someone else changed it. An
    /// unchanged task keeps running.
    async fn set_back(&self, name: &str, spec: ServiceSpec) -> Result<(), EngineError> {
        let find = || {
            let what = || format!("look at Swarm service `{name}`");
            ask(what, self.docker.inspect_service(name, None))
        };
        for _ in 0..ATTEMPTS {
            let found = find().await?;
            let as_made = self.as_ours(found.clone());
            if as_made.is_some_and(|service| !service.edited) {
                return Ok(());
            }
            let options = UpdateServiceOptions {
                version: i32::try_from(edited::version(&found)).unwrap_or_default(),
                ..Default::default()
            };
            let update = self
                .docker
                .update_service(name, spec.clone(), options, None);
            match ask(|| format!("set Swarm service `{name}` back"), update).await {
                Ok(_) => {
                    self.specs.set_back(&find().await?);
                    return Ok(());
                }
                Err(error) if is_out_of_sequence(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::Unavailable(format!(
            "cannot set Swarm service `{name}` back: it was changed by others {ATTEMPTS} times in a row"
        )))
    }

    async fn list_tasks(
        &self,
        filters: Option<HashMap<String, Vec<String>>>,
    ) -> Result<Vec<SwarmTask>, EngineError> {
        let tasks = ask(
            || "list the Swarm's tasks".to_owned(),
            self.docker.list_tasks(Some(ListTasksOptions { filters })),
        )
        .await?;
        Ok(tasks.into_iter().filter_map(view::task).collect())
    }
}

#[async_trait::async_trait]
impl Engine for Swarm {
    /// Lists tasks first: then every listed task of ours has its service and its node in the lists
    /// that follow.
    async fn observe(&self) -> Result<Observation, EngineError> {
        let tasks = self.list_tasks(None).await?;
        let services = self.list_services(None);
        let nodes = ask(
            || "list the Swarm's nodes".to_owned(),
            self.docker.list_nodes(None),
        );
        let (services, nodes) = tokio::try_join!(services, nodes)?;
        Ok(Observation {
            nodes: nodes
                .into_iter()
                .filter_map(|node| view::node(&self.cluster, node))
                .collect(),
            services,
            tasks,
            as_of: 0,
        })
    }

    async fn services(&self, names: &[String]) -> Result<Vec<SwarmService>, EngineError> {
        let mut found = Vec::new();
        for names in names.chunks(NAMES) {
            // The engine's filter matches prefixes of names.
            let named = self.list_services(Some(names.to_vec())).await?;
            found.extend(
                named
                    .into_iter()
                    .filter(|service| names.contains(&service.name)),
            );
        }
        Ok(found)
    }

    async fn node(&self, id: &str) -> Result<Option<SwarmNode>, EngineError> {
        let found = ask(
            || format!("look at node `{id}`"),
            self.docker.inspect_node(id),
        )
        .await;
        match found {
            Ok(node) => Ok(view::node(&self.cluster, node)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Filters by the tasks' own names (`SERVICE.SLOT.ID`), because a filter by service fails
    /// completely if one of them is gone. For many services all tasks are listed, also those of
    /// others: the names would not fit into one URL, and tasks themselves do not carry our labels.
    async fn tasks(&self, services: &[String]) -> Result<Vec<SwarmTask>, EngineError> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        if services.len() > NAMES {
            return self.list_tasks(None).await;
        }
        let names = services
            .iter()
            .map(|service| format!("{service}."))
            .collect();
        self.list_tasks(Some(HashMap::from([("name".to_owned(), names)])))
            .await
    }

    async fn tasks_on(&self, node: &str) -> Result<Vec<SwarmTask>, EngineError> {
        let filters = HashMap::from([("node".to_owned(), vec![node.to_owned()])]);
        match self.list_tasks(Some(filters)).await {
            Err(EngineError::NotFound(_)) => Ok(Vec::new()),
            tasks => tasks,
        }
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        events::events(self.docker.clone())
    }

    async fn create(
        &self,
        service: &Service,
        container: &Container,
        copy: &Copy,
        node: &str,
    ) -> Result<(), EngineError> {
        let spec = spec::service_spec(&self.cluster, service, container, copy, node)?;
        let template = spec.task_template.as_ref();
        let sent = template.and_then(|template| template.container_spec.as_ref());
        let environment = sent.and_then(|sent| sent.env.clone()).unwrap_or_default();
        self.may_change().await?;
        let create = self.docker.create_service(spec.clone(), None);
        let made = tokio::time::timeout(LIMIT, create).await;
        let what = format!("make the Swarm service of `{}`", container.name);
        match made {
            Ok(Ok(_)) => Ok(()),
            // The name is derived from the container and the generation, so a service with this
            // name is the same one, perhaps changed by others.
            Ok(Err(error)) if status(&error) == Some(409) => {
                self.set_back(&copy.swarm_name, spec).await
            }
            Ok(Err(error)) => {
                let message = hidden::without_values(&words(&error), &environment);
                Err(explain_as(&what, &error, &message))
            }
            Err(_) => Err(EngineError::Unavailable(format!(
                "cannot {what}: no answer within {} s",
                LIMIT.as_secs()
            ))),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.may_change().await?;
        gone(
            ask(
                || format!("remove Swarm service `{name}`"),
                self.docker.delete_service(name),
            )
            .await,
        )
    }

    async fn set_active(&self, node: &str, active: bool) -> Result<(), EngineError> {
        let availability = if active {
            NodeSpecAvailabilityEnum::ACTIVE
        } else {
            NodeSpecAvailabilityEnum::PAUSE
        };
        self.may_change().await?;
        for _ in 0..ATTEMPTS {
            if self.try_set_active(node, availability).await? {
                return Ok(());
            }
        }
        Err(EngineError::Unavailable(format!(
            "cannot set node `{node}` to {availability}: it was changed by others {ATTEMPTS} times in a row"
        )))
    }

    async fn remove_node(&self, node: &str) -> Result<(), EngineError> {
        self.may_change().await?;
        let removal = self
            .docker
            .delete_node(node, Some(DeleteNodeOptions { force: true }));
        gone(ask(|| format!("remove node `{node}` from the Swarm"), removal).await)
    }

    fn logs(
        &self,
        name: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<LogLine, EngineError>> {
        logs::whole(self.docker.clone(), name.to_owned(), options)
    }

    fn follow(
        &self,
        name: &str,
        after: Option<String>,
        tail: Option<u32>,
    ) -> BoxStream<'static, Result<LogLine, EngineError>> {
        logs::follow(&self.docker, name, after, tail)
    }

    async fn image(&self, image: &str, login: Option<&Login>) -> Result<ImageFacts, EngineError> {
        image::facts(&self.docker, image, login).await
    }

    async fn log_in(
        &self,
        host: &str,
        user: &str,
        password: &str,
    ) -> Result<Option<String>, EngineError> {
        login::check(&self.endpoint, host, user, password).await
    }

    async fn join_facts(&self) -> Result<JoinFacts, EngineError> {
        token::facts(&self.docker).await
    }

    async fn rotate_join_token(&self) -> Result<(), EngineError> {
        self.may_change().await?;
        token::rotate(&self.docker).await
    }
}

/// Returns true if a change failed because someone else changed the object at the same time.
fn is_out_of_sequence(error: &EngineError) -> bool {
    let (EngineError::Refused(text) | EngineError::Unavailable(text)) = error else {
        return false;
    };
    text.contains("update out of sequence")
}

/// Takes the removal of a missing object for success.
fn gone(removed: Result<(), EngineError>) -> Result<(), EngineError> {
    match removed {
        Err(EngineError::NotFound(_)) => Ok(()),
        other => other,
    }
}
