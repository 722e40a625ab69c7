//! Machines that have run out of memory or disk space, as their agents measure it: they take nothing
//! new until some is left.

use super::Core;
use crate::planner::Exhausted;
use micado_api::InstanceId;
use std::collections::BTreeMap;

impl Core {
    /// Notes which machines have run out of something.
    pub(super) fn note_exhausted(&mut self, reported: BTreeMap<InstanceId, Exhausted>) {
        let before = std::mem::replace(&mut self.exhausted, reported);
        if before == self.exhausted {
            return;
        }
        let now = self.exhausted.clone();
        for (id, what) in &before {
            if now.get(id) != Some(what) {
                self.tell_of_exhausted(id, &format!("it has {what} again"));
            }
        }
        for (id, what) in &now {
            if before.get(id) != Some(what) {
                let text = format!("it has no {what} left: it takes no other containers");
                self.tell_of_exhausted(id, &text);
            }
        }
        self.ledger.dirty.plan = true;
    }

    fn tell_of_exhausted(&mut self, id: &InstanceId, text: &str) {
        if self.ledger.instance(id).is_some() {
            self.decide(None, Some(id), text.to_owned());
            self.ledger.dirty.instances.insert(id.clone());
        }
    }

    /// Names for people the thing that a machine has run out of.
    pub(super) fn exhausted_text(&self, id: &InstanceId) -> Option<String> {
        let what = self.exhausted.get(id)?;
        Some(format!("it has no {what} left"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{
        Event, MachineLoads,
        tests::{Bench, spec},
    };

    #[test]
    fn a_machine_without_disk_space_takes_nothing_new_until_it_has_some() {
        let mut bench = Bench::new(|_| ());
        bench.launch(spec("a", 64), None).expect("it is rented");
        bench.machine_comes();
        bench.settle();
        let id = bench.core.instances(false)[0].id.clone();
        let full = MachineLoads {
            exhausted: BTreeMap::from([(id, Exhausted::Disk)]),
            ..MachineLoads::default()
        };
        bench.event(Event::Machines(full.clone()));
        bench.event(Event::Machines(full));
        let view = bench.core.instances(false).remove(0);
        assert_eq!(view.reason.as_deref(), Some("it has no disk space left"));
        bench
            .launch(spec("b", 64), None)
            .expect("another is rented");
        assert_eq!(bench.core.instances(false).len(), 2);
        bench.event(Event::Machines(MachineLoads::default()));
        assert_eq!(bench.core.instances(false)[0].reason, None);
        let said = bench.core.explain("application01").expect("it is known");
        let texts = said[0].decisions.iter().map(|it| it.text.as_str());
        let texts: Vec<&str> = texts.filter(|it| it.contains("disk")).collect();
        let expected = [
            "it has no disk space left: it takes no other containers",
            "it has disk space again",
        ];
        assert_eq!(texts.len(), 2, "once each: {texts:?}");
        assert!(
            expected.iter().all(|text| texts.contains(text)),
            "{texts:?}"
        );
    }
}
