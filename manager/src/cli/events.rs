//! `micado events`: events of containers, and changes of the counts of services.

use super::{args::EventsArgs, failure::Failure, page::Page, printer::Printer, tables};
use crate::clock;
use micado_api::{Client, EventQuery, EventView, Timestamp, VerdictQuery, VerdictSpan};
use serde::Serialize;
use std::time::Duration;

/// Time between two questions while it goes on.
const PAUSE: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Happening {
    Event(EventView),
    Verdict(VerdictSpan),
}

impl Happening {
    pub(super) const fn at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.at,
            Self::Verdict(span) => span.first.at,
        }
    }

    /// Of a verdict that goes on, the last check changes: only its begin tells it from others.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Verdict(one), Self::Verdict(other)) => {
                (one.first.at, &one.service) == (other.first.at, &other.service)
            }
            (one, other) => one == other,
        }
    }
}

pub(super) async fn events(
    args: EventsArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let since = args.since.map(|since| {
        u64::try_from(since.seconds(clock::now()))
            .unwrap_or(0)
            .saturating_mul(1000)
    });
    let mut query = EventQuery {
        name: args.plain.or(args.name),
        instance: args.tag,
        since,
        limit: Some(args.tail),
    };
    let mut last = ask(&query, client).await?;
    printer.data(&last, || page(&last))?;
    if !args.follow {
        if last.is_empty() {
            printer.note("nothing happened then");
        }
        return Ok(());
    }
    query.limit = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        // Machines report late, and by their own clocks.
        let latest = last.last().map_or(clock::now(), Happening::at);
        query.since = Some(latest.0.saturating_sub(LATE_MS));
        let mut fresh = ask(&query, client).await?;
        fresh.retain(|one| !last.iter().any(|known| known.is_same(one)));
        if !fresh.is_empty() {
            printer.data(&fresh, || page(&fresh))?;
        }
        last.extend(fresh);
        last.sort_by_key(Happening::at);
        last.drain(..last.len().saturating_sub(REMEMBERED));
    }
}

/// Delay of an event, in milliseconds, with which it is still shown.
const LATE_MS: u64 = 30_000;

/// Happenings that are remembered, so that none is shown twice.
const REMEMBERED: usize = 1_000;

/// Events, and verdicts that changed a count or were held, oldest first.
async fn ask(query: &EventQuery, client: &Client) -> Result<Vec<Happening>, Failure> {
    let events = client.events(query).await?;
    let mut all: Vec<Happening> = events.into_iter().map(Happening::Event).collect();
    if query.instance.is_none() {
        let verdicts = VerdictQuery {
            service: query.name.clone(),
            since: query.since,
            limit: query.limit,
        };
        let spans = client.verdicts(&verdicts).await?;
        let told = spans.into_iter().filter(is_told);
        all.extend(told.map(Happening::Verdict));
    }
    all.sort_by_key(Happening::at);
    let most = usize::try_from(query.limit.unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
    all.drain(..all.len().saturating_sub(most));
    Ok(all)
}

/// True of a change of the count, and of one that was held.
fn is_told(span: &VerdictSpan) -> bool {
    let detail = &span.first.detail;
    detail["from"] != detail["count"] || !detail["held"].is_null()
}

fn page(happenings: &[Happening]) -> Page {
    match happenings.is_empty() {
        true => Page::default(),
        false => Page::default().with(tables::happenings(happenings)),
    }
}
