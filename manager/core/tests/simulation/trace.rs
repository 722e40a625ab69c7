//! Trace of a world, one short line per event: kept only when a seed is replayed.

use crate::clock::BEGINNING;
use micado_core::{
    control::{Action, Answer, Call, CallKey, Event, Request},
    engine::Observation,
    model::Container,
    store::{Change, Record},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// The lines of one world.
#[derive(Default)]
pub struct Trace {
    /// `None` without a reader: nothing is recorded.
    lines: Option<Vec<String>>,
    /// The last observation, so that only changes are shown.
    seen: BTreeMap<String, String>,
}

impl Trace {
    pub fn kept() -> Self {
        Self {
            lines: Some(Vec::new()),
            seen: BTreeMap::new(),
        }
    }
    pub fn line(&mut self, now: u64, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let ms = now - BEGINNING;
            lines.push(format!("{:>6}.{:03} {}", ms / 1000, ms % 1000, text()));
        }
    }
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
    /// Records an event for the core.
    pub fn told(&mut self, now: u64, event: &Event) {
        if self.lines.is_none() {
            return;
        }
        let text = match event {
            Event::Tick => "tick".to_owned(),
            Event::Wake => "wake".to_owned(),
            Event::Observed(seen) => format!("seen {}", self.news(seen)),
            Event::Changed(seen) => format!("part seen {seen:?}"),
            Event::Blind(words) => format!("blind: {words}"),
            Event::Request(ticket, request) => {
                format!("asked #{ticket} {}", self::request(request))
            }
            Event::Happened(instance, event) => format!("happened on {instance}: {event:?}"),
            Event::Agent {
                instance,
                connected,
            } => format!(
                "agent of {instance} {}",
                if *connected { "connected" } else { "gone" }
            ),
            Event::Health(instance, reports) => format!("health on {instance}: {reports:?}"),
            Event::Signal(signal) => format!("signal: {signal:?}"),
            Event::Load(loads) => format!("load: {loads:?}"),
            Event::Machines(loads) => format!("machines: {loads:?}"),
            Event::Profile(service, _) => format!("past of {service}"),
            Event::LastWords(container, log) => format!("last words of {container}: {log}"),
            Event::Answered(key, answer) => {
                format!("answer {} {}", self::key(key), self::answer(answer))
            }
        };
        self.line(now, || text);
    }

    /// Changes since the last observation: nodes (`!` down, `=` closed) and services with their
    /// present task (`x` not wanted any more).
    fn news(&mut self, seen: &Observation) -> String {
        let mut now = BTreeMap::new();
        for node in &seen.nodes {
            let name = node
                .instance
                .as_ref()
                .map_or(node.hostname.as_str(), |it| it.as_str());
            let state = format!(
                "{}{}",
                if node.ready { "+" } else { "!" },
                if node.active { "" } else { "=" }
            );
            now.insert(format!("{}/{name}", node.id), state);
        }
        for service in &seen.services {
            let task = seen
                .tasks
                .iter()
                .filter(|it| it.service == service.id)
                .max_by_key(|it| it.version);
            let state = task.map_or_else(
                || "-".to_owned(),
                |it| format!("{:?}{}", it.state, if it.wanted { "" } else { "x" }),
            );
            now.insert(
                format!(
                    "{}@{}/{}",
                    service.container, service.instance, service.generation
                ),
                state,
            );
        }
        let mut text = String::new();
        for (name, state) in now
            .iter()
            .filter(|(name, state)| self.seen.get(*name) != Some(state))
        {
            let _ = write!(text, "{name}:{state} ");
        }
        for name in self.seen.keys().filter(|name| !now.contains_key(*name)) {
            let _ = write!(text, "-{name} ");
        }
        self.seen = now;
        if text.is_empty() {
            "nothing new".to_owned()
        } else {
            text
        }
    }
}

