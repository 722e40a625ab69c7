//! Real MongoDB servers for the tests, and direct access to their databases.

use crate::store::{KeyFile, Place, Url};
use ::mongodb::{Client, Database, bson::doc};
pub use micado_mongod::{Server, free_port};
use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU32, Ordering},
};
use tempfile::TempDir;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// URL of a database that no other test uses, on the server that tests share.
pub fn fresh_url() -> String {
    // Never dropped: its runner sees the end of this process.
    static OWN: LazyLock<Server> = LazyLock::new(|| Server::start(1));
    let name = format!(
        "test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    micado_mongod::shared(&name).unwrap_or_else(|| OWN.url(&name))
}

pub fn url(text: &str) -> Url {
    match text.parse() {
        Ok(Place::MongoDb(url)) => url,
        other => panic!("`{text}` is {other:?}"),
    }
}

/// A state folder's key.
pub fn keys() -> (TempDir, Arc<KeyFile>) {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = Arc::new(KeyFile::open(folder.path()).expect("a key"));
    (folder, keys)
}

/// Direct access to the database, past the store.
pub async fn database(url: &str) -> Database {
    let client = Client::with_uri_str(url).await.expect("a client");
    client.default_database().expect("the URL names a database")
}

/// Makes commands of clients of this name fail; see `configureFailPoint` of MongoDB.
pub async fn fail(url: &str, app: &str, times: i32, mut how: ::mongodb::bson::Document) {
    how.insert("appName", app);
    let command =
        doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": how };
    database(url)
        .await
        .client()
        .database("admin")
        .run_command(command)
        .await
        .expect("the server takes test commands");
}
