//! Counts and times of the manager's own work, from its start on. Adding to them costs one look-up
//! and waits for nobody.

use micado_core::control::{Answer, Call, Event};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{borrow::Cow, time::Duration};

/// Names and values of labels. Values come from code, except the name of a cloud.
type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Counted<const N: usize> = Family<Labels<N>, Counter>;

/// Upper bounds of the buckets for work inside the manager, in seconds.
const WORK: [f64; 9] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5];

/// Upper bounds of the buckets for calls to other systems, in seconds. The time-out is 60 s.
const CALL: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// Counters of one manager.
#[derive(Debug)]
pub struct Counters {
    pub(super) registry: Registry,
    events: Counted<1>,
    passes: Histogram,
    commits: Histogram,
    commit_failures: Counter,
    store_up: Gauge,
    calls: Family<Labels<3>, Histogram, fn() -> Histogram>,
    call_failures: Counted<4>,
    requests: Counted<3>,
    refused_connections: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let mut counters = Self {
            registry: Registry::with_prefix("micado"),
            events: Family::default(),
            passes: Histogram::new(WORK),
            commits: Histogram::new(WORK),
            commit_failures: Counter::default(),
            store_up: Gauge::default(),
            calls: Family::new_with_constructor(|| Histogram::new(CALL)),
            call_failures: Family::default(),
            requests: Family::default(),
            refused_connections: Counter::default(),
        };
        counters.register();
        counters
    }
}

impl Counters {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "events",
            "Events that the control core handled, by kind",
            self.events.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconcile pass; one pass handles all events that wait",
            Unit::Seconds,
            self.passes.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "Time of a commit to the store, failed ones included",
            Unit::Seconds,
            self.commits.clone(),
        );
        registry.register(
            "commit_failures",
            "Commits that failed",
            self.commit_failures.clone(),
        );
        registry.register(
            "store_up",
            "1 while the store answers, 0 during an outage: nothing is decided then",
            self.store_up.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "Time of a call to a cloud, the engine or the registry, failed ones included",
            Unit::Seconds,
            self.calls.clone(),
        );
        registry.register(
            "call_failures",
            "Calls to a cloud, the engine or the registry that failed, by kind of call and error",
            self.call_failures.clone(),
        );
        registry.register(
            "http_requests",
            "Requests to the API, by route, method and status; refusals are 4xx and 5xx",
            self.requests.clone(),
        );
        registry.register(
            "connections_refused",
            "HTTPS connections that were refused because too many are open",
            self.refused_connections.clone(),
        );
    }

    /// Counts an event that the core is about to handle. A blind engine is a failed observation.
    pub fn event(&self, event: &Event) {
        let kind = [("kind", Cow::Borrowed(event.kind()))];
        self.events.get_or_create(&kind).inc();
        if matches!(event, Event::Blind(_)) {
            self.call_failed("engine", "observe", None, "unavailable");
        }
    }

    /// Counts a reconcile pass.
    pub fn pass(&self, took: Duration) {
        self.passes.observe(took.as_secs_f64());
    }

    /// Counts a commit.
    pub fn commit(&self, took: Duration, is_done: bool) {
        self.commits.observe(took.as_secs_f64());
        if !is_done {
            self.commit_failures.inc();
        }
    }

    /// Notes if the store answers.
    pub fn store_is(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }

    /// Counts a call, and its failure.
    pub fn call(&self, call: &CallLabels, took: Duration, answer: &Answer) {
        let CallLabels {
            target,
            kind,
            cloud,
        } = call;
        let labels = [
            ("target", Cow::Borrowed(*target)),
            ("call", Cow::Borrowed(*kind)),
            ("cloud", Cow::Owned(cloud.clone().unwrap_or_default())),
        ];
        let calls = self.calls.get_or_create(&labels);
        calls.observe(took.as_secs_f64());
        drop(calls);
        if let Some(error) = answer.failure() {
            self.call_failed(target, kind, cloud.clone(), error);
        }
    }

    fn call_failed(
        &self,
        target: &'static str,
        kind: &'static str,
        cloud: Option<String>,
        error: &'static str,
    ) {
        let labels = [
            ("target", Cow::Borrowed(target)),
            ("call", Cow::Borrowed(kind)),
            ("cloud", Cow::Owned(cloud.unwrap_or_default())),
            ("error", Cow::Borrowed(error)),
        ];
        self.call_failures.get_or_create(&labels).inc();
    }

    /// Counts a request to the API, by the template of its route.
    pub fn request(&self, route: &str, method: &'static str, status: u16) {
        let labels = [
            ("route", Cow::Owned(route.to_owned())),
            ("method", Cow::Borrowed(method)),
            ("code", Cow::Owned(status.to_string())),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a connection that was not admitted.
    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }
}

/// Labels of a call, taken before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLabels {
    target: &'static str,
    kind: &'static str,
    cloud: Option<String>,
}

impl From<&Call> for CallLabels {
    fn from(call: &Call) -> Self {
        Self {
            target: call.target(),
            kind: call.kind(),
            cloud: call.cloud().map(ToString::to_string),
        }
    }
}
