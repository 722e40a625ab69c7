//! Learned lead times: how long machines of each flavour take from the order until they have joined.

use super::{Core, HOLD, ledger::Ledger};
use crate::{
    model::{Instance, Setting},
    scaling::{Learned, Span},
};
use micado_api::{CloudName, FlavourName, InstanceId, Origin, Resources};
use std::{collections::BTreeMap, time::Duration};

/// Prefix of the settings with learned times; cloud and flavour follow.
const SETTING: &str = "lead:";

/// Lead time of a flavour of which no machine has joined.
const UNKNOWN: Span = Span::seconds(90);

/// Upper bound for the time that a machine is held, unless people set a longer one.
const LONGEST_HOLD: Duration = Duration::from_secs(900);

/// Times of each flavour, by the name of their setting.
#[derive(Debug, Clone, Default)]
pub(super) struct Leads(BTreeMap<String, Learned>);

impl Leads {
    /// Reads the times of earlier lives. Those that cannot be read are learned anew.
    pub(super) fn new(ledger: &Ledger) -> Self {
        let settings = ledger.settings.values();
        let leads = settings.filter(|setting| setting.name.starts_with(SETTING));
        let leads = leads.filter_map(|setting| {
            let learned = serde_json::from_str(&setting.value).ok()?;
            Some((setting.name.clone(), learned))
        });
        Self(leads.collect())
    }

    /// Learned time of a flavour, if one of its machines has joined.
    fn of(&self, cloud: &CloudName, flavour: &FlavourName) -> Option<Span> {
        let learned = self.0.get(&name(cloud, flavour))?;
        Some(learned.value(UNKNOWN))
    }
}

fn name(cloud: &CloudName, flavour: &FlavourName) -> String {
    format!("{SETTING}{cloud}/{flavour}")
}

impl Core {
    /// Learns from a machine that has just joined: not from an adopted one, nor from one that may
    /// have joined while nobody looked.
    pub(super) fn learn_lead(&mut self, id: &InstanceId) {
        let unseen = self.nodes.answers_since(id) == self.nodes.seen_since;
        let Some(instance) = self.ledger.instance(id) else {
            return;
        };
        let Some(joined) = instance.joined_at else {
            return;
        };
        if unseen || instance.origin == Origin::Adopted {
            return;
        }
        let after = joined.since(instance.created_at).as_millis();
        let time = Span(u64::try_from(after).unwrap_or(u64::MAX));
        let name = name(&instance.cloud, &instance.flavour);
        let learned = self.leads.0.entry(name.clone()).or_default();
        if learned.add(time, UNKNOWN)
            && let Ok(value) = serde_json::to_string(learned)
        {
            self.ledger.settings.insert(Setting::new(name, value));
        }
    }

    /// Time for which a machine must be unneeded before it is returned: as long as it would take to
    /// get it back, within bounds.
    pub(super) fn hold_of(&self, instance: &Instance) -> Duration {
        let lead = self.boot_of(&instance.cloud, &instance.flavour);
        let least = self.least_hold();
        lead.clamp(least, LONGEST_HOLD.max(least))
    }

    /// Time from the order of a machine of this flavour until it has joined.
    pub(super) fn boot_of(&self, cloud: &CloudName, flavour: &FlavourName) -> Duration {
        let lead = self.leads.of(cloud, flavour);
        Duration::from_millis(lead.unwrap_or(UNKNOWN).0)
    }

    pub(super) fn least_hold(&self) -> Duration {
        self.config.hold.max(HOLD)
    }

    /// Boot time of a machine of the cheapest flavour that holds this reservation.
    pub(super) fn boot_for(&self, reservation: Resources) -> Span {
        self.learned_boot(reservation).unwrap_or(UNKNOWN)
    }

    fn learned_boot(&self, reservation: Resources) -> Option<Span> {
        let clouds = self.config.setup.clouds.iter();
        let flavours = clouds.flat_map(|cloud| cloud.flavours.iter().map(move |it| (cloud, it)));
        let holding = flavours.filter(|(_, flavour)| {
            let size = flavour.size.map(|size| self.for_containers(size));
            size.is_some_and(|size| reservation.fits_in(&size))
        });
        let (cloud, flavour) = holding.min_by_key(|(_, flavour)| flavour.price)?;
        self.leads.of(&cloud.name, &flavour.name)
    }
}
