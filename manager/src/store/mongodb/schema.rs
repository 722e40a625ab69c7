//! What a database must hold to be a store of micado: its version, and proof that the key is the one its records were sealed with.

use super::{Inner, StoreError, document, history};
use crate::store::codec::KINDS;
use ::mongodb::{
    bson::{Document, doc, spec::BinarySubtype},
    error::{Error, ErrorKind},
};

/// The version that this micado reads and writes. Each brings a step from the one before:
/// 2 has `samples`, and records in `imagecontainer`.
const VERSION: u64 = 2;
const COLLECTION: &str = "schema";
const ID: &str = "micado";
/// What the proof says.
const PROOF: &[u8] = b"micado";
/// The server's code for a collection that is there already.
const EXISTS: i32 = 48;

/// What a database turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A store of an earlier micado, of this version.
    Older(u64),
    Ours,
}

/// Looks, and changes nothing.
pub(super) async fn check(inner: &Inner) -> Result<Found, StoreError> {
    let failed = |error: Error| inner.failed(&error);
    let hello = inner.database.run_command(doc! { "hello": 1 }).await.map_err(failed)?;
    if !hello.contains_key("setName") && hello.get_str("msg").ok() != Some("isdbgrid") {
        return Err(StoreError::Schema(format!(
            "the server of the store {} is no replica set, without which MongoDB has no transactions: start it with --replSet (one member is enough)",
            inner.shown
        )));
    }
    let schema = inner.database.collection::<Document>(COLLECTION).find_one(doc! { "_id": ID }).await.map_err(failed)?;
    let Some(schema) = schema else {
        for kind in KINDS.into_iter().chain([history::COLLECTION]) {
            if inner.database.collection::<Document>(kind).find_one(doc! {}).await.map_err(failed)?.is_some() {
                return Err(StoreError::Schema(format!(
                    "the database of the store {} has a collection `{kind}` of another program: name another database in the URL",
                    inner.shown
                )));
            }
        }
        return Ok(Found::Nothing);
    };
    let found = match document::version(&schema) {
        Some(VERSION) => Found::Ours,
        Some(version) if (1..VERSION).contains(&version) => Found::Older(version),
        version => {
            let version = version.map_or_else(|| "an unreadable schema".to_owned(), |version| format!("schema {version}"));
            return Err(StoreError::Schema(format!(
                "the store {} has {version} and this micado knows up to {VERSION}: start the micado that wrote it, or a newer one",
                inner.shown
            )));
        }
    };
    let proof = schema.get_binary_generic("proof").ok().and_then(|sealed| inner.keys.unseal(ID, sealed));
    if proof.as_deref() != Some(PROOF) {
        return Err(StoreError::Schema(format!(
            "the records of the store {} were sealed with another key than `{}`: put the file there that it was made with, or name another database",
            inner.shown,
            inner.keys.path().display()
        )));
    }
    Ok(found)
}

/// Makes the collections and then says that they are a store.
pub(super) async fn create(inner: &Inner) -> Result<(), StoreError> {
    make_collections(inner).await?;
    let proof = ::mongodb::bson::Binary { subtype: BinarySubtype::Generic, bytes: inner.keys.seal(ID, PROOF)? };
    let schema = doc! { "version": VERSION as i64, "proof": proof };
    let collection = inner.database.collection::<Document>(COLLECTION);
    let made = collection.update_one(doc! { "_id": ID }, doc! { "$setOnInsert": schema }).upsert(true);
    made.await.map(drop).map_err(|error| inner.failed(&error))
}

/// Every step from this version on, each of which may be begun again, and then the new version.
pub(super) async fn upgrade(inner: &Inner, from: u64) -> Result<(), StoreError> {
    let failed = |error: Error| inner.failed(&error);
    make_collections(inner).await?;
    if from < 2 {
        // Without a record, they were written for people alone.
        inner.database.collection::<Document>("imagecontainer").delete_many(doc! { "record": { "$exists": false } }).await.map_err(failed)?;
    }
    let collection = inner.database.collection::<Document>(COLLECTION);
    collection.update_one(doc! { "_id": ID }, doc! { "$set": { "version": VERSION as i64 } }).await.map(drop).map_err(failed)?;
    tracing::info!(from, to = VERSION, store = inner.shown, "the store was upgraded");
    Ok(())
}

/// What is there already stays. (A transaction of an older server cannot make any.)
async fn make_collections(inner: &Inner) -> Result<(), StoreError> {
    for name in KINDS.into_iter().chain([history::COLLECTION]) {
        match inner.database.create_collection(name).await {
            Err(error) if !matches!(&*error.kind, ErrorKind::Command(error) if error.code == EXISTS) => return Err(inner.failed(&error)),
            _ => {}
        }
    }
    let samples = inner.database.collection::<Document>(history::COLLECTION);
    samples.create_indexes(history::indexes()).await.map(drop).map_err(|error| inner.failed(&error))
}
