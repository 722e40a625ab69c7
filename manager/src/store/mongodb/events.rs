//! Events in the collection `events`, one document each, for people to read. The id is made from
//! the event's identity, so that writing it again changes nothing.

use super::{
    Inner, StoreError,
    document::{STATEMENTS, date},
};
use ::mongodb::{
    IndexModel,
    bson::{Bson, Document, doc},
    options::IndexOptions,
};
use futures_util::{StreamExt, TryStreamExt, future::ready};
use micado_api::{
    ContainerName, InstanceId, ServiceName, Tag, Timestamp, agent::ContainerHappening,
};
use micado_core::metrics::{EVENTS_KEPT, EventRecord, Order, Placed, RecallEvents};

pub(super) const COLLECTION: &str = "events";

/// Upper bound for documents in one reply of the server.
const PIECE: usize = 5000;

/// Indexes: by subject and in the order of replies, and one of the time alone, which the server
/// requires for expiry.
pub(super) fn indexes() -> Vec<IndexModel> {
    let by = |field: &str| {
        IndexModel::builder()
            .keys(doc! { field: 1, "at": 1, "_id": 1 })
            .build()
    };
    let in_order = IndexModel::builder()
        .keys(doc! { "at": 1, "_id": 1 })
        .build();
    let old = IndexOptions::builder().expire_after(EVENTS_KEPT).build();
    vec![
        by("container"),
        by("service"),
        by("instance"),
        in_order,
        IndexModel::builder()
            .keys(doc! { "at": 1 })
            .options(old)
            .build(),
    ]
}

impl Inner {
    pub(super) async fn record_events(&self, events: &[EventRecord]) -> Result<(), StoreError> {
        for events in events.chunks(STATEMENTS) {
            if !self.held().await {
                return Err(self.unsure());
            }
            let updates: Vec<Document> = events.iter().map(|it| doc! { "q": { "_id": id(it) }, "u": { "$set": document(it) }, "upsert": true }).collect();
            self.send(doc! { "update": COLLECTION, "updates": updates, "ordered": false, "writeConcern": { "w": "majority" } }).await?;
        }
        Ok(())
    }

    /// Deletes events that are not among the newest `most`.
    pub(super) async fn forget_events(&self, most: u64) -> Result<(), StoreError> {
        self.forget_older(COLLECTION, most).await
    }

    /// Deletes documents of a collection, by their time `at`, that are not among the newest `most`.
    pub(super) async fn forget_older(&self, collection: &str, most: u64) -> Result<(), StoreError> {
        let events = self.database.collection::<Document>(collection);
        let first_to_stay = async {
            // An estimate is free.
            if events.estimated_document_count().await? <= most {
                return Ok(None);
            }
            events
                .find_one(doc! {})
                .sort(doc! { "at": -1, "_id": -1 })
                .projection(doc! { "at": 1, "_id": 0 })
                .skip(most.saturating_sub(1))
                .await
        };
        let found = self
            .within(async { first_to_stay.await.map_err(|error| self.failed(&error)) })
            .await?;
        let Some(at) = found.as_ref().and_then(|it| it.get_datetime("at").ok()) else {
            return Ok(());
        };
        if !self.held().await {
            return Err(self.unsure());
        }
        let older = doc! { "q": { "at": { "$lt": *at } }, "limit": 0 };
        self.send(
            doc! { "delete": collection, "deletes": [older], "writeConcern": { "w": "majority" } },
        )
        .await
    }

    pub(super) async fn recall_events(
        &self,
        wanted: &RecallEvents,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let ((filter, sort), most) = (question(wanted), wanted.most);
        if most == 0 {
            return Ok(vec![]);
        }
        let events = self.database.collection::<Document>(COLLECTION);
        let found = events
            .find(filter)
            .sort(sort)
            .batch_size(most.min(PIECE) as u32);
        // Skip a document that a person has made unreadable: the others are still of use.
        let readable = async {
            found
                .await?
                .try_filter_map(|document| ready(Ok(read(&document))))
                .take(most)
                .try_collect()
                .await
        };
        readable.await.map_err(|error| self.failed(&error))
    }
}

/// Filter and order of a query.
pub(super) fn question(wanted: &RecallEvents) -> (Document, Document) {
    let mut filter = doc! { "at": { "$gte": date(wanted.from), "$lt": date(wanted.until) } };
    if let Some(name) = &wanted.name {
        filter.insert(
            "$or",
            [doc! { "container": name }, doc! { "service": name }].to_vec(),
        );
    }
    if let Some(tag) = &wanted.tag {
        filter.insert("instance", tag);
    }
    let way = if wanted.order == Order::OldestFirst {
        1
    } else {
        -1
    };
    (filter, doc! { "at": way, "_id": way })
}

fn id(it: &EventRecord) -> String {
    let (at, instance, engine_id, word) = it.identity();
    format!("{instance} {} {engine_id} {word}", at.0)
}

fn document(it: &EventRecord) -> Document {
    let placed = &it.placed;
    let mut document = doc! {
        "at": date(it.at), "container": placed.container.as_str(), "what": it.what.word(), "instance": placed.tag.as_str(), "service": placed.service.as_str(),
        "image": &placed.image,
    };
    if let ContainerHappening::Died { exit_code, oom } = it.what {
        document.extend(doc! { "exit_code": exit_code, "oom": oom });
    }
    document.extend(doc! { "instance_id": placed.instance.as_str(), "engine_id": &it.engine_id, "swarm_service": &placed.swarm_service });
    document
}

/// `None` if it is none of ours.
fn read(document: &Document) -> Option<EventRecord> {
    let text = |name: &str| document.get_str(name).ok().map(str::to_owned);
    let what = match document.get_str("what").ok()? {
        "started" => ContainerHappening::Started,
        "died" => ContainerHappening::Died {
            exit_code: document.get("exit_code").and_then(whole)?,
            oom: document.get_bool("oom").ok()?,
        },
        "healthy" => ContainerHappening::Healthy,
        "unhealthy" => ContainerHappening::Unhealthy,
        _ => return None,
    };
    let placed = Placed {
        swarm_service: text("swarm_service")?,
        container: ContainerName::trusted(text("container")?),
        service: ServiceName::trusted(text("service")?),
        image: text("image")?,
        instance: InstanceId::trusted(text("instance_id")?),
        tag: Tag::trusted(text("instance")?),
    };
    let at = Timestamp(
        document
            .get_datetime("at")
            .ok()?
            .timestamp_millis()
            .cast_unsigned(),
    );
    Some(EventRecord {
        placed,
        engine_id: text("engine_id")?,
        at,
        what,
    })
}

/// Reads a whole number. A shell in which somebody edits a document makes it a double.
fn whole(number: &Bson) -> Option<i64> {
    let double = || {
        number
            .as_f64()
            .filter(|it| it.fract() == 0.0 && it.abs() < 2_f64.powi(53))
            .map(|it| it as i64)
    };
    number
        .as_i64()
        .or_else(|| number.as_i32().map(i64::from))
        .or_else(double)
}
