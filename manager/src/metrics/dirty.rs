//! Buckets (minutes, ten minutes) of instances with new points, to be rolled up once they are over.

use super::{Point, Resolution};
use micado_api::{InstanceId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Upper bound for points of one instance that are read at once.
const MOST_POINTS: u64 = 300;

/// Consecutive buckets of one instance, to be rolled up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) instance: InstanceId,
    pub(super) to: Resolution,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Span {
    /// Begin of each of its buckets.
    fn begins(&self) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(Some(self.from), |at| Some(at.plus(self.to.span())))
            .take_while(|at| *at < self.until)
    }

    /// One span for each of its buckets.
    pub(super) fn times(&self) -> impl Iterator<Item = Self> {
        self.begins().map(|from| Self {
            from,
            until: from.plus(self.to.span()),
            instance: self.instance.clone(),
            to: self.to,
        })
    }
}

/// Begin of each bucket that has new points, by resolution and instance.
#[derive(Debug, Default)]
pub(super) struct DirtyBuckets(BTreeMap<(Resolution, InstanceId), BTreeSet<Timestamp>>);

/// Resolution that a roll-up to this one reads.
pub(super) fn finer(resolution: Resolution) -> Resolution {
    match resolution {
        Resolution::TenMinutes => Resolution::Minute,
        Resolution::Minute | Resolution::Sample => Resolution::Sample,
    }
}

impl DirtyBuckets {
    /// Marks the buckets of these recorded points.
    pub(super) fn touch(&mut self, points: &[Point]) {
        for point in points {
            let coarser = match point.resolution {
                Resolution::Sample => Resolution::Minute,
                Resolution::Minute => Resolution::TenMinutes,
                Resolution::TenMinutes => continue,
            };
            self.0
                .entry((coarser, point.instance.clone()))
                .or_default()
                .insert(coarser.begin(point.at));
        }
    }

    /// Marks all buckets with a complete set of finer points: after a start, none is known to be
    /// clean.
    pub(super) fn touch_kept(&mut self, now: Timestamp, instance: &InstanceId) {
        for to in [Resolution::Minute, Resolution::TenMinutes] {
            let oldest =
                Timestamp(now.0.saturating_sub(
                    u64::try_from(finer(to).kept().as_millis()).unwrap_or(u64::MAX),
                ));
            // The oldest bucket is partly deleted already, and the next may be by the time that it
            // is read.
            let times = std::iter::successors(Some(to.begin(oldest).plus(to.span() * 2)), |at| {
                Some(at.plus(to.span()))
            });
            self.0
                .entry((to, instance.clone()))
                .or_default()
                .extend(times.take_while(|at| *at <= now));
        }
    }

    /// Removes and returns finished buckets: over by our clock, or by the machine's own, which may
    /// be ahead and has reached a later time. Consecutive buckets form one span.
    pub(super) fn finished(&mut self, to: Resolution, now: Timestamp) -> Vec<Span> {
        let mut spans = Vec::new();
        let most = to.span()
            * u32::try_from(MOST_POINTS * finer(to).millis() / to.millis())
                .unwrap_or(1)
                .max(1);
        for ((_, instance), times) in self
            .0
            .iter_mut()
            .filter(|((resolution, _), _)| *resolution == to)
        {
            let over = times.last().map_or(now, |latest| now.max(*latest));
            let open = times.split_off(&Timestamp((over.0 + 1).saturating_sub(to.millis())));
            for from in std::mem::replace(times, open) {
                let until = from.plus(to.span());
                match spans.last_mut() {
                    Some(Span {
                        instance: of,
                        from: begun,
                        until: end,
                        ..
                    }) if of == instance && *end == from && until.since(*begun) <= most => {
                        *end = until
                    }
                    _ => spans.push(Span {
                        instance: instance.clone(),
                        to,
                        from,
                        until,
                    }),
                }
            }
        }
        self.0.retain(|_, times| !times.is_empty());
        spans
    }

    /// Marks spans again after their roll-up failed.
    pub(super) fn put_back(&mut self, spans: &[Span]) {
        for it in spans {
            self.0
                .entry((it.to, it.instance.clone()))
                .or_default()
                .extend(it.begins());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;

    const MINUTE: u64 = 60_000;

    fn spans(dirty: &mut DirtyBuckets, to: Resolution, now: u64) -> Vec<(String, u64, u64)> {
        dirty
            .finished(to, Timestamp(now))
            .into_iter()
            .map(|it| {
                (
                    it.instance.to_string(),
                    it.from.0 / MINUTE,
                    it.until.0 / MINUTE,
                )
            })
            .collect()
    }

    fn one(from: u64, until: u64) -> (String, u64, u64) {
        ("i1".to_owned(), from, until)
    }

    #[test]
    fn a_minute_is_rolled_up_when_it_is_over_and_again_when_more_came() {
        let mut dirty = DirtyBuckets::default();
        dirty.touch(&[
            sample("i1", MINUTE),
            sample("i1", MINUTE + 2000),
            sample("i1", 2 * MINUTE),
            sample("i1", 4 * MINUTE),
        ]);
        assert_eq!(
            spans(&mut dirty, Resolution::Minute, 2 * MINUTE - 1),
            [one(1, 3)],
            "the machine's clock goes ahead: it is in its fifth minute"
        );
        assert_eq!(spans(&mut dirty, Resolution::Minute, 5 * MINUTE - 1), []);
        assert_eq!(
            spans(&mut dirty, Resolution::Minute, 5 * MINUTE),
            [one(4, 5)]
        );
        dirty.touch(&[sample("i1", MINUTE + 4000)]);
        assert_eq!(
            spans(&mut dirty, Resolution::Minute, 5 * MINUTE),
            [one(1, 2)],
            "late"
        );
        assert!(dirty.0.is_empty());
    }

    #[test]
    fn what_could_not_be_rolled_up_is_tried_again() {
        let mut dirty = DirtyBuckets::default();
        dirty.touch(&[
            sample("i1", MINUTE),
            sample("i1", 2 * MINUTE),
            sample("i2", 3 * MINUTE),
        ]);
        let all = dirty.finished(Resolution::Minute, Timestamp(9 * MINUTE));
        assert_eq!(all.len(), 2, "{all:?}");
        dirty.put_back(&all);
        assert_eq!(
            dirty.finished(Resolution::Minute, Timestamp(9 * MINUTE)),
            all
        );
    }

    #[test]
    fn after_a_start_everything_is_rolled_up_whose_figures_are_all_there() {
        let (mut dirty, now) = (DirtyBuckets::default(), 10_000 * MINUTE);
        dirty.touch_kept(Timestamp(now + 30_000), &InstanceId::trusted("i1"));
        let minutes = spans(&mut dirty, Resolution::Minute, now + 30_000);
        assert_eq!(
            (
                minutes.len(),
                minutes.first().cloned(),
                minutes.last().cloned()
            ),
            (6, Some(one(9942, 9952)), Some(one(9992, 10_000)))
        );
        let tens = spans(&mut dirty, Resolution::TenMinutes, now + 30_000);
        assert_eq!(
            (tens.first().map(|it| it.1), tens.last().map(|it| it.2)),
            (Some(8580), Some(10_000))
        );
        assert!(tens.iter().all(|it| it.2 - it.1 <= MOST_POINTS), "{tens:?}");
    }
}
