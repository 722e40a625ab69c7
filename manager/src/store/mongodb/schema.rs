//! Schema of a database: its version, and proof of the key that its records are sealed with.

use super::{Inner, StoreError, document, events, history, verdicts};
use crate::store::KINDS;
use ::mongodb::{
    bson::{Document, doc, spec::BinarySubtype},
    error::{Error, ErrorKind},
};

/// The version that this micado reads and writes.
const VERSION: u64 = 1;
const COLLECTION: &str = "schema";
const ID: &str = "micado";
/// The server's code for a collection that exists already.
const EXISTS: i32 = 48;

/// Checks the version and the key. Returns false if the database holds nothing yet.
pub(super) async fn check(inner: &Inner) -> Result<bool, StoreError> {
    let failed = |error: Error| inner.failed(&error);
    let hello = inner
        .database
        .run_command(doc! { "hello": 1 })
        .await
        .map_err(failed)?;
    if !hello.contains_key("setName") && hello.get_str("msg").ok() != Some("isdbgrid") {
        return Err(StoreError::Schema(format!(
            "the server of the store {} is no replica set, without which MongoDB has no transactions: start it with --replSet (one member is enough)",
            inner.shown
        )));
    }
    let schema = inner
        .database
        .collection::<Document>(COLLECTION)
        .find_one(doc! { "_id": ID })
        .await
        .map_err(failed)?;
    let Some(schema) = schema else {
        let series = [
            history::COLLECTION,
            events::COLLECTION,
            verdicts::COLLECTION,
        ];
        for kind in KINDS.into_iter().chain(series) {
            if inner
                .database
                .collection::<Document>(kind)
                .find_one(doc! {})
                .await
                .map_err(failed)?
                .is_some()
            {
                return Err(StoreError::Schema(format!(
                    "the database of the store {} has a collection `{kind}` of another program: name another database in the URL",
                    inner.shown
                )));
            }
        }
        return Ok(false);
    };
    let version = document::version(&schema);
    if version != Some(VERSION) {
        let found = version.map_or_else(
            || "an unreadable schema".to_owned(),
            |version| format!("schema {version}"),
        );
        return Err(StoreError::Schema(format!(
            "the store {} has {found} and this micado reads schema {VERSION}: start the micado that wrote it",
            inner.shown
        )));
    }
    if !schema
        .get_binary_generic("proof")
        .is_ok_and(|sealed| inner.keys.is_proof(sealed))
    {
        return Err(inner.keys.another(&inner.shown));
    }
    Ok(true)
}

/// Makes the collections, and marks the database as a store last.
pub(super) async fn create(inner: &Inner) -> Result<(), StoreError> {
    make_collections(inner).await?;
    let proof = ::mongodb::bson::Binary {
        subtype: BinarySubtype::Generic,
        bytes: inner.keys.proof()?,
    };
    let schema = doc! { "version": VERSION as i64, "proof": proof };
    let collection = inner.database.collection::<Document>(COLLECTION);
    let made = collection
        .update_one(doc! { "_id": ID }, doc! { "$setOnInsert": schema })
        .upsert(true);
    made.await.map(drop).map_err(|error| inner.failed(&error))
}

/// Makes missing collections, before any transaction: in older servers a transaction cannot.
async fn make_collections(inner: &Inner) -> Result<(), StoreError> {
    for name in KINDS {
        make(inner, name, None)
            .await
            .map_err(|error| inner.failed(&error))?;
    }
    // zstd removes the repetition in points that the server's default leaves; without it, the
    // default suffices.
    let zstd = doc! { "wiredTiger": { "configString": "block_compressor=zstd" } };
    if make(inner, history::COLLECTION, Some(zstd)).await.is_err() {
        make(inner, history::COLLECTION, None)
            .await
            .map_err(|error| inner.failed(&error))?;
    }
    let samples = inner.database.collection::<Document>(history::COLLECTION);
    samples
        .create_indexes(history::indexes())
        .await
        .map_err(|error| inner.failed(&error))?;
    let events = inner.database.collection::<Document>(events::COLLECTION);
    events
        .create_indexes(events::indexes())
        .await
        .map_err(|error| inner.failed(&error))?;
    let verdicts = inner.database.collection::<Document>(verdicts::COLLECTION);
    verdicts
        .create_indexes(verdicts::indexes())
        .await
        .map(drop)
        .map_err(|error| inner.failed(&error))
}

async fn make(inner: &Inner, name: &str, storage: Option<Document>) -> Result<(), Error> {
    let mut made = inner.database.create_collection(name);
    if let Some(storage) = storage {
        made = made.storage_engine(storage);
    }
    match made.await {
        Err(error) if matches!(&*error.kind, ErrorKind::Command(error) if error.code == EXISTS) => {
            Ok(())
        }
        made => made,
    }
}
