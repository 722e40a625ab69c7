//! Verdicts of the scaling in the collection `verdicts`, one document each, for people to read. The
//! id is made of service and first check, so that writing it again changes nothing.

use super::{
    Inner, StoreError,
    document::{STATEMENTS, date},
};
use ::mongodb::{
    IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};
use futures_util::{StreamExt, TryStreamExt, future::ready};
use micado_api::VerdictSpan;
use micado_core::metrics::{Order, RecallVerdicts, VERDICTS_KEPT};

pub(super) const COLLECTION: &str = "verdicts";

/// Upper bound for documents in one reply of the server.
const PIECE: usize = 5000;

/// Indexes: in the order of replies, and one of the time alone, which the server requires for
/// expiry.
pub(super) fn indexes() -> Vec<IndexModel> {
    let by = |keys: Document| IndexModel::builder().keys(keys);
    let old = IndexOptions::builder().expire_after(VERDICTS_KEPT).build();
    vec![
        by(doc! { "service": 1, "at": 1, "_id": 1 }).build(),
        by(doc! { "at": 1, "_id": 1 }).build(),
        by(doc! { "at": 1 }).options(old).build(),
    ]
}

impl Inner {
    pub(super) async fn record_verdicts(&self, spans: &[VerdictSpan]) -> Result<(), StoreError> {
        for spans in spans.chunks(STATEMENTS) {
            if !self.held().await {
                return Err(self.unsure());
            }
            let updates = spans.iter().map(|span| {
                let (id, document) = (id(span), document(span)?);
                Ok(doc! { "q": { "_id": id }, "u": { "$set": document }, "upsert": true })
            });
            let updates = updates.collect::<Result<Vec<Document>, StoreError>>()?;
            self.send(doc! { "update": COLLECTION, "updates": updates, "ordered": false, "writeConcern": { "w": "majority" } }).await?;
        }
        Ok(())
    }

    /// Deletes verdicts that are not among the newest `most`.
    pub(super) async fn forget_verdicts(&self, most: u64) -> Result<(), StoreError> {
        self.forget_older(COLLECTION, most).await
    }

    pub(super) async fn recall_verdicts(
        &self,
        wanted: &RecallVerdicts,
    ) -> Result<Vec<VerdictSpan>, StoreError> {
        if wanted.most == 0 {
            return Ok(vec![]);
        }
        let mut filter = doc! { "at": { "$gte": date(wanted.from), "$lt": date(wanted.until) } };
        if let Some(service) = &wanted.service {
            filter.insert("service", service);
        }
        let way = if wanted.order == Order::OldestFirst {
            1
        } else {
            -1
        };
        let verdicts = self.database.collection::<Document>(COLLECTION);
        let found = verdicts
            .find(filter)
            .sort(doc! { "at": way, "_id": way })
            .batch_size(wanted.most.min(PIECE) as u32);
        // Skip a document that a person has made unreadable: the others are still of use.
        let readable = async {
            found
                .await?
                .try_filter_map(|document| ready(Ok(read(&document))))
                .take(wanted.most)
                .try_collect()
                .await
        };
        readable.await.map_err(|error| self.failed(&error))
    }
}

/// Ids of one time are in the order of their services.
fn id(span: &VerdictSpan) -> String {
    format!("{} {}", span.service, span.first.at.0)
}

fn document(span: &VerdictSpan) -> Result<Document, StoreError> {
    let whole = serde_json::to_string(span).map_err(|error| {
        let service = &span.service;
        StoreError::Failed(format!(
            "a verdict on `{service}` cannot be written: {error}"
        ))
    })?;
    Ok(doc! {
        "at": date(span.first.at), "until": date(span.last.at), "service": span.service.as_str(),
        "text": &span.last.text, "times": i64::from(span.times), "span": whole,
    })
}

fn read(document: &Document) -> Option<VerdictSpan> {
    serde_json::from_str(document.get_str("span").ok()?).ok()
}
