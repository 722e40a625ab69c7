//! Room that containers of a location asked for over the last week, minute by minute: `headroom auto`
//! learns from it how much more is asked for while a machine boots.

use super::{Core, ledger::Ledger};
use crate::model::Setting;
use micado_api::{Location, MemoryBytes, NanoCpus, Resources, Timestamp};
use micado_cloudsetup::Headroom;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Prefix of the settings with what was asked for; the location follows.
const SETTING: &str = "promised:";

const MINUTE: Duration = Duration::from_secs(60);
/// Minutes that are looked at.
const WEEK: u64 = 7 * 24 * 60;
/// Known minutes without which nothing is kept free.
const DAY: usize = 24 * 60;
/// Minutes between two writes: so many are lost in a crash.
const WRITTEN_EVERY: u64 = 60;
/// Upper bound for the growth that is prepared for, as a share of what is asked for now; a machine
/// of the cheapest flavour is allowed in any case.
const MOST_PERCENT: u64 = 20;

/// Minutes with equal room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Since the Unix epoch.
    begin: u64,
    minutes: u64,
    room: Resources,
}

/// The past of a location, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Past(Vec<Run>);

/// The growth that a location prepares for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Too little is known: so many minutes.
    Learning(usize),
    /// Room that is to be kept free.
    Room(Resources),
}

/// The pasts of the locations with `headroom auto`.
#[derive(Debug, Clone, Default)]
pub(super) struct Promised {
    pasts: BTreeMap<Location, Past>,
    growths: BTreeMap<Location, Growth>,
    /// Minute of the last look.
    looked: u64,
    written: u64,
}

impl Past {
    /// Adds a minute. If the clock was set back, minutes that are known stay as they are; after more
    /// than a day all begins anew.
    fn add(&mut self, minute: u64, room: Resources) {
        let next = self.0.last().map_or(0, |last| last.begin + last.minutes);
        match next.saturating_sub(minute) {
            0 => {}
            back if back <= 24 * 60 => return,
            _ => self.0.clear(),
        }
        match self.0.last_mut() {
            Some(last) if last.begin + last.minutes == minute && last.room == room => {
                last.minutes += 1;
            }
            _ => self.0.push(Run {
                begin: minute,
                minutes: 1,
                room,
            }),
        }
        let oldest = (minute + 1).saturating_sub(WEEK);
        self.0.retain(|run| run.begin + run.minutes > oldest);
        if let Some(first) = self.0.first_mut() {
            let gone = oldest.saturating_sub(first.begin);
            first.begin += gone;
            first.minutes -= gone;
        }
    }

    /// Number of known minutes.
    fn known(&self) -> usize {
        let known: u64 = self.0.iter().map(|run| run.minutes).sum();
        usize::try_from(known).unwrap_or(usize::MAX)
    }

    /// This quantile of the growth within so many minutes, over all moments that are known to their
    /// end, memory and CPU apart.
    fn growth(&self, within: usize, quantile: f64) -> Resources {
        let mut grown = Vec::with_capacity(self.known());
        for part in self
            .0
            .chunk_by(|one, next| one.begin + one.minutes == next.begin)
        {
            let rooms = part.iter().flat_map(|run| {
                std::iter::repeat_n(run.room, usize::try_from(run.minutes).unwrap_or(0))
            });
            let rooms: Vec<Resources> = rooms.collect();
            for moment in rooms.windows(within + 1) {
                let highest = moment.iter().fold(moment[0], |most, room| {
                    let memory = most.memory.max(room.memory);
                    Resources::new(memory, most.cpu.max(room.cpu))
                });
                grown.push(highest.saturating_sub(moment[0]));
            }
        }
        let mut at = |amount: fn(&Resources) -> u64| {
            grown.sort_unstable_by_key(amount);
            let rank = (grown.len() as f64 * quantile).ceil() as usize;
            grown.get(rank.max(1) - 1).map_or(0, amount)
        };
        let memory = at(|it| it.memory.0);
        Resources::new(MemoryBytes(memory), NanoCpus(at(|it| it.cpu.0)))
    }
}

impl Promised {
    /// Reads the pasts of earlier lives. Those that cannot be read are learned anew.
    pub(super) fn new(ledger: &Ledger) -> Self {
        let settings = ledger.settings.values();
        let pasts = settings.filter_map(|setting| {
            let location = setting.name.strip_prefix(SETTING)?.parse().ok()?;
            Some((location, serde_json::from_str(&setting.value).ok()?))
        });
        Self {
            pasts: pasts.collect(),
            ..Self::default()
        }
    }

    /// The growth that a location prepares for.
    pub(super) fn growth(&self, location: &Location) -> Growth {
        let growth = self.growths.get(location).copied();
        growth.unwrap_or(Growth::Learning(0))
    }
}

