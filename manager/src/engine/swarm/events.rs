//! Endless stream of the engine's events: it reconnects by itself and reports every gap.

use crate::engine::{
    EngineError, EngineEvent,
    docker::{ask, explain},
};
use bollard::{
    Docker,
    errors::Error,
    models::{EventMessage, EventMessageTypeEnum},
    query_parameters::EventsOptions,
};
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::{self, BoxStream},
};
use std::{collections::HashMap, pin::pin, time::Duration};

type Messages = BoxStream<'static, Result<EventMessage, Error>>;

/// First pause between two attempts to connect; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Node and service events of this engine. An outage is reported once, however many attempts to
/// reconnect follow.
pub(super) fn events(docker: Docker) -> BoxStream<'static, EngineEvent> {
    let watch = Watch {
        docker,
        messages: None,
        pause: Duration::ZERO,
        told: false,
    };
    stream::unfold(watch, |mut watch| async move {
        Some((watch.next().await, watch))
    })
    .boxed()
}

struct Watch {
    docker: Docker,
    /// Present while connected.
    messages: Option<Messages>,
    /// Pause before the next attempt to connect.
    pause: Duration,
    /// True once the present outage was reported.
    told: bool,
}

impl Watch {
    async fn next(&mut self) -> EngineEvent {
        loop {
            let lost = match &mut self.messages {
                Some(messages) => match messages.next().await {
                    Some(Ok(message)) => return changed(message),
                    Some(Err(error)) => explain("hear the engine's events", &error),
                    None => {
                        EngineError::Unavailable("the engine ended its stream of events".to_owned())
                    }
                },
                None => {
                    tokio::time::sleep(self.pause).await;
                    match open(&self.docker).await {
                        Ok(messages) => {
                            (self.messages, self.pause, self.told) =
                                (Some(messages), Duration::ZERO, false);
                            return EngineEvent::Connected;
                        }
                        Err(error) => error,
                    }
                }
            };
            self.messages = None;
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            if !std::mem::replace(&mut self.told, true) {
                return EngineEvent::Lost(lost.to_string());
            }
        }
    }
}

/// Converts an event. One without a subject is treated as a new connection.
fn changed(message: EventMessage) -> EngineEvent {
    let actor = message.actor.unwrap_or_default();
    let name = actor.attributes.and_then(|mut known| known.remove("name"));
    match (message.typ, actor.id, name) {
        (Some(EventMessageTypeEnum::NODE), Some(id), _) => EngineEvent::Node { id },
        (Some(EventMessageTypeEnum::SERVICE), _, Some(name)) => EngineEvent::Service { name },
        _ => EngineEvent::Connected,
    }
}

/// Opens a stream that contains every event from before this returns. The engine answers a request
/// for events before it has subscribed to them, so an answer proves nothing. Therefore events are
/// requested from the engine's own time on, and it replays those it had by then.
async fn open(docker: &Docker) -> Result<Messages, EngineError> {
    let info = ask(|| "ask the engine for its time".to_owned(), docker.info()).await?;
    let options = EventsOptions {
        since: info.system_time.as_deref().and_then(unix_time),
        filters: Some(HashMap::from([(
            "type".to_owned(),
            vec!["node".to_owned(), "service".to_owned()],
        )])),
        until: None,
    };
    let mut messages: Messages = docker.events(Some(options)).boxed();
    // Such a stream sends its request when it is first polled, and is silent until an event.
    // Another call shows that the engine answers.
    let ping = pin!(ask(|| "ping the engine".to_owned(), docker.ping()));
    let first = match select(messages.next(), ping).await {
        Either::Left((first, _)) => Some(first),
        Either::Right((answer, _)) => {
            answer?;
            None
        }
    };
    match first {
        None | Some(Some(Ok(_))) => Ok(messages),
        Some(Some(Err(error))) => Err(explain("hear the engine's events", &error)),
        Some(None) => Err(EngineError::Unavailable(
            "the engine ended its stream of events".to_owned(),
        )),
    }
}

/// Converts a time to `SECONDS.NANOSECONDS`, as the engine wants it.
fn unix_time(text: &str) -> Option<String> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(format!("{}.{:09}", at.as_second(), at.subsec_nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_engine_reads_them() {
        assert_eq!(
            unix_time("1970-01-01T00:00:07.000000042Z").as_deref(),
            Some("7.000000042")
        );
        assert_eq!(
            unix_time("1970-01-01T02:00:07+02:00").as_deref(),
            Some("7.000000000")
        );
        assert_eq!(unix_time("soon"), None);
    }

    #[tokio::test]
    async fn a_loss_is_told_once() {
        let nowhere =
            Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION)
                .expect("an address");
        let mut events = events(nowhere);
        assert!(matches!(events.next().await, Some(EngineEvent::Lost(_))));
        let second = tokio::time::timeout(Duration::from_millis(500), events.next()).await;
        assert!(second.is_err(), "{second:?}");
    }
}
