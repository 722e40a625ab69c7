//! Owners of state that need not survive a crash: each pass keeps its own notes, forgets some when
//! the engine cannot be observed, and prunes them. A new core relearns all of it.

use super::{
    Core, calls::Calls, copies::Copies, foreign::Foreign, happened::Reports, images::Learning,
    ledger::Ledger, nodes::Nodes, observed::Observed, orders::Orders, rebalancing::Rebalancing,
    replacing::Replacing, returns::Returns, runs::Runs, scaling::Scaling, silent::Silent,
    tally::Tallies,
};
use micado_api::Timestamp;

/// The records and the engine, by which notes are pruned.
pub(super) struct Known<'a> {
    pub(super) now: Timestamp,
    pub(super) ledger: &'a Ledger,
    pub(super) observed: &'a Observed,
}

/// Notes of one pass.
pub(super) trait Owner {
    /// Drops notes that a gap in the observation of the engine invalidates.
    fn lost_sight(&mut self) {}
    /// Drops notes of removed subjects: a manager runs for years.
    fn prune(&mut self, _known: &Known<'_>) {}
}

impl Core {
    /// Every owner of notes. A new one is added here.
    fn owners(&mut self) -> [&mut dyn Owner; 16] {
        let (calls, orders): (&mut Calls, &mut Orders) = (&mut self.calls, &mut self.orders);
        let (nodes, copies): (&mut Nodes, &mut Copies) = (&mut self.nodes, &mut self.copies);
        let (reports, silent): (&mut Reports, &mut Silent) = (&mut self.reports, &mut self.silent);
        let (foreign, learning): (&mut Foreign, &mut Learning) =
            (&mut self.foreign, &mut self.learning);
        let (scaling, tallies): (&mut Scaling, &mut Tallies) =
            (&mut self.scaling, &mut self.tallies);
        let (returns, replacing): (&mut Returns, &mut Replacing) =
            (&mut self.returns, &mut self.replacing);
        let (rebalancing, runs): (&mut Rebalancing, &mut Runs) =
            (&mut self.rebalancing, &mut self.runs);
        [
            calls,
            orders,
            nodes,
            copies,
            reports,
            silent,
            foreign,
            learning,
            scaling,
            tallies,
            returns,
            replacing,
            rebalancing,
            runs,
            &mut self.panicking,
            &mut self.ports,
        ]
    }

    pub(super) fn forget_what_was_seen(&mut self) {
        self.owners().into_iter().for_each(Owner::lost_sight);
    }

    /// Bounds the notes by the number of records.
    pub(super) fn prune_notes(&mut self) {
        let Some(observed) = self.observed.take() else {
            return;
        };
        let ledger = std::mem::take(&mut self.ledger);
        let known = Known {
            now: self.now,
            ledger: &ledger,
            observed: &observed,
        };
        self.owners()
            .into_iter()
            .for_each(|owner| owner.prune(&known));
        self.clouds
            .values_mut()
            .for_each(|cloud| cloud.forget(|id| ledger.instance(id).is_none()));
        self.journal.forget(&ledger);
        (self.ledger, self.observed) = (ledger, Some(observed));
    }
}
