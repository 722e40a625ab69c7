//! Follows the progress of containers and instances until they are settled.

use super::{failure::Failure, printer::Printer};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{self, try_join_all},
    stream::{BoxStream, select_all},
};
use micado_api::{Client, ClientError, ErrorBody, ErrorCode, LogQuery, Progress, Settled};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

/// Lines of its log that are shown of a container that failed, and the pieces that they may come in.
const LAST_LINES: u32 = 10;
const LAST_PIECES: usize = 100;

/// Time to get them: a machine may not answer.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// Prints every step of all subjects until each is settled. A person may stop following; the
/// operation continues.
pub(super) async fn follow(
    subjects: &[String],
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    tokio::select! {
        ended = settled(subjects, client, printer) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(interrupted(subjects))),
    }
}

async fn settled(subjects: &[String], client: &Client, printer: &Printer) -> Result<(), Failure> {
    let streams = try_join_all(subjects.iter().map(|subject| watch(subject, client))).await?;
    let mut open: BTreeSet<&String> = subjects
        .iter()
        .zip(&streams)
        .filter(|(_, stream)| stream.is_some())
        .map(|(subject, _)| subject)
        .collect();
    let mut all = select_all(streams.into_iter().flatten());
    let mut failed = Vec::new();
    let steps = printer.steps(subjects.len() > 1);
    while let Some(step) = all.try_next().await? {
        if step.settled.is_some() {
            open.remove(&step.subject);
        }
        match step.settled {
            Some(Settled::Failed) => failed.push(step),
            Some(Settled::Done) | None => steps.step(&step),
        }
    }
    drop(steps);
    match (failed.first(), open.first()) {
        (Some(first), _) => {
            last_words(&first.subject, client, printer).await;
            let words: Vec<String> = failed
                .iter()
                .map(|step| format!("{}: {}", step.subject, step.text))
                .collect();
            let hint = format!(
                "`micado explain {}` says how it came to that",
                first.subject
            );
            Err(ErrorBody::new(ErrorCode::Conflict, words.join("; "))
                .hint(hint)
                .into())
        }
        (None, Some(open)) => Err(ErrorBody::new(
            ErrorCode::Unavailable,
            format!("{open}: the manager stopped before it was settled"),
        )
        .hint(format!(
            "it goes on when the manager is back: `micado explain {open}`"
        ))
        .into()),
        (None, None) => Ok(()),
    }
}

/// Steps of one subject; `None` once it does not exist, which is the end of a removal.
async fn watch(
    subject: &str,
    client: &Client,
) -> Result<Option<BoxStream<'static, Result<Progress, ClientError>>>, ClientError> {
    match client.progress(subject).await {
        Ok(steps) => Ok(Some(steps.boxed())),
        Err(ClientError::Refused(ErrorBody {
            code: ErrorCode::NotFound,
            ..
        })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Prints the last lines that a container wrote before it failed, if there are any. Machines have
/// none.
async fn last_words(name: &str, client: &Client, printer: &Printer) {
    for previous in [true, false] {
        let query = LogQuery {
            tail: Some(LAST_LINES),
            previous,
            ..LogQuery::default()
        };
        let Ok((_, entries)) = client.logs(name, &query).await else {
            continue;
        };
        let log = entries
            .take(LAST_PIECES)
            .try_fold(Vec::new(), |mut log, entry| {
                log.extend_from_slice(&entry.content());
                future::ready(Ok(log))
            });
        let log = timeout(LOG_PATIENCE, log).await;
        let log = log.ok().and_then(Result::ok).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if !log.trim().is_empty() {
            printer.note(&format!("last lines of {name}:"));
            log.lines()
                .for_each(|line| printer.note(&format!("  {line}")));
            return;
        }
    }
}

fn interrupted(subjects: &[String]) -> String {
    match subjects {
        [one] => format!("it goes on in the background: `micado explain {one}` says how it is"),
        _ => "it goes on in the background: `micado list` says how it is".to_owned(),
    }
}
