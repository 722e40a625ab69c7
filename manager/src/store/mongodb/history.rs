//! Points in the collection `samples`: one document per instance, resolution and bucket of time,
//! with each point under its time, so that writing it again changes nothing.

use super::{
    Inner, MongoStore, StoreError,
    document::{BYTES, STATEMENTS, date},
};
use crate::store::points;
use ::mongodb::{
    IndexModel,
    bson::{Binary, Bson, Document, doc, spec::BinarySubtype},
    options::IndexOptions,
};
use futures_util::TryStreamExt;
use micado_api::{InstanceId, Timestamp, VerdictSpan};
use micado_core::metrics::{
    EVENTS_MOST, EventRecord, History, Point, Recall, RecallEvents, RecallVerdicts, Resolution,
    Series, VERDICTS_MOST,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(super) const COLLECTION: &str = "samples";

/// Identity of a document of `samples`.
type Bucket<'a> = (&'a InstanceId, Resolution, Timestamp);

#[async_trait::async_trait]
impl History for MongoStore {
    /// Does not delay commits. If the lease is lost during a batch, the rest is still written: the
    /// same points, whoever writes them.
    async fn record(&self, points: &[Point]) -> Result<(), StoreError> {
        for command in commands(points)? {
            if !self.inner.held().await {
                return Err(self.inner.unsure());
            }
            self.inner.send(command).await?;
        }
        Ok(())
    }

    async fn recall(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let mut found = self.inner.within(self.inner.find(wanted)).await?;
        found.sort_by(|a, b| (a.at, &a.instance).cmp(&(b.at, &b.instance)));
        Ok(found)
    }

    async fn instances(&self, resolution: Resolution) -> Result<Vec<InstanceId>, StoreError> {
        let samples = self.inner.database.collection::<Document>(COLLECTION);
        let find = async {
            samples
                .distinct("instance", doc! { "resolution": seconds(resolution) })
                .await
                .map_err(|error| self.inner.failed(&error))
        };
        let mut found: Vec<InstanceId> = self
            .inner
            .within(find)
            .await?
            .iter()
            .filter_map(|it| it.as_str().map(InstanceId::trusted))
            .collect();
        found.sort();
        Ok(found)
    }

    /// As for points, does not delay commits.
    async fn record_events(&self, events: &[EventRecord]) -> Result<(), StoreError> {
        self.inner.record_events(events).await
    }

    async fn recall_events(&self, wanted: &RecallEvents) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.within(self.inner.recall_events(wanted)).await
    }

    /// As for points, does not delay commits.
    async fn record_verdicts(&self, spans: &[VerdictSpan]) -> Result<(), StoreError> {
        self.inner.record_verdicts(spans).await
    }

    async fn recall_verdicts(
        &self,
        wanted: &RecallVerdicts,
    ) -> Result<Vec<VerdictSpan>, StoreError> {
        self.inner.within(self.inner.recall_verdicts(wanted)).await
    }

    /// Does nothing: the server deletes expired documents by itself.
    async fn forget(&self, _now: Timestamp) -> Result<(), StoreError> {
        self.inner.forget_events(EVENTS_MOST).await?;
        self.inner.forget_verdicts(VERDICTS_MOST).await
    }
}

impl Inner {
    /// Finds points, unsorted.
    async fn find(&self, wanted: &Recall) -> Result<Vec<Point>, StoreError> {
        let first = date(bucket(wanted.resolution, wanted.from));
        let mut filter = doc! { "resolution": seconds(wanted.resolution), "begin": { "$gte": first, "$lt": date(wanted.until) } };
        match &wanted.series {
            Series::Instance(id) => drop(filter.insert("instance", id.as_str())),
            Series::Container(name) => drop(filter.insert("containers", name)),
            // Names of its containers: `/` follows `.`.
            Series::Service(name) => {
                let within = doc! { "$gte": format!("{name}."), "$lt": format!("{name}/") };
                filter.insert("containers", doc! { "$elemMatch": within });
            }
        }
        let samples = self.database.collection::<Document>(COLLECTION);
        let mut cursor = samples
            .find(filter)
            .projection(doc! { "instance": 1, "begin": 1, "points": 1 })
            .await
            .map_err(|error| self.failed(&error))?;
        let mut all = Vec::new();
        while let Some(document) = cursor
            .try_next()
            .await
            .map_err(|error| self.failed(&error))?
        {
            let read = read(wanted, &document).ok_or_else(|| {
                StoreError::Failed(format!(
                    "samples `{}` in the store {} cannot be read",
                    document.get_str("_id").unwrap_or("?"),
                    self.shown
                ))
            })?;
            all.extend(read);
        }
        Ok(all)
    }
}

