//! The store in a MongoDB: the conformance suite on a real server, and cases that only a server
//! has.

mod access;
mod events;
mod faults;
mod history;
mod leases;
mod reading;
mod server;

use super::{IfNone, MongoStore, Pace};
use crate::store::{
    KeyFile, Record, Store, StoreError,
    conformance::{Home, conformance, put, setting},
};
use micado_core::metrics::History;
use server::{fresh_url, keys, url};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

/// Short time-outs, for quick tests.
const QUICK: Pace = Pace {
    answer: Duration::from_secs(4),
    lease: Duration::from_secs(2),
};

/// A database of its own, and a state folder.
struct TestHome {
    url: String,
    keys: Arc<KeyFile>,
    state: TempDir,
}

impl TestHome {
    fn at(url: String) -> Self {
        let (state, keys) = keys();
        Self { url, keys, state }
    }
    async fn store(&self, pace: Pace) -> Result<MongoStore, StoreError> {
        MongoStore::open_with(&url(&self.url), self.keys.clone(), IfNone::Make, pace).await
    }
}

#[async_trait::async_trait]
impl Home for TestHome {
    async fn fresh() -> Self {
        Self::at(
            tokio::task::spawn_blocking(fresh_url)
                .await
                .expect("a server"),
        )
    }
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store(Pace::default()).await.expect("open"))
    }
    async fn history(&self) -> Arc<dyn History> {
        Arc::new(self.store(Pace::default()).await.expect("open"))
    }
}

conformance!(TestHome);

/// Present settings with their versions.
async fn settings(store: &MongoStore) -> Vec<(String, String, u64)> {
    let contents = store.load().await.expect("load");
    let mut settings: Vec<_> = contents
        .into_iter()
        .filter_map(|(record, version)| match record {
            Record::Setting(it) => Some((it.name, it.value, version)),
            _ => None,
        })
        .collect();
    settings.sort();
    settings
}
