//! MongoDB for clusters under test: a database on the server that tests share, or a server of its
//! own, which may be frozen and killed.

use micado_mongod::Server;
use mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::ClientOptions,
};
use std::{path::Path, time::Duration};

/// Time-out for reading and dropping a database, so that a dead server delays no test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Location of the records of a cluster under test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Store {
    /// In a file of the state folder.
    #[default]
    Embedded,
    /// In a database of the cluster's own.
    MongoDb,
    /// In a database of a server of the cluster's own: see [`Mongod::freeze`] and [`Mongod::kill`].
    OwnServer,
}

/// The database of one cluster. Dropping this drops it.
#[derive(Debug)]
pub struct Mongod {
    url: String,
    server: Option<Server>,
}

impl Mongod {
    /// A database for the cluster of this folder, if its records are to be in one.
    pub(crate) fn start(store: Store, folder: &Path) -> Option<Self> {
        let name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .expect("a folder with a name");
        let shared = micado_mongod::shared(&name).filter(|_| store == Store::MongoDb);
        match (store, shared) {
            (Store::Embedded, _) => None,
            (_, Some(url)) => Some(Self { url, server: None }),
            (_, None) => {
                let server = Server::start(1);
                Some(Self {
                    url: server.url(&name),
                    server: Some(server),
                })
            }
        }
    }

    /// URL for the manager.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns all documents of a collection without the sealed records.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn documents(&self, collection: &str) -> Vec<Document> {
        let database = database(&self.url).await.expect("a URL");
        let found = database
            .collection::<Document>(collection)
            .find(doc! {})
            .projection(doc! { "record": 0 })
            .await;
        let documents = futures_util::TryStreamExt::try_collect(found.expect("the server answers"))
            .await
            .expect("the documents");
        database.client().clone().shutdown().await;
        documents
    }

    /// Stops its server from answering until [`Mongod::thaw`], without closing connections.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Ends [`Mongod::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Kills its server as a power cut would.
    pub fn kill(&self) {
        self.signal("-KILL");
    }

    /// Restarts its server on its existing data.
    ///
    /// # Panics
    /// If it does not take writes within half a minute.
    pub fn restart(&self) {
        self.own().restart();
    }

    fn signal(&self, signal: &str) {
        let server = self.own();
        server
            .ports()
            .iter()
            .for_each(|port| server.signal(*port, signal));
    }

    fn own(&self) -> &Server {
        self.server
            .as_ref()
            .expect("`Store::OwnServer` was asked for")
    }

    /// Drops the database, so that other users of the server do not find it.
    async fn drop_database(&self) -> mongodb::error::Result<()> {
        let database = database(&self.url).await?;
        database.drop().await?;
        database.client().clone().shutdown().await;
        Ok(())
    }
}

async fn database(url: &str) -> mongodb::error::Result<Database> {
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(PATIENCE);
    let client = Client::with_options(options)?;
    Ok(client.default_database().expect("the URL names a database"))
}

impl Drop for Mongod {
    /// Runs on a thread and a runtime of its own, as the removal of a cluster does.
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async {
                tokio::time::timeout(PATIENCE, self.drop_database())
                    .await
                    .ok()?
                    .ok()
            })
        };
        if !matches!(
            std::thread::scope(|scope| scope.spawn(work).join()),
            Ok(Some(()))
        ) {
            eprintln!("the database of {} stays behind", self.url);
        }
    }
}
