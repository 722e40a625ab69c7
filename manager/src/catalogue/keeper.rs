//! The keeper of the catalogue: reads what a pass of the core touched, and changes the catalogue.

use super::{Catalogue, Change, Entry, Node, Source, row};
use crate::{
    clock,
    control::{Core, Handle, ListedContainer, ListedNode, Reply, Request, Stale},
    model::Registration,
};
use micado_api::{ClusterId, ContainerName, ErrorBody, InstanceId};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Lower bound for the time between two changes: those in between are one change.
const PAUSE: Duration = Duration::from_millis(20);

/// Time until a read is tried again while there is no core.
const RETRY: Duration = Duration::from_millis(500);

/// Containers that one read of the core takes.
const PART: usize = 1_000;

/// Indexes are reserved this far ahead, in milliseconds: one commit is for all within.
const AHEAD_MS: u64 = 60_000;

/// Reason why the catalogue could not follow.
enum Missed {
    /// The engine does not answer.
    Engine,
    /// There is no core, or it could not keep an index.
    Core(ErrorBody),
}

/// Keeps a catalogue up to date.
#[derive(Debug)]
pub struct Keeper {
    pub catalogue: Catalogue,
    pub handle: Handle,
    pub cluster: ClusterId,
    /// The manager's own address: the node of entries made by hand.
    pub address: String,
}

impl Keeper {
    /// Runs for ever.
    pub async fn run(self) {
        let stale = self.handle.stale();
        let mut reserved = None;
        loop {
            stale.added().await;
            let pause = Instant::now() + PAUSE;
            loop {
                let taken = stale.take();
                match self.follow(taken.clone(), &mut reserved).await {
                    Ok(()) => break,
                    // Once it answers, everything is added.
                    Err(Missed::Engine) => break stale.put_back(taken),
                    Err(Missed::Core(error)) => {
                        tracing::debug!(%error, "the catalogue waits for the core");
                        stale.put_back(taken);
                        sleep(RETRY).await;
                    }
                }
            }
            sleep_until(pause).await;
        }
    }

    /// Reads these subjects and changes the catalogue.
    async fn follow(&self, stale: Stale, reserved: &mut Option<u64>) -> Result<(), Missed> {
        if reserved.is_none() {
            let kept = self.read(Core::reserved_index).await?;
            self.catalogue.begin(kept);
            *reserved = Some(kept);
        }
        let is_first = !self.catalogue.is_complete() && stale.all;
        let (nodes, moved) = self.nodes(&stale).await?;
        let known = |id: &InstanceId| known(&self.catalogue, &nodes, id);
        let mut names = stale.containers;
        names.extend(moved);
        let mut ids = stale.registrations;
        if stale.all {
            let kept = self.read(|core| core.registration_ids().cloned().collect());
            ids.extend::<BTreeSet<String>>(kept.await?);
            for source in self.catalogue.sources() {
                match source {
                    Source::Container(name) => drop(names.insert(name)),
                    Source::Registration(id) => drop(ids.insert(id)),
                }
            }
        }
        let mut entries = self.of_containers(names, known).await?;
        entries.extend(self.of_registrations(ids).await?);
        let index = self.catalogue.next_index(clock::now().0);
        self.reserve(index, reserved).await?;
        self.catalogue.apply(index, Change { entries, nodes });
        if is_first {
            self.catalogue.complete(index);
        }
        Ok(())
    }

