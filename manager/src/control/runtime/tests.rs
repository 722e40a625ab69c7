//! The order in which actions take effect.

use super::*;
use crate::api::tests::{effects, launched};
use std::sync::Mutex;
use tokio::sync::Notify;

/// Accepts the first commit, and the second once it may go on.
#[derive(Debug)]
struct Slow {
    facts: Facts,
    /// Number of placements that were published when each commit began.
    published: Mutex<Vec<usize>>,
    goes_on: Arc<Notify>,
}

#[async_trait::async_trait]
impl Store for Slow {
    async fn load(&self) -> Result<Contents, StoreError> {
        Ok(Contents::new())
    }
    async fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
        let is_second = {
            let published = self.facts.read().len();
            let mut commits = self.published.lock().expect("nobody panicked");
            commits.push(published);
            commits.len() == 2
        };
        if is_second {
            self.goes_on.notified().await;
            return Err(StoreError::Failed("it does not answer".to_owned()));
        }
        Ok(())
    }
}

#[tokio::test]
async fn facts_are_published_after_their_commit_and_before_what_follows_it() {
    let (core, actions) = launched();
    let placed = core.placed_copies().remove(0);
    let state = tempfile::tempdir().expect("a folder");
    let config = core.config().clone();
    let (handle, inbox, progress) = Handle::new();
    let (facts, goes_on) = (handle.facts().clone(), Arc::new(Notify::new()));
    let store = Arc::new(Slow {
        facts: facts.clone(),
        published: Mutex::default(),
        goes_on: goes_on.clone(),
    });
    let (mut runtime, _) = Runtime::new(config, store.clone(), effects(state.path()));
    (runtime.inbox, runtime.progress, runtime.facts) = (inbox, progress, facts.clone());
    let (answer, answered) = oneshot::channel();
    runtime.waiting.insert(7, answer);
    let (sender, _events) = mpsc::unbounded_channel();
    let (watcher, _seen) = Watcher::start(runtime.effects.engine.clone());

    let mut commits = actions.into_iter();
    let commit = commits.find(|action| matches!(action, Action::Commit(_)));
    let actions = vec![
        commit.expect("the launch is recorded"),
        Action::Reply(7, Ok(Reply::Recorded)),
        Action::Commit(Vec::new()),
    ];
    let follows = async {
        drop(answered.await);
        assert!(facts.read().placed(&placed.swarm_service).is_some());
        assert!(facts.read().is_live(&placed.instance));
        goes_on.notify_one();
    };
    let (done, ()) = tokio::join!(
        runtime.carry_out(&core, actions, &sender, &watcher),
        follows
    );
    done.expect_err("the second commit fails");
    let published = store.published.lock().expect("nobody panicked").clone();
    assert_eq!(published, [0, 1], "nothing before it is durable");
}
