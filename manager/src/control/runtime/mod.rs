//! The loop around the core: feeds events in and executes actions in order. It decides nothing.

mod calls;
pub mod fault;
mod last_words;
mod outage;
mod watcher;

pub use calls::{Effects, JoinConfig};

use super::{
    Action, Call, CallKey, Config, Core, Event, Facts, Handle, Input, Read, Reply, StaleSubjects,
    Ticket,
};
use crate::{
    clock,
    monitor::{CallLabels, Counters},
    store::{Change, Contents, Store, StoreError},
};
use micado_api::{ErrorBody, Progress};
use std::{collections::HashMap, sync::Arc, time::Instant};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use watcher::Watcher;

/// An event, and the life of the core that it is for. Answers to calls of a dropped core are
/// dropped too, as in a crash.
type Incoming = (u64, Event);

/// Upper bound for events in one reconcile pass.
const BATCH: usize = 1024;

/// Upper bound for concurrent calls to the engine about Swarm services. Not measured yet.
const ENGINE_CALLS: usize = 16;

#[derive(Debug)]
pub struct Runtime {
    config: Config,
    store: Arc<dyn Store>,
    effects: Arc<Effects>,
    inbox: mpsc::Receiver<Input>,
    progress: broadcast::Sender<Progress>,
    facts: Facts,
    stale: StaleSubjects,
    counters: Arc<Counters>,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Reply, ErrorBody>>>,
    engine_calls: Arc<Semaphore>,
    /// Bound for logs that are followed while their copies end.
    followed: Arc<Semaphore>,
    /// Number of the present core: rises each time one is made.
    life: u64,
}

/// Ticks a job.
#[derive(Debug, Clone)]
pub struct Ticker(mpsc::Sender<()>);

impl Ticker {
    /// Ticks once. A tick is dropped if the previous one has not been handled.
    pub fn tick(&self) {
        let _ = self.0.try_send(());
    }
}

impl Runtime {
    /// A loop on these parts, and a handle to it.
    #[must_use]
    pub fn new(config: Config, store: Arc<dyn Store>, effects: Effects) -> (Self, Handle) {
        let (handle, inbox, progress) = Handle::new();
        (
            Self {
                config,
                store,
                effects: Arc::new(effects),
                inbox,
                progress,
                facts: handle.facts().clone(),
                stale: handle.stale().clone(),
                counters: handle.counters().clone(),
                waiting: HashMap::new(),
                engine_calls: Arc::new(Semaphore::new(ENGINE_CALLS)),
                followed: Arc::new(Semaphore::new(last_words::FOLLOWED)),
                life: 0,
            },
            handle,
        )
    }

