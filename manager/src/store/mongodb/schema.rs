//! What a database must hold to be a store of micado: its version, and proof that the key is the one its records were sealed with.

use super::{Inner, StoreError, document};
use crate::store::codec::KINDS;
use ::mongodb::{
    bson::{Document, doc, spec::BinarySubtype},
    error::{Error, ErrorKind},
};

/// The version that this micado reads and writes. A later one brings a step from each version before.
const VERSION: u64 = 1;
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
        for kind in KINDS {
            if inner.database.collection::<Document>(kind).find_one(doc! {}).await.map_err(failed)?.is_some() {
                return Err(StoreError::Schema(format!(
                    "the database of the store {} has a collection `{kind}` of another program: name another database in the URL",
                    inner.shown
                )));
            }
        }
        return Ok(Found::Nothing);
    };
    match document::version(&schema) {
        Some(VERSION) => {}
        version => {
            let version = version.map_or_else(|| "an unreadable schema".to_owned(), |version| format!("schema {version}"));
            return Err(StoreError::Schema(format!(
                "the store {} has {version} and this micado knows {VERSION}: start the micado that wrote it, or a newer one",
                inner.shown
            )));
        }
    }
    let proof = schema.get_binary_generic("proof").ok().and_then(|sealed| inner.keys.unseal(ID, sealed));
    if proof.as_deref() != Some(PROOF) {
        return Err(StoreError::Schema(format!(
            "the records of the store {} were sealed with another key than `{}`: put the file there that it was made with, or name another database",
            inner.shown,
            inner.keys.path().display()
        )));
    }
    Ok(Found::Ours)
}

/// Makes the collections, which a transaction of an older server cannot, and then says that they are a store.
pub(super) async fn create(inner: &Inner) -> Result<(), StoreError> {
    for kind in KINDS {
        match inner.database.create_collection(kind).await {
            Err(error) if !matches!(&*error.kind, ErrorKind::Command(error) if error.code == EXISTS) => return Err(inner.failed(&error)),
            _ => {}
        }
    }
    let proof = ::mongodb::bson::Binary { subtype: BinarySubtype::Generic, bytes: inner.keys.seal(ID, PROOF)? };
    let schema = doc! { "version": VERSION as i64, "proof": proof };
    let collection = inner.database.collection::<Document>(COLLECTION);
    let made = collection.update_one(doc! { "_id": ID }, doc! { "$setOnInsert": schema }).upsert(true);
    made.await.map(drop).map_err(|error| inner.failed(&error))
}
