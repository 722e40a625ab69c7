//! The forecast of services: what the history says of their load, and the floor that follows.

use super::{
    super::tally::{Counts, share},
    Core, Note,
};
use crate::scaling::{Forecast, Foresight, Frame, Limits, Metric, Past, Policies, Span};
use micado_api::ServiceName;
use std::sync::Arc;

/// A service with a forecast, for the task that reads its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    pub service: ServiceName,
    /// Quantile of demand to be ready for.
    pub quantile: f64,
    /// Time from a decision to one more warm copy.
    pub horizon: Span,
}

impl Note {
    /// Follows the load of a frame, and returns the count that the forecast wants at least.
    pub(super) fn foresee(
        &mut self,
        policies: &Policies,
        frame: &Frame,
        limits: &Limits,
    ) -> Option<u32> {
        let share = share(policies, Metric::Cpu, limits)?;
        if policies.forecast == Forecast::Off {
            return None;
        }
        // A sum that lacks copies is no load to remember.
        if frame.copies.blind == 0 {
            let load = frame.cpu.warm + frame.cpu.young;
            let quantile = policies.importance.quantile();
            self.outlook.follow(frame.at, load, limits.lead, quantile);
        }
        match self.outlook.foresight(share, frame.copies.wanted()) {
            Foresight::Open { floor } if policies.forecast == Forecast::Auto => Some(floor),
            _ => None,
        }
    }
}

impl Core {
    /// Takes the load of earlier days of a service. A change of its use is a decision.
    pub(in crate::control) fn take_past(&mut self, name: &ServiceName, past: Arc<Past>) {
        let Some(policy) = self.ledger.policies.get(name) else {
            return;
        };
        let Ok((name, mut note)) = self.scaling.take(policy) else {
            return;
        };
        let is_used = policy.policies.forecast == Forecast::Auto;
        let is_news = note.outlook.take(past) && is_used;
        let is_open = note.outlook.is_open(self.now);
        self.scaling.put((name.clone(), note));
        if is_news {
            let text = match is_open {
                true => "its forecast counts from now on: it was better than the present load",
                false => "its forecast counts no more: it was worse than the present load",
            };
            self.decide_service(&name, text.to_owned());
        }
    }

    /// Services whose load is foretold.
    #[must_use]
    pub fn foreseen(&self) -> Vec<Foreseen> {
        let policies = self.ledger.policies.values();
        let with_forecast = policies.filter(|policy| policy.policies.forecast != Forecast::Off);
        with_forecast
            .filter_map(|policy| {
                let limits = self.limits_of(policy, &Counts::default());
                share(&policy.policies, Metric::Cpu, &limits)?;
                Some(Foreseen {
                    service: policy.service.clone(),
                    quantile: policy.policies.importance.quantile(),
                    horizon: limits.lead,
                })
            })
            .collect()
    }

    /// Sentence about the forecast of a service, if it has one.
    pub(in crate::control) fn forecast_text(&self, name: &ServiceName) -> Option<String> {
        let policy = self.ledger.policies.get(name)?;
        let note = self.scaling.notes.get(name)?;
        let counts = self.counts(name);
        let share = share(
            &policy.policies,
            Metric::Cpu,
            &self.limits_of(policy, &counts),
        )?;
        let is_shown = policy.policies.forecast == Forecast::Show;
        match (
            policy.policies.forecast,
            note.outlook.foresight(share, counts.wanted()),
        ) {
            (Forecast::Off, _) => None,
            (Forecast::Auto, Foresight::Young) => None,
            (_, Foresight::Young) => Some("forecast: too few days are measured".to_owned()),
            (_, Foresight::Closed) => Some("forecast: not better than the present load".to_owned()),
            (_, Foresight::Open { floor }) => Some(match is_shown {
                true => format!("forecast: at least {floor} copies, only shown"),
                false => format!("forecast: at least {floor} copies"),
            }),
        }
    }
}