    /// Runs until `stop` is true. `ticks` are the ticks of the safety net: see [`ticker`].
    ///
    /// # Errors
    /// If the store cannot be loaded at the start, or later turns out to be another manager's or of
    /// another schema. A store that does not answer is retried.
    pub async fn run(
        mut self,
        mut ticks: mpsc::Receiver<()>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        let (sender, mut events) = mpsc::unbounded_channel::<Incoming>();
        let (watcher, mut seen) = Watcher::start(self.effects.engine.clone());
        let store = self.store.clone();
        let mut core = self.new_core(store.load().await?, &sender);
        watcher.look(0, None);
        loop {
            let wake = core.wake_at().map(|at| at.since(clock::now()));
            let first = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                Some(event) = seen.recv() => Ok(event),
                Some((life, event)) = events.recv() => if life == self.life { Ok(event) } else { continue },
                () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => Ok(Event::Wake),
                Some(()) = ticks.recv() => { watcher.tick(); Ok(Event::Tick) }
                Some(input) = self.inbox.recv() => match self.event(input) {
                    Ok(event) => Ok(event),
                    Err(read) => { read(Ok(&core)); continue }
                },
                error = store.lost() => Err(error),
            };
            let mut done = match first {
                Ok(first) => {
                    let (batch, read) = self.batch(first, &mut events);
                    let actions = self.pass(&mut core, batch);
                    let done = self.carry_out(&core, actions, &sender, &watcher).await;
                    if let (Ok(()), Some(read)) = (&done, read) {
                        read(Ok(&core));
                    }
                    done
                }
                Err(error) => Err(error),
            };
            while let Err(error) = done {
                let Some((contents, agents)) = self.outage(error, &mut seen, &mut stop).await?
                else {
                    return Ok(());
                };
                let mut known = outage::Agents::of(&core);
                known.extend(agents);
                core = self.new_core(contents, &sender);
                watcher.look(0, None);
                // Before any other input: meanwhile an agent may have reconnected.
                let told = core.handle_all(clock::now(), known.events());
                done = self.carry_out(&core, told, &sender, &watcher).await;
            }
            self.stale.add(core.take_stale());
            if let Some(services) = core.polls() {
                watcher.poll(services);
            }
            if let Some(services) = core.unreported() {
                watcher.poll_slowly(services);
            }
        }
    }

    /// Lets the core handle these events.
    fn pass(&self, core: &mut Core, batch: Vec<Event>) -> Vec<Action> {
        batch.iter().for_each(|event| self.counters.event(event));
        let begun = Instant::now();
        let actions = core.handle_all(clock::now(), batch);
        self.counters.pass(begun.elapsed());
        actions
    }

    /// Collects all waiting events, up to the first read: they share one reconcile pass and one
    /// commit.
    fn batch(
        &mut self,
        first: Event,
        events: &mut mpsc::UnboundedReceiver<Incoming>,
    ) -> (Vec<Event>, Option<Read>) {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok((life, event)) = events.try_recv()
        {
            batch.extend((life == self.life).then_some(event));
        }
        while batch.len() < BATCH
            && let Ok(input) = self.inbox.try_recv()
        {
            match self.event(input) {
                Ok(event) => batch.push(event),
                Err(read) => return (batch, Some(read)),
            }
        }
        (batch, None)
    }

    /// Converts an input into an event; a read is returned as the error.
    fn event(&mut self, input: Input) -> Result<Event, Read> {
        match input {
            Input::Request(ticket, request, answer) => {
                self.waiting.insert(ticket, answer);
                Ok(Event::Request(ticket, *request))
            }
            Input::Tell(event) => Ok(*event),
            Input::Read(read) => Err(read),
        }
    }

    /// Makes a core from the content of the store, and publishes that. Requests the list of every
    /// cloud.
    fn new_core(&mut self, contents: Contents, sender: &mpsc::UnboundedSender<Incoming>) -> Core {
        self.life += 1;
        drop(sender.send((self.life, Event::Tick)));
        let core = Core::new(self.config.clone(), contents, rand::random());
        self.facts.replace(clock::now(), &core);
        self.counters.store_is(true);
        core
    }

    /// Waits until the store answers, and returns its content and the agents that connected or
    /// disconnected meanwhile; `None` if the manager is stopped first. Nothing is decided
    /// meanwhile, and requests are refused with the reason.
    async fn outage(
        &mut self,
        error: StoreError,
        seen: &mut mpsc::Receiver<Event>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<(Contents, outage::Agents)>, StoreError> {
        tracing::error!(%error, "starting over from the store");
        self.counters.store_is(false);
        for (_, answer) in self.waiting.drain() {
            drop(answer.send(Err(outage::unsure(&error))));
        }
        outage::load_again(
            &*self.store,
            error,
            outage::PAUSE,
            &mut self.inbox,
            seen,
            stop,
        )
        .await
    }

    /// Executes actions of the core. A commit is published before anything that follows it, so
    /// that no Swarm service exists before its placement is known. Callers are answered next:
    /// there may be thousands of calls.
    async fn carry_out(
        &mut self,
        core: &Core,
        mut actions: Vec<Action>,
        sender: &mpsc::UnboundedSender<Incoming>,
        watcher: &Watcher,
    ) -> Result<(), StoreError> {
        let is_reply = |action: &mut Action| matches!(action, Action::Reply(..));
        let replies: Vec<Action> = actions.extract_if(.., is_reply).collect();
        let mut actions = actions.into_iter().peekable();
        let commit = actions.next_if(|action| matches!(action, Action::Commit(_)));
        // Freed last: callers wait for the rest.
        let mut committed = Vec::new();
        for action in commit.into_iter().chain(replies).chain(actions) {
            match action {
                Action::Commit(changes) => {
                    self.commit(&changes).await?;
                    self.facts.publish(clock::now(), core, &changes);
                    committed.push(changes);
                }
                Action::Call(_, Call::Observe { number, services }) => {
                    watcher.look(number, services);
                }
                Action::Call(key, call) => self.call(key, call, sender.clone()),
                Action::Reply(ticket, reply) => drop(
                    self.waiting
                        .remove(&ticket)
                        .map(|answer| answer.send(reply)),
                ),
                Action::Progress(progress) => {
                    tracing::info!(subject = %progress.subject, "{}", progress.text);
                    drop(self.progress.send(progress));
                }
            }
        }
        Ok(())
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        fault::point("before-commit");
        let begun = Instant::now();
        let committed = self.store.commit(changes).await;
        self.counters.commit(begun.elapsed(), committed.is_ok());
        committed?;
        fault::point("after-commit");
        Ok(())
    }

    fn call(&self, key: CallKey, call: Call, sender: mpsc::UnboundedSender<Incoming>) {
        let (effects, life) = (self.effects.clone(), self.life);
        let (followed, counters) = (self.followed.clone(), self.counters.clone());
        let turns = match call {
            Call::CreateService { .. } | Call::RemoveService { .. } => {
                Some(self.engine_calls.clone())
            }
            _ => None,
        };
        tokio::spawn(async move {
            let _turn = match &turns {
                Some(turns) => turns.acquire().await.ok(),
                None => None,
            };
            let kind = call.kind();
            fault::point(&format!("before-{kind}"));
            if let Call::RemoveService {
                name,
                log_of: Some(container),
                grace,
            } = &call
            {
                let (container, tell) = (container.clone(), sender.clone());
                let tell = move |log| drop(tell.send((life, Event::LastWords(container, log))));
                let engine = effects.engine.clone();
                last_words::follow(engine, followed, name.clone(), *grace, tell).await;
            }
            let (labels, begun) = (CallLabels::from(&call), Instant::now());
            let answer = effects.perform(call).await;
            counters.call(&labels, begun.elapsed(), &answer);
            fault::point(&format!("after-{kind}"));
            drop(sender.send((life, Event::Answered(key, answer))));
        });
    }
}

/// Makes a ticker and its receiver.
#[must_use]
pub fn ticker() -> (Ticker, mpsc::Receiver<()>) {
    let (sender, receiver) = mpsc::channel(1);
    (Ticker(sender), receiver)
}

#[cfg(test)]
mod tests;
