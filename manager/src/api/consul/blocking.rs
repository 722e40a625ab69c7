//! Blocking queries: how long one waits, and how many may.

use super::{ConsulState, Refused, query::Query};
use crate::{
    api::admission::network,
    catalogue::{ServiceRows, Topic},
};
use axum::http::StatusCode;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// Upper bounds for queries that wait: in all, and of one address.
const WAITERS: usize = 8_192;
const OF_ONE: usize = 2_048;

/// The queries that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    of: HashMap<IpAddr, usize>,
}

/// The right to wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    waiters: Arc<Waiters>,
    from: IpAddr,
}

impl Waiters {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Permit, Refused> {
        let from = network(from);
        let mut counts = self.counts();
        let of_one = counts.of.get(&from).copied().unwrap_or_default();
        if counts.total >= WAITERS || of_one >= OF_ONE {
            let text = "too many queries wait: close some, or ask without `index`";
            return Err(Refused(StatusCode::TOO_MANY_REQUESTS, text.to_owned()));
        }
        counts.total += 1;
        *counts.of.entry(from).or_default() += 1;
        Ok(Permit {
            waiters: Arc::clone(self),
            from,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.waiters.counts();
        counts.total -= 1;
        if let Some(count) = counts.of.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.of.remove(&self.from);
            }
        }
    }
}

/// True if a query waits: it knows exactly this index. A larger one is of a lost time, and must
/// start over.
const fn waits(query: &Query, index: u64) -> bool {
    query.index > 0 && query.index == index
}

/// A sixteenth is added by chance, so that clients that began together do not ask together.
fn spread(wait: Duration) -> Duration {
    wait + wait.mul_f64(rand::random::<f64>() / 16.0)
}

impl ConsulState {
    /// The entries of a service, once the index that the caller knows is not theirs or its time is
    /// over.
    pub(super) async fn service(
        &self,
        name: &str,
        query: &Query,
        from: IpAddr,
    ) -> Result<Arc<ServiceRows>, Refused> {
        let service = self.catalogue.service(name);
        if !waits(query, service.index) {
            return Ok(service);
        }
        drop(service);
        let _permit = self.waiters.enter(from)?;
        let mut watched = self.catalogue.watch(name);
        self.until(&mut watched, query, |service| service.index)
            .await;
        drop(watched);
        Ok(self.catalogue.service(name))
    }

    /// Waits until the index that the caller knows is not that of this part, or its time is over.
    pub(super) async fn topic(
        &self,
        topic: Topic,
        query: &Query,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let mut watched = self.catalogue.watch_topic(topic);
        if waits(query, *watched.borrow()) {
            let _permit = self.waiters.enter(from)?;
            self.until(&mut watched, query, |index| *index).await;
        }
        Ok(())
    }

    async fn until<T>(
        &self,
        watched: &mut watch::Receiver<T>,
        query: &Query,
        index: impl Fn(&T) -> u64,
    ) {
        let changed = watched.wait_for(|value| !waits(query, index(value)));
        let changed = timeout(spread(query.wait), async { drop(changed.await) });
        tokio::select! {
            // Without a change the caller gets the same again.
            _ = changed => {}
            () = self.stopping.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_present_index_waits() {
        let query = |text| Query::parse(text).expect("it is fine");
        assert!(waits(&query("index=7"), 7));
        for text in ["", "index=0", "index=6", "index=8"] {
            assert!(!waits(&query(text), 7), "{text}");
        }
    }

    #[test]
    fn one_address_cannot_take_all() {
        let waiters = Arc::new(Waiters::default());
        let one = "fd00::1".parse().expect("an address");
        // The same network of IPv6.
        let same = "fd00::2".parse().expect("an address");
        let other = "10.0.0.1".parse().expect("an address");
        let held: Vec<_> = (0..OF_ONE).map(|_| waiters.enter(one)).collect();
        assert!(held.iter().all(Result::is_ok));
        let Refused(status, _) = waiters.enter(same).expect_err("too many");
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        let more = waiters.enter(other).expect("another address");
        drop((held, more));
        let counts = waiters.counts();
        assert!(counts.total == 0 && counts.of.is_empty());
    }

    #[test]
    fn a_wait_is_at_most_a_sixteenth_longer() {
        for _ in 0..100 {
            let spread = spread(Duration::from_secs(160));
            assert!((160..=170).contains(&spread.as_secs()), "{spread:?}");
        }
    }
}
