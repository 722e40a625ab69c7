//! What a person reads in the collections beside what each record says itself: how containers and machines are, as `micado list` shows it.

use super::{
    MongoStore, StoreError,
    document::{addresses, bytes, cores, date, word},
};
use ::mongodb::bson::{Bson, Document, doc};
use micado_api::{ContainerView, InstanceView, Timestamp};
use std::collections::HashMap;

/// Documents per round trip.
const BATCH: usize = 1000;

impl MongoStore {
    /// Writes down how everything is. Only into documents that are there, and nothing that the manager itself reads: a refresh that is lost is made good by the next.
    ///
    /// # Errors
    /// `Failed` when the server does not take it.
    pub async fn show(&self, now: Timestamp, instances: &[InstanceView], containers: &[ContainerView]) -> Result<(), StoreError> {
        let nodes: HashMap<&str, &str> = instances.iter().filter_map(|it| Some((it.tag.as_str(), it.node.as_deref()?))).collect();
        self.refresh("instance", instances.iter().map(|it| (it.id.as_str(), instance(it, now))).collect()).await?;
        self.refresh("container", containers.iter().map(|it| (it.name.as_str(), container(it, &nodes))).collect()).await
    }

    async fn refresh(&self, kind: &str, documents: Vec<(&str, Document)>) -> Result<(), StoreError> {
        for batch in documents.chunks(BATCH) {
            let updates: Vec<Bson> = batch.iter().map(|(id, fields)| doc! { "q": { "_id": *id }, "u": { "$set": fields.clone() } }.into()).collect();
            // Commits wait meanwhile, for they would collide; and whoever has lost the lease is not to say how things are.
            let slot = self.inner.hold.lock().await;
            if slot.is_none() {
                return Ok(());
            }
            let command = doc! { "update": kind, "updates": updates, "ordered": false, "writeConcern": { "w": 1 } };
            let sent = async { self.inner.database.run_command(command).await.map_err(|error| self.inner.failed(&error)) };
            self.inner.within(sent).await?;
        }
        Ok(())
    }
}

fn instance(it: &InstanceView, now: Timestamp) -> Document {
    let age = i64::try_from(now.since(it.created_at).as_secs()).unwrap_or(i64::MAX);
    doc! {
        "state": word(&it.state), "reason": it.reason.clone(), "memory.capacity": bytes(it.capacity.memory), "memory.left": bytes(it.memory_left),
        "cpu.capacity": cores(it.capacity.cpu), "containers": i64::from(it.containers), "age": age,
    }
}

fn container(it: &ContainerView, nodes: &HashMap<&str, &str>) -> Document {
    let tag = it.instance.as_ref().map(|tag| tag.as_str());
    doc! {
        "image": &it.image, "instance": tag, "node": tag.and_then(|tag| nodes.get(tag).copied()), "addresses": addresses(it.address.as_ref()),
        "ports": it.ports.iter().filter_map(|port| Some(format!("{}:{}", port.host?, port.container))).collect::<Vec<_>>(),
        "state": word(&it.state), "reason": it.reason.clone(), "memory.limit": bytes(it.reservation.memory), "cpu.limit": cores(it.reservation.cpu),
        "created": date(it.created_at),
    }
}
