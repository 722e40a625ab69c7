//! What goes on with a container or an instance, as a stream that ends when it has come to rest.

use super::{ApiState, extract::Name, refusal::Answer};
use crate::control::Core;
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use micado_api::{ContainerState, ErrorBody, ErrorCode, InstanceState, Progress, Settled, Timestamp};
use std::future::ready;

/// The steps of what goes on with a container or an instance: those that were, then those that come, one JSON object per line. Ends after one with `settled`.
#[utoipa::path(get, path = "/v1/progress/{subject}", tag = "progress",
    params(("subject" = String, Path, description = "A container's name or an instance's tag.")),
    responses(
        (status = 200, description = "One step per line.", body = Progress, content_type = "application/x-ndjson"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
pub(super) async fn progress(State(state): State<ApiState>, Name(subject): Name) -> Answer<Response> {
    // Watch first: what happens between the two is seen twice then, and not missed.
    let live = state.handle.watch();
    let now = crate::clock::now();
    let wanted = subject.clone();
    let history = state.handle.read(move |core| history(core, &wanted, now)).await??;
    let body = steps(subject, history, live).take_until(state.stopping.clone().cancelled_owned()).map(|step| {
        let mut line = serde_json::to_vec(&step)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response())
}

/// What happened so far. When the core has nothing to tell (a new manager on an old cluster), at least whether the subject rests.
fn history(core: &Core, subject: &str, now: Timestamp) -> Result<Vec<Progress>, ErrorBody> {
    let told = core.progress(subject);
    if !told.is_empty() {
        return Ok(told);
    }
    let container = core.containers(true).into_iter().find(|it| it.name.as_str() == subject);
    let instance = core.instances(true).into_iter().rfind(|it| it.tag.as_str() == subject);
    let (settled, text) = match (container, instance) {
        (Some(it), _) => (container_at_rest(it.state), it.reason.unwrap_or_else(|| it.state.to_string())),
        (None, Some(it)) => (instance_at_rest(it.state), it.reason.unwrap_or_else(|| it.state.to_string())),
        (None, None) => return Err(ErrorBody::new(ErrorCode::NotFound, format!("no container or instance `{subject}`"))),
    };
    Ok(settled.map(|settled| Progress { subject: subject.to_owned(), at: now, text, settled: Some(settled) }).into_iter().collect())
}

fn container_at_rest(state: ContainerState) -> Option<Settled> {
    use ContainerState::{Completed, Failing, Removed, Running, Starting, Stopped, Stopping, Unknown, Waiting};
    match state {
        Running | Stopped | Completed | Removed => Some(Settled::Done),
        Failing => Some(Settled::Failed),
        Waiting | Starting | Stopping | Unknown => None,
    }
}

fn instance_at_rest(state: InstanceState) -> Option<Settled> {
    use InstanceState::{Active, Booting, Draining, Failed, Gone, Joined, Requested, Stopping, Submitted};
    match state {
        Joined | Active | Gone => Some(Settled::Done),
        Failed => Some(Settled::Failed),
        Requested | Submitted | Booting | Draining | Stopping => None,
    }
}

/// History, then what is new of this subject, up to the step that settles it.
fn steps(subject: String, history: Vec<Progress>, live: impl Stream<Item = Progress> + Send) -> impl Stream<Item = Progress> + Send {
    let told = history.clone();
    let fresh = live.filter(move |step| ready(step.subject == subject && !told.contains(step)));
    let all = Box::pin(stream::iter(history).chain(fresh));
    stream::unfold(Some(all), |all| async {
        let mut all = all?;
        let step = all.next().await?;
        let rest = step.settled.is_none().then_some(all);
        Some((step, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: u64, text: &str, settled: Option<Settled>) -> Progress {
        Progress { subject: "acme_web.1".to_owned(), at: Timestamp(at), text: text.to_owned(), settled }
    }

    #[tokio::test]
    async fn nothing_is_told_twice_and_the_settled_step_is_the_last() {
        let history = vec![step(1, "waiting", None), step(2, "renting small on local", None)];
        let other = Progress { subject: "acme_web.2".to_owned(), ..step(3, "running", Some(Settled::Done)) };
        let live = [step(2, "renting small on local", None), other, step(4, "running", Some(Settled::Done)), step(5, "stopped", None)];
        // The live end never ends by itself, as in life.
        let live = stream::iter(live).chain(stream::pending());
        let told: Vec<_> = steps("acme_web.1".to_owned(), history, live).map(|step| step.text).collect().await;
        assert_eq!(told, ["waiting", "renting small on local", "running"]);
    }

    #[tokio::test]
    async fn a_settled_history_is_all_there_is() {
        let told: Vec<_> = steps("acme_web.1".to_owned(), vec![step(1, "running", Some(Settled::Done))], stream::pending()).collect().await;
        assert_eq!(told.len(), 1);
    }
}