impl Core {
    /// Looks at what is asked for, once a minute.
    pub(super) fn look_at_promised(&mut self) {
        let bounds = self.config.setup.locations.iter();
        let auto = bounds.filter(|bounds| bounds.headroom == Some(Headroom::Auto));
        let auto: Vec<Location> = auto.map(|bounds| bounds.location.clone()).collect();
        let minute = minute_of(self.now);
        if auto.is_empty() || minute == self.promised.looked {
            return;
        }
        self.promised.looked = minute;
        let mut asked: BTreeMap<&Location, Resources> = BTreeMap::new();
        for container in self
            .ledger
            .containers()
            .values()
            .filter(|it| it.wants_room())
        {
            let spec = &self.ledger.service_of(container).spec;
            *asked.entry(&spec.location).or_default() += spec.reservation;
        }
        let asked: Vec<(Location, Resources)> = auto
            .into_iter()
            .map(|location| {
                let room = asked.get(&location).copied().unwrap_or_default();
                (location, room)
            })
            .collect();
        let is_written = minute >= self.promised.written + WRITTEN_EVERY;
        if is_written {
            self.promised.written = minute;
        }
        for (location, room) in asked {
            let past = self.promised.pasts.entry(location.clone()).or_default();
            past.add(minute, room);
            if is_written && let Ok(value) = serde_json::to_string(past) {
                let setting = Setting::new(format!("{SETTING}{location}"), value);
                self.ledger.settings.insert(setting);
            }
            let growth = self.growth_of(&location, room);
            let before = self.promised.growths.insert(location, growth);
            let is_news = matches!(growth, Growth::Room(_)) && before != Some(growth);
            self.ledger.dirty.plan |= is_news;
        }
    }

    /// The growth of a location where so much is asked for now.
    fn growth_of(&self, location: &Location, now: Resources) -> Growth {
        let past = &self.promised.pasts[location];
        if past.known() < DAY {
            return Growth::Learning(past.known());
        }
        let policies = self.ledger.policies.values().filter(|policy| {
            let service = self.ledger.service(&policy.service);
            service.is_some_and(|service| service.spec.location == *location)
        });
        let quantiles = policies.map(|policy| policy.policies.importance.quantile());
        let quantile = quantiles.reduce(f64::max);
        let quantile = quantile.unwrap_or_else(|| crate::scaling::Importance::Normal.quantile());
        let boot = self.boot_for(Resources::default());
        let within = usize::try_from(boot.0.div_ceil(60_000)).unwrap_or(1).max(1);
        let growth = past.growth(within, quantile);
        let machine = self.cheapest_machine().unwrap_or_default();
        let most = |now: u64, machine: u64| (now / 100 * MOST_PERCENT).max(machine);
        let memory = most(now.memory.0, machine.memory.0);
        let cpu = most(now.cpu.0, machine.cpu.0);
        Growth::Room(Resources::new(
            growth.memory.min(MemoryBytes(memory)),
            growth.cpu.min(NanoCpus(cpu)),
        ))
    }
}

fn minute_of(time: Timestamp) -> u64 {
    let minute = u64::try_from(MINUTE.as_millis()).unwrap_or(u64::MAX);
    time.0 / minute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(memory: u64) -> Resources {
        Resources::new(MemoryBytes::mib(memory), NanoCpus::millis(memory))
    }

    /// A past with this room in each minute from the hundredth on.
    fn past(rooms: impl IntoIterator<Item = u64>) -> Past {
        let mut past = Past::default();
        for (minute, room) in (100..).zip(rooms) {
            past.add(minute, mib(room));
        }
        past
    }

    #[test]
    fn growth_within_the_time_of_a_boot_counts_and_shrinking_does_not() {
        // Each tenth minute 50 MiB more, for two minutes.
        let saw = past((0..1000).map(|minute| if minute % 10 < 2 { 150 } else { 100 }));
        // Two of the moments before it in ten.
        assert_eq!(saw.growth(2, 0.8), mib(0));
        assert_eq!(saw.growth(2, 0.81), mib(50));
        assert_eq!(saw.growth(1, 0.81), mib(0), "one in ten");
        assert_eq!(past((0..1000).rev()).growth(2, 0.95), mib(0));
        assert_eq!(past(0..1000).growth(3, 0.5), mib(3));
    }

    #[test]
    fn nothing_is_learned_from_a_gap() {
        let mut past = past([10; 50]);
        for minute in 500..550 {
            past.add(minute, mib(500));
        }
        assert_eq!((past.known(), past.growth(5, 1.0)), (100, mib(0)));
    }

    #[test]
    fn a_clock_that_is_set_back_changes_no_minute() {
        let mut past = past([10; 50]);
        let before = past.clone();
        past.add(120, mib(500));
        assert_eq!(past, before);
        past.0[0].begin += 10 * WEEK;
        past.add(120, mib(500));
        assert_eq!(past.known(), 1, "it was wrong before");
    }

    #[test]
    fn a_week_is_remembered_in_few_words() {
        let mut past = Past::default();
        for minute in 0..5 * WEEK / 2 {
            past.add(minute, mib(minute / WEEK));
        }
        assert_eq!((past.0.len(), past.known()), (2, 7 * DAY), "{past:?}");
        let read: Past =
            serde_json::from_str(&serde_json::to_string(&past).expect("JSON")).expect("a past");
        assert_eq!(read, past);
    }
}
