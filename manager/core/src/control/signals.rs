//! Signals from outside for policies: their sources to ask, and the answers.

use super::Core;
use crate::scaling::{Policy, Query, Span};
use micado_api::ServiceName;

/// A source that a policy reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub service: ServiceName,
    /// Index of the policy of the service.
    pub policy: usize,
    /// Server and expression.
    pub server: String,
    pub query: String,
    /// Time between two queries.
    pub interval: Span,
}

/// Answer of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    pub source: Source,
    /// All values of the answer; none after an error.
    pub values: Vec<f64>,
}

impl Source {
    fn new(service: &ServiceName, policy: usize, query: &Query) -> Option<Self> {
        Some(Self {
            service: service.clone(),
            policy,
            server: query.server.clone()?,
            query: query.query.clone(),
            interval: query.interval,
        })
    }
}

impl Core {
    /// Sources of all policies.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let policies = self.ledger.policies.values();
        let sources = policies.flat_map(|policy| {
            let of = policy.policies.policies.iter().enumerate();
            of.filter_map(|(at, one)| match one {
                Policy::Query(query) => Source::new(&policy.service, at, query),
                _ => None,
            })
        });
        sources.collect()
    }

    /// Takes an answer, unless its policy has changed since.
    pub(super) fn signal(&mut self, signal: &Signal) {
        let Signal { source, values } = signal;
        let policy = self.ledger.policies.get(&source.service);
        let asked = policy.and_then(|policy| policy.policies.policies.get(source.policy));
        let present = match asked {
            Some(Policy::Query(query)) => Source::new(&source.service, source.policy, query),
            _ => None,
        };
        if present.as_ref() == Some(source) {
            let now = self.now;
            self.scaling
                .note_query(&source.service, source.policy, values, now);
        }
    }
}