fn key(key: &CallKey) -> String {
    match key {
        CallKey::Machine(it) => it.to_string(),
        CallKey::List(it) => format!("list {it}"),
        CallKey::Service(it) | CallKey::Node(it) => it.clone(),
        other => format!("{other:?}"),
    }
}

fn request(request: &Request) -> String {
    match request {
        Request::Launch(launch, _) => {
            format!(
                "launch {}_{} {} at {} as {:?}",
                launch.spec.client,
                launch.spec.image,
                launch.spec.reservation.memory,
                launch.spec.location,
                launch.request
            )
        }
        Request::Start(start) => format!(
            "start {} {} {} on {}",
            start.tag, start.location, start.flavour, start.cloud
        ),
        other => format!("{other:?}"),
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Launched(Ok(machine)) => format!("{} {:?}", machine.id, machine.state),
        Answer::Listed(Ok(machines)) => machines
            .iter()
            .map(|it| format!("{} {:?}, ", it.instance, it.state))
            .collect(),
        Answer::Log(Ok(_)) => "log".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Formats an action of the core.
pub fn action(action: &Action) -> String {
    match action {
        Action::Commit(changes) => format!(
            "  commit {}",
            changes.iter().map(change).collect::<Vec<_>>().join(", ")
        ),
        Action::Call(key, call) => format!(
            "  call {}",
            self::call(call).unwrap_or_else(|| format!("{key:?}"))
        ),
        Action::Reply(ticket, Ok(_)) => format!("  reply #{ticket} ok"),
        Action::Reply(ticket, Err(error)) => {
            format!("  reply #{ticket} {:?}: {}", error.code, error.message)
        }
        Action::Progress(progress) => format!(
            "  progress {}: {} {:?}",
            progress.subject, progress.text, progress.settled
        ),
    }
}

fn call(call: &Call) -> Option<String> {
    Some(match call {
        Call::LaunchMachine {
            cloud,
            instance,
            flavour,
            ..
        } => format!("launch {instance} {flavour} on {cloud}"),
        Call::TerminateMachine { cloud, instance } => format!("terminate {instance} on {cloud}"),
        Call::CreateService {
            container, copy, ..
        } => format!(
            "create {}@{}/{}",
            container.name, copy.instance, copy.generation
        ),
        Call::RemoveService { name, .. } => format!("remove {name}"),
        Call::RemoveNode { node } => format!("remove node {node}"),
        Call::SetActive { node, active } => {
            format!("{} {node}", if *active { "open" } else { "pause" })
        }
        _ => return None,
    })
}

fn change(change: &Change) -> String {
    match &change.record {
        None => format!("-{:?}", change.key),
        Some(Record::Instance(it)) => {
            let words = it
                .reason
                .as_deref()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
            format!(
                "{} {:?}{}{words}",
                it.id,
                it.state,
                if it.released { " released" } else { "" }
            )
        }
        Some(Record::Container(it)) => container(it),
        Some(Record::Service(it)) => format!(
            "service {} {}",
            it.name,
            if it.pull.is_some() {
                "pushed"
            } else {
                "unpushed"
            }
        ),
        Some(Record::Image(it)) => format!("image {}", it.name),
        Some(Record::Decision(it)) => format!("decision `{}`", it.text),
        Some(other) => format!("{other:?}"),
    }
}

fn container(it: &Container) -> String {
    let mut text = format!("{} {:?}", it.name, it.desired);
    for copy in &it.copies {
        let (instance, generation) = (&copy.instance, copy.generation);
        let _ = write!(text, " @{instance}/{generation} {:?}", copy.phase);
        if let Some(end) = &copy.last_end {
            let _ = write!(text, " died {} oom={}", end.exit_code, end.oom);
        }
    }
    if let Some(outcome) = &it.outcome {
        let _ = write!(text, " ended {}", outcome.exit_code);
    }
    if let Some(reason) = &it.reason {
        let _ = write!(text, " ({reason})");
    }
    text
}
