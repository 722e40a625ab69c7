//! Facts of a core whose store accepts every commit.

use super::*;
use crate::{
    api::tests::{core, launched},
    clock,
    control::{Action, Answer, CallKey, Event},
    metrics::tests::happening,
};
use micado_api::agent::ContainerHappening::Started;
use micado_cloudsetup::BrokerError;

impl Known {
    /// Facts with these present placements.
    pub(crate) fn of(placed: impl IntoIterator<Item = Placed>) -> Self {
        let mut known = Self::default();
        for placed in placed {
            known.place(Timestamp(0), &placed.container.clone(), vec![placed]);
        }
        known
    }
    /// Number of placements.
    pub(crate) fn len(&self) -> usize {
        self.placements.len()
    }
}

/// The changes to commit among these actions.
fn changes(actions: Vec<Action>) -> Vec<Change> {
    let changes = actions.into_iter().filter_map(|action| match action {
        Action::Commit(changes) => Some(changes),
        _ => None,
    });
    changes.flatten().collect()
}

#[test]
fn a_commit_changes_what_it_is_about() {
    let (facts, (mut core, actions)) = (Facts::default(), launched());
    let placed = core.placed_copies().remove(0);
    assert!(facts.read().placed(&placed.swarm_service).is_none());
    facts.publish(clock::now(), &core, &changes(actions));
    let life = facts.read().life(&placed.instance).expect("it is live");
    assert_eq!(
        facts
            .read()
            .placed(&placed.swarm_service)
            .map(|known| Placed::clone(known)),
        Some(placed.clone())
    );
    let known = facts.read();
    assert_eq!(
        *known.services_of(&placed.container),
        [placed.swarm_service.as_str()]
    );
    drop(known);

    let refused = Answer::Launched(Err(BrokerError::Refused("quota".to_owned())));
    let event = Event::Answered(CallKey::Machine(placed.instance.clone()), refused);
    let actions = core.handle(clock::now(), event);
    assert!(!life.is_cancelled(), "nothing is durable yet");
    facts.publish(clock::now(), &core, &changes(actions));
    assert!(life.is_cancelled() && !facts.read().is_live(&placed.instance));
    assert!(
        facts.read().placed(&placed.swarm_service).is_some(),
        "its last metrics may still arrive"
    );
}

#[tokio::test]
async fn a_new_core_replaces_the_facts_and_its_predecessors_placements_have_ended() {
    let (facts, (before, _)) = (Facts::default(), launched());
    let placed = before.placed_copies().remove(0);
    facts.replace(Timestamp(0), &before);
    facts.begun().await;
    let life = facts.read().life(&placed.instance).expect("it is live");
    facts.replace(Timestamp(1), &before);
    assert!(!life.is_cancelled(), "it is the same machine");
    facts.replace(Timestamp(2), &core());
    let known = facts.read();
    assert!(life.is_cancelled() && !known.is_live(&placed.instance));
    assert!(known.placed(&placed.swarm_service).is_some());
    assert_eq!(known.ended.len(), 1);
}

#[test]
fn an_ended_placement_is_kept_for_a_while_and_may_come_back() {
    let kept = u64::try_from(KEPT.as_millis()).expect("minutes");
    let placed = happening("i1", "web", 1, Started).placed;
    let (container, service) = (placed.container.clone(), placed.swarm_service.clone());
    let mut known = Known::of([placed.clone()]);
    known.place(Timestamp(1), &container, vec![]);
    known.place(Timestamp(2), &container, vec![]);
    known.prune(Timestamp(1 + kept));
    assert!(known.placed(&service).is_some());
    known.place(Timestamp(3), &container, vec![placed]);
    known.prune(Timestamp(2 + kept));
    assert!(known.placed(&service).is_some(), "it is present again");
    known.place(Timestamp(4), &container, vec![]);
    known.prune(Timestamp(5 + kept));
    assert!(known.placed(&service).is_none());
    assert!(known.of.is_empty() && known.ended.is_empty());
}