    /// Reads from the core, if the engine answers at that moment: else everything would look as if
    /// it were starting.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Missed> {
        let read = |core: &Core| core.can_list().then(|| read(core));
        let read = self.handle.read(read).await.map_err(Missed::Core)?;
        read.ok_or(Missed::Engine)
    }

    /// Machines that look different, and the containers on them.
    async fn nodes(&self, stale: &Stale) -> Result<(Nodes, Vec<ContainerName>), Missed> {
        let mut ids = stale.instances.clone();
        if stale.all {
            ids.extend(self.catalogue.node_ids());
        }
        let read = |core: &Core| -> Vec<(InstanceId, Option<ListedNode>)> {
            let node = |id| {
                let node = core.listed_node(&id);
                (id, node)
            };
            ids.into_iter().map(node).collect()
        };
        let nodes = self.read(read).await?.into_iter();
        let nodes = nodes.map(|(id, node)| {
            let node = node.map(|node| Arc::new(row::node(&self.cluster, &node)));
            (id, node)
        });
        let is_new = |(id, node): &(InstanceId, Option<Arc<Node>>)| {
            self.catalogue.node(id).as_ref() != node.as_ref()
        };
        let nodes: Nodes = nodes.filter(is_new).collect();
        if nodes.is_empty() {
            return Ok((nodes, Vec::new()));
        }
        let ids: Vec<InstanceId> = nodes.keys().cloned().collect();
        let on = move |core: &Core| {
            let on = ids.iter().flat_map(|id| core.containers_on(id));
            on.cloned().collect::<Vec<_>>()
        };
        let moved = self.read(on).await?;
        Ok((nodes, moved))
    }

    /// The entries of these containers, read in parts.
    async fn of_containers(
        &self,
        names: BTreeSet<ContainerName>,
        node: impl Fn(&InstanceId) -> Option<Arc<Node>>,
    ) -> Result<Vec<(Source, Vec<Entry>)>, Missed> {
        let names: Vec<ContainerName> = names.into_iter().collect();
        let mut entries = Vec::with_capacity(names.len());
        for part in names.chunks(PART) {
            let part = part.to_vec();
            let read = |core: &Core| -> Vec<(ContainerName, Option<ListedContainer>)> {
                let listed = |name| {
                    let listed = core.listed(&name);
                    (name, listed)
                };
                part.into_iter().map(listed).collect()
            };
            for (name, listed) in self.read(read).await? {
                let source = Source::Container(name);
                let before = self.catalogue.entries(&source);
                let of = |listed: ListedContainer| row::entries(&listed, &node, &before);
                entries.push((source, listed.map_or_else(Vec::new, of)));
            }
        }
        Ok(entries)
    }

    async fn of_registrations(
        &self,
        ids: BTreeSet<String>,
    ) -> Result<Vec<(Source, Vec<Entry>)>, Missed> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let read = |core: &Core| -> Vec<(String, Option<Registration>)> {
            let registration = |id: String| {
                let registration = core.registration(&id).cloned();
                (id, registration)
            };
            ids.into_iter().map(registration).collect()
        };
        let manager = Arc::new(row::manager(&self.cluster, &self.address));
        let read = self.read(read).await?.into_iter();
        let entries = read.map(|(id, registration)| {
            let entry = registration.map(|registration| row::registered(&registration, &manager));
            (Source::Registration(id), entry.into_iter().collect())
        });
        Ok(entries.collect())
    }

    /// Keeps indexes up to this one, and some more, in the store before any is given.
    async fn reserve(&self, index: u64, reserved: &mut Option<u64>) -> Result<(), Missed> {
        if reserved.is_some_and(|reserved| index <= reserved) {
            return Ok(());
        }
        let ahead = index + AHEAD_MS;
        let request = Request::ReserveIndex(ahead);
        let kept = self.handle.request::<Reply>(request).await;
        kept.map_err(Missed::Core)?;
        *reserved = Some(ahead);
        Ok(())
    }
}

/// Machines with their present rows.
type Nodes = HashMap<InstanceId, Option<Arc<Node>>>;

/// The row of a machine: of those that change now, or the present one.
fn known(catalogue: &Catalogue, changed: &Nodes, id: &InstanceId) -> Option<Arc<Node>> {
    match changed.get(id) {
        Some(node) => node.clone(),
        None => catalogue.node(id),
    }
}
