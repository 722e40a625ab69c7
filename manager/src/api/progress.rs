//! Progress of a container or an instance, as a stream that ends when it is settled.

use super::{ApiState, Routes, extract::Name, lines::lines, refusal::Answer};
use crate::control::{Core, Missed};
use axum::{extract::State, response::Response};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use micado_api::{ErrorBody, ErrorCode, Progress};
use std::future::ready;
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(progress))
}

/// The steps of what goes on with a container or an instance: those that were, then those that
/// come, one JSON object per line. Ends after one with `settled`.
#[utoipa::path(get, path = "/v1/progress/{subject}", operation_id = "follow_progress", tag = "progress",
    params(("subject" = String, Path, description = "A container's name or an instance's tag.")),
    responses(
        (status = 200, description = "One step per line.", body = Progress, content_type = "application/x-ndjson"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn progress(State(state): State<ApiState>, Name(subject): Name) -> Answer<Response> {
    // Subscribe first: a step between the two calls is then seen twice, not missed.
    let live = state.handle.watch();
    let wanted = subject.clone();
    let told = state
        .handle
        .read(move |core| history(core, &wanted))
        .await??;
    let (handle, wanted) = (state.handle.clone(), subject.clone());
    let again = move || {
        let (handle, wanted) = (handle.clone(), wanted.clone());
        async move {
            handle
                .read(move |core| history(core, &wanted))
                .await
                .ok()?
                .ok()
        }
    };
    let body =
        steps(subject, told, live, again).take_until(state.stopping.clone().cancelled_owned());
    Ok(lines(body))
}

/// Steps so far.
fn history(core: &Core, subject: &str) -> Result<Vec<Progress>, ErrorBody> {
    let told = core.progress(subject);
    // An unknown subject would never have a step.
    if told.is_empty() && !core.knows(subject) {
        return Err(ErrorBody::new(
            ErrorCode::NotFound,
            format!("no container or instance `{subject}`"),
        )
        .hint("`micado list --all` shows all names"));
    }
    Ok(told)
}

/// Past steps, then new ones of this subject, up to the step that settles it. Missed steps are read
/// `again`; if that fails, the stream ends.
fn steps<F: Future<Output = Option<Vec<Progress>>> + Send>(
    subject: String,
    history: Vec<Progress>,
    live: impl Stream<Item = Result<Progress, Missed>> + Send,
    again: impl Fn() -> F + Send,
) -> impl Stream<Item = Progress> + Send {
    let mut told = history.clone();
    let live = live.then(move |step| match step {
        Ok(step) => ready(Some(vec![step])).left_future(),
        Err(Missed) => again().right_future(),
    });
    let fresh = live
        .scan((), |(), steps| ready(steps))
        .flat_map(stream::iter)
        .filter(move |step| {
            let fresh = step.subject == subject && !told.contains(step);
            if fresh {
                told.push(step.clone());
            }
            ready(fresh)
        });
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
        Progress {
            subject: "acme_web.1".to_owned(),
            at: Timestamp(at),
            text: text.to_owned(),
            settled,
        }
    }

    /// Texts of a stream's steps to its end.
    async fn told(
        history: Vec<Progress>,
        live: impl Stream<Item = Result<Progress, Missed>> + Send,
        again: Option<Vec<Progress>>,
    ) -> Vec<String> {
        steps("acme_web.1".to_owned(), history, live, || {
            ready(again.clone())
        })
        .map(|step| step.text)
        .collect()
        .await
    }

    #[tokio::test]
    async fn nothing_is_told_twice_and_the_settled_step_is_the_last() {
        let history = vec![
            step(1, "waiting", None),
            step(2, "renting small on local", None),
        ];
        let other = Progress {
            subject: "acme_web.2".to_owned(),
            ..step(3, "running", Some(Settled::Done))
        };
        let live = [
            step(2, "renting small on local", None),
            other,
            step(4, "running", Some(Settled::Done)),
            step(5, "stopped", None),
        ];
        // As in production, the live part never ends by itself.
        let live = stream::iter(live).map(Ok).chain(stream::pending());
        assert_eq!(
            told(history, live, None).await,
            ["waiting", "renting small on local", "running"]
        );
    }

    #[tokio::test]
    async fn a_settled_history_is_all_there_is() {
        assert_eq!(
            told(
                vec![step(1, "running", Some(Settled::Done))],
                stream::pending(),
                None
            )
            .await,
            ["running"]
        );
    }

    #[tokio::test]
    async fn what_was_missed_is_read_again() {
        let live =
            || stream::iter([Ok(step(2, "starting", None)), Err(Missed)]).chain(stream::pending());
        let again = vec![
            step(2, "starting", None),
            step(3, "running", Some(Settled::Done)),
        ];
        assert_eq!(
            told(vec![step(1, "waiting", None)], live(), Some(again)).await,
            ["waiting", "starting", "running"]
        );
        assert_eq!(
            told(vec![step(1, "waiting", None)], live(), None).await,
            ["waiting", "starting"],
            "it ends when there is nothing to read"
        );
    }
}
