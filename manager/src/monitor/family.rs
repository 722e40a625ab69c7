//! Families of a scrape: a name, a help text and rows of labels and values. One without rows is left
//! out.

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};
use std::fmt;

/// Labels of one series.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// No labels.
pub(super) const NONE: Labels<'static, 0> = [];

/// Name (without prefix, unit and `_total`), unit and help text of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head(
    pub(super) &'static str,
    pub(super) Option<&'static str>,
    pub(super) &'static str,
);

/// Writes families into an exposition.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    /// A family of values that rise and fall.
    pub(super) fn gauge<L: EncodeLabelSet>(
        &mut self,
        head: Head,
        rows: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        self.family(head, MetricType::Gauge, rows)
    }

    /// A family of values that only rise, until what they count is made anew.
    pub(super) fn counter<L: EncodeLabelSet>(
        &mut self,
        head: Head,
        rows: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        self.family(head, MetricType::Counter, rows)
    }

    fn family<L: EncodeLabelSet>(
        &mut self,
        Head(name, unit, help): Head,
        kind: MetricType,
        rows: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            let mut series = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => series.encode_counter(&value, NO_EXEMPLAR)?,
                _ => series.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

const NO_EXEMPLAR: Option<&Exemplar<Labels<'static, 0>, f64>> = None;
