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
use micado_api::{ErrorBody, ErrorCode, Progress};
use std::future::ready;

/// The steps of what goes on with a container or an instance: those that were, then those that come, one JSON object per line. Ends after one with `settled`.
#[utoipa::path(get, path = "/v1/progress/{subject}", operation_id = "follow_progress", tag = "progress",
    params(("subject" = String, Path, description = "A container's name or an instance's tag.")),
    responses(
        (status = 200, description = "One step per line.", body = Progress, content_type = "application/x-ndjson"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
pub(super) async fn progress(State(state): State<ApiState>, Name(subject): Name) -> Answer<Response> {
    // Watch first: what happens between the two is seen twice then, and not missed.
    let live = state.handle.watch();
    let wanted = subject.clone();
    let history = state.handle.read(move |core| history(core, &wanted)).await??;
    let body = steps(subject, history, live).take_until(state.stopping.clone().cancelled_owned()).map(|step| {
        let mut line = serde_json::to_vec(&step)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(line))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response())
}

/// What happened so far.
fn history(core: &Core, subject: &str) -> Result<Vec<Progress>, ErrorBody> {
    let told = core.progress(subject);
    let known = || core.containers(true).iter().any(|it| it.name.as_str() == subject) || core.instances(true).iter().any(|it| it.tag.as_str() == subject);
    // Nothing would ever be told of what is not there.
    if told.is_empty() && !known() {
        return Err(ErrorBody::new(ErrorCode::NotFound, format!("no container or instance `{subject}`")).hint("`micado list --all` shows all names"));
    }
    Ok(told)
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
    use micado_api::{Settled, Timestamp};

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
