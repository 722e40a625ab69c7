//! The outbox, shared among the agent's tasks, and the health of checked copies.

use crate::outbox::Outbox;
use micado_api::agent::{ContainerEvent, FromAgent, HealthReport, SampleBatch};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Frames for the manager.
#[derive(Debug, Default)]
pub struct Mailbox {
    outbox: Mutex<Outbox>,
    healths: Mutex<Healths>,
    news: Notify,
}

/// Health of each checked copy, and which of it the manager does not know yet.
#[derive(Debug, Default)]
struct Healths {
    reports: BTreeMap<String, HealthReport>,
    news: BTreeSet<String>,
    /// The manager has not asked for checks since it was connected.
    is_unasked: bool,
}

impl Healths {
    /// Reports that are news, as a frame.
    fn take(&mut self) -> Option<FromAgent> {
        let news = std::mem::take(&mut self.news);
        let reports = news.iter().filter_map(|service| self.reports.get(service));
        let reports: Vec<HealthReport> = reports.cloned().collect();
        (!reports.is_empty()).then_some(FromAgent::Health { reports })
    }
}

impl Mailbox {
    /// Notes the health of a copy, to be sent before everything else.
    pub fn health(&self, report: HealthReport) {
        let mut healths = self.healths();
        healths.news.insert(report.service.clone());
        healths.reports.insert(report.service.clone(), report);
        self.news.notify_one();
    }

    /// Forgets the health of a copy that is not checked any more.
    pub fn forget_health(&self, service: &str) {
        let mut healths = self.healths();
        healths.reports.remove(service);
        healths.news.remove(service);
    }

    /// A connection is open: everything kept must be sent on it.
    pub fn connected(&self) {
        self.outbox().connected();
        self.healths().is_unasked = true;
    }

    /// The manager asks for checks. The first time on a connection, it needs the health of all
    /// copies: it may have missed changes.
    pub fn asked_for_checks(&self) {
        let mut healths = self.healths();
        if std::mem::take(&mut healths.is_unasked) {
            healths.news = healths.reports.keys().cloned().collect();
            self.news.notify_one();
        }
    }

    fn healths(&self) -> MutexGuard<'_, Healths> {
        self.healths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a batch.
    pub fn batch(&self, batch: SampleBatch) {
        self.outbox().push_batch(batch);
        self.news.notify_one();
    }

    /// Queues an event.
    pub fn event(&self, event: ContainerEvent) {
        self.outbox().push_event(event);
        self.news.notify_one();
    }

    /// The next frame to send, as JSON. Cancel-safe.
    pub async fn next(&self) -> String {
        loop {
            let health = self
                .healths()
                .take()
                .map(|frame| serde_json::to_string(&frame));
            let text = health.or_else(|| self.outbox().send_next().map(serde_json::to_string));
            match text {
                Some(Ok(text)) => return text,
                Some(Err(error)) => tracing::error!("a frame cannot be written as JSON: {error}"),
                None => self.news.notified().await,
            }
        }
    }

    /// The outbox itself; never held across an await.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::HealthState;

    fn report(service: &str, health: HealthState) -> HealthReport {
        HealthReport {
            service: service.to_owned(),
            health,
            failure: None,
        }
    }

    async fn next(mailbox: &Mailbox) -> Vec<HealthReport> {
        let text = mailbox.next().await;
        match serde_json::from_str(&text).expect("a frame") {
            FromAgent::Health { reports } => reports,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_the_last_verdict_is_sent_and_all_of_them_to_a_new_manager() {
        use HealthState::{Healthy, Starting, Unhealthy};
        let mailbox = Mailbox::default();
        for health in [Starting, Healthy, Unhealthy] {
            mailbox.health(report("a", health));
        }
        mailbox.health(report("b", Healthy));
        let all = [report("a", Unhealthy), report("b", Healthy)];
        assert_eq!(next(&mailbox).await, all);
        mailbox.health(report("a", Healthy));
        assert_eq!(next(&mailbox).await, [report("a", Healthy)]);
        // It asks for other checks: what it knows is not sent again.
        mailbox.connected();
        mailbox.asked_for_checks();
        let all = [report("a", Healthy), report("b", Healthy)];
        assert_eq!(next(&mailbox).await, all);
        mailbox.asked_for_checks();
        mailbox.health(report("b", Unhealthy));
        assert_eq!(next(&mailbox).await, [report("b", Unhealthy)]);
        mailbox.health(report("b", Healthy));
        mailbox.forget_health("b");
        mailbox.health(report("c", Healthy));
        assert_eq!(next(&mailbox).await, [report("c", Healthy)]);
    }
}