/// Indexes: by container and time, by instance and time, and for expiry.
pub(super) fn indexes() -> Vec<IndexModel> {
    let by = |keys: Document| IndexModel::builder().keys(keys).build();
    let at_once = IndexOptions::builder().expire_after(Duration::ZERO).build();
    vec![
        by(doc! { "containers": 1, "resolution": 1, "begin": 1 }),
        by(doc! { "instance": 1, "resolution": 1, "begin": 1 }),
        IndexModel::builder()
            .keys(doc! { "expires": 1 })
            .options(at_once)
            .build(),
    ]
}

/// Span of time of a document.
fn length(resolution: Resolution) -> Duration {
    Duration::from_secs(match resolution {
        Resolution::Sample => 60,
        Resolution::Minute => 3600,
        Resolution::TenMinutes => 24 * 3600,
    })
}

fn bucket(resolution: Resolution, at: Timestamp) -> Timestamp {
    let length = millis(length(resolution));
    Timestamp(at.0 / length * length)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(resolution: Resolution) -> i64 {
    resolution.span().as_secs().cast_signed()
}

fn commands(points: &[Point]) -> Result<Vec<Document>, StoreError> {
    let mut buckets: BTreeMap<Bucket<'_>, Vec<&Point>> = BTreeMap::new();
    for point in points {
        buckets
            .entry((
                &point.instance,
                point.resolution,
                bucket(point.resolution, point.at),
            ))
            .or_default()
            .push(point);
    }
    let (mut commands, mut updates, mut size) = (Vec::new(), Vec::new(), 0);
    for (of, points) in &buckets {
        let (statement, bytes) = statement(of, points)?;
        if updates.len() == STATEMENTS || (size + bytes > BYTES && !updates.is_empty()) {
            commands.push(command(std::mem::take(&mut updates)));
            size = 0;
        }
        size += bytes;
        updates.push(statement);
    }
    if !updates.is_empty() {
        commands.push(command(updates));
    }
    Ok(commands)
}

fn command(updates: Vec<Bson>) -> Document {
    doc! { "update": COLLECTION, "updates": updates, "ordered": false, "writeConcern": { "w": "majority" } }
}

/// The update of one document, and its approximate size in bytes.
fn statement(
    (instance, resolution, begin): &Bucket<'_>,
    points: &[&Point],
) -> Result<(Bson, usize), StoreError> {
    let (mut fields, mut names, mut size) = (Document::new(), BTreeSet::new(), 512);
    for point in points {
        let bytes = points::encode(point)?;
        size += bytes.len() + 32;
        fields.insert(
            format!("points.{}", point.at.0 - begin.0),
            Binary {
                subtype: BinarySubtype::Generic,
                bytes,
            },
        );
        names.extend(point.containers.keys());
    }
    size += names.iter().map(|name| name.len() + 16).sum::<usize>();
    let names: Vec<&String> = names.into_iter().collect();
    let expires = begin
        .0
        .saturating_add(millis(length(*resolution) + resolution.kept()));
    let made = doc! { "instance": instance.as_str(), "resolution": seconds(*resolution), "begin": date(*begin), "expires": date(Timestamp(expires)) };
    let change = doc! { "$setOnInsert": made, "$addToSet": { "containers": { "$each": names } }, "$set": fields };
    let id = format!("{instance} {} {}", seconds(*resolution), begin.0);
    Ok((
        doc! { "q": { "_id": id }, "u": change, "upsert": true }.into(),
        size,
    ))
}

/// The selected points of a document. `None` if it is none of ours.
fn read(wanted: &Recall, document: &Document) -> Option<Vec<Point>> {
    let instance = InstanceId::trusted(document.get_str("instance").ok()?);
    let begin = document
        .get_datetime("begin")
        .ok()?
        .timestamp_millis()
        .cast_unsigned();
    let mut points = Vec::new();
    for (offset, figures) in document.get_document("points").ok()? {
        let at = Timestamp(begin.saturating_add(offset.parse().ok()?));
        if at < wanted.from || at >= wanted.until {
            continue;
        }
        let Bson::Binary(figures) = figures else {
            return None;
        };
        let (machine, mut containers) = points::decode(&figures.bytes)?;
        if !matches!(wanted.series, Series::Instance(_)) {
            containers.retain(|name, _| wanted.series.has(name));
            if containers.is_empty() {
                continue;
            }
        }
        points.push(Point {
            instance: instance.clone(),
            resolution: wanted.resolution,
            at,
            machine,
            containers,
        });
    }
    Some(points)
}
