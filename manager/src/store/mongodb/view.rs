//! State of containers and machines in the collections, as `micado list` shows it, beside the
//! records' own fields.

use super::{
    MongoStore, StoreError,
    document::{addresses, bytes, cores, count, critical, date, word},
};
use ::mongodb::bson::{Document, doc};
use micado_api::{ContainerView, ImageView, InstanceView, Timestamp};
use std::collections::HashMap;

/// Documents per round trip.
const BATCH: usize = 1000;

impl MongoStore {
    /// Writes the present state into existing documents, in fields that the manager itself does not
    /// read: a lost refresh is made good by the next. Nothing is written while ownership of the
    /// store is uncertain.
    ///
    /// # Errors
    /// `Failed` if the server refuses.
    pub async fn show(
        &self,
        now: Timestamp,
        instances: &[InstanceView],
        containers: &[ContainerView],
        images: &[ImageView],
    ) -> Result<(), StoreError> {
        let nodes: HashMap<&str, &str> = instances
            .iter()
            .filter_map(|it| Some((it.tag.as_str(), it.node.as_deref()?)))
            .collect();
        self.refresh(
            "instance",
            instances
                .iter()
                .map(|it| (it.id.as_str(), instance(it, now)))
                .collect(),
        )
        .await?;
        self.refresh(
            "container",
            containers
                .iter()
                .map(|it| (it.name.as_str(), container(it, &nodes)))
                .collect(),
        )
        .await?;
        self.refresh(
            "imagecontainer",
            images
                .iter()
                .map(|it| (it.image.as_str(), image(it)))
                .collect(),
        )
        .await
    }

    /// Does not delay commits: a commit that collides with it is retried.
    async fn refresh(
        &self,
        kind: &str,
        documents: Vec<(&str, Document)>,
    ) -> Result<(), StoreError> {
        let updates: Vec<Document> = documents
            .into_iter()
            .map(|(id, fields)| doc! { "q": { "_id": id }, "u": { "$set": fields } })
            .collect();
        for batch in updates.chunks(BATCH) {
            if !self.inner.held().await {
                return Ok(());
            }
            self.inner.send(doc! { "update": kind, "updates": batch, "ordered": false, "writeConcern": { "w": 1 } }).await?;
        }
        Ok(())
    }
}

fn instance(it: &InstanceView, now: Timestamp) -> Document {
    let age = i64::try_from(now.since(it.created_at).as_secs()).unwrap_or(i64::MAX);
    let usage = it.usage.as_ref();
    doc! {
        "state": word(&it.state), "reason": it.reason.clone(), "containers": i64::from(it.containers), "age": age,
        "memory.capacity": bytes(it.capacity.memory), "memory.unpromised": bytes(it.memory_left), "memory.left": usage.map(|it| bytes(it.memory_left)),
        "cpu.capacity": cores(it.capacity.cpu), "cpu.now": usage.and_then(|it| it.cpu).map(cores), "cpu.peak": usage.map(|it| cores(it.cpu_peak)),
        "disk.left": usage.map(|it| count(it.disk_left)), "load": usage.and_then(|it| it.load).map(f64::from), "measured": usage.map(|it| date(it.at)),
    }
}

fn container(it: &ContainerView, nodes: &HashMap<&str, &str>) -> Document {
    let tag = it.instance.as_ref().map(|tag| tag.as_str());
    let usage = it.usage.as_ref();
    doc! {
        "image": &it.image, "instance": tag, "node": tag.and_then(|tag| nodes.get(tag).copied()), "addresses": addresses(it.address.as_ref()),
        "ports": it.ports.iter().filter_map(|port| Some(format!("{}:{}", port.host?, port.container))).collect::<Vec<_>>(),
        "state": word(&it.state), "reason": it.reason.clone(), "created": date(it.created_at),
        "memory.limit": bytes(it.reservation.memory), "memory.now": usage.map(|it| bytes(it.memory)), "memory.peak": usage.map(|it| bytes(it.memory_peak)),
        "cpu.limit": cores(it.reservation.cpu), "cpu.now": usage.and_then(|it| it.cpu).map(cores), "cpu.peak": usage.map(|it| cores(it.cpu_peak)),
        "network.received": usage.map(|it| count(it.received)), "network.sent": usage.map(|it| count(it.sent)), "measured": usage.map(|it| date(it.at)),
    }
}

fn image(it: &ImageView) -> Document {
    doc! {
        "digest": it.digest.clone(), "suggested": it.suggested.as_ref().map(critical), "measured": count(it.measured_ms / 1000),
        "footprint": it.footprint.map(|it| doc! { "memory": bytes(it.memory), "cpu": cores(it.cpu) }),
    }
}
