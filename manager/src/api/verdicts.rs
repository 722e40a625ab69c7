//! Verdicts of the scaling over time.

use super::{ApiState, Routes, extract::Query, refusal::Answer, validate};
use crate::{
    metrics::{Order, RecallVerdicts},
    store::StoreError,
};
use axum::{Json, extract::State};
use micado_api::{
    ErrorBody, ErrorCode, Explanation, Timestamp, VerdictQuery, VerdictSpan, VerdictView,
};
use utoipa_axum::routes;

/// Default and upper bound for the verdicts of one answer.
const SOME: u32 = 50;
const MOST: u32 = 10_000;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(verdicts))
}

/// Verdicts of the scaling in the last 30 days. One that repeated is listed once.
#[utoipa::path(get, path = "/v1/verdicts", operation_id = "list_verdicts", tag = "scaling", params(VerdictQuery),
    responses(
        (status = 200, description = "The last verdicts, oldest first.", body = [VerdictSpan]),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn verdicts(
    State(state): State<ApiState>,
    Query(query): Query<VerdictQuery>,
) -> Answer<Json<Vec<VerdictSpan>>> {
    let limit = query.limit.unwrap_or(SOME);
    if !(1..=MOST).contains(&limit) {
        return Err(ErrorBody::new(
            ErrorCode::BadRequest,
            format!("`limit` is {limit}: it may be from 1 to {MOST}"),
        )
        .into());
    }
    validate::moment("since", query.since)?;
    let wanted = RecallVerdicts {
        service: query.service,
        from: Timestamp(query.since.unwrap_or(0)),
        ..RecallVerdicts::any(
            Order::NewestFirst,
            usize::try_from(limit).unwrap_or(usize::MAX),
        )
    };
    let metrics = &state.metrics;
    let found = metrics.recall_verdicts(&state.handle, &*state.history, &wanted);
    let mut found = found.await.map_err(unread)?;
    found.reverse();
    Ok(Json(found))
}

/// Explains how a service was scaled at a moment.
pub(super) async fn explain_at(
    state: &ApiState,
    name: String,
    at: Timestamp,
) -> Result<Vec<Explanation>, ErrorBody> {
    validate::moment("at", Some(at.0))?;
    let service = state
        .handle
        .read(move |core| core.service_named(&name))
        .await?;
    let metrics = &state.metrics;
    let around = metrics.verdicts_around(&state.handle, &*state.history, service.as_str(), at);
    let verdicts = around.await.map_err(unread)?;
    if verdicts.is_empty() {
        return Err(ErrorBody::new(
            ErrorCode::NotFound,
            format!("service `{service}` was never checked by a policy"),
        )
        .hint("`micado explain NAME` without --at says how it is now"));
    }
    Ok(vec![Explanation {
        views: Vec::new(),
        name: service.to_string(),
        now: in_force(&verdicts, at),
        decisions: Vec::new(),
        verdicts,
    }])
}

/// One line about the verdict in force at a moment. Of a gap between checks, it says so.
fn in_force(verdicts: &[VerdictSpan], at: Timestamp) -> String {
    /// Time between two checks that is no gap.
    const CHECKED: u64 = 10_000;
    let last = verdicts.iter().rev().find(|span| span.first.at <= at);
    let Some(span) = last else {
        return "no check before that moment".to_owned();
    };
    if span.last.at.0.saturating_add(CHECKED) < at.0 {
        return format!(
            "no check at that moment: the manager or the metrics were not there, or the service \
             had no policy; before it: {}",
            span.last.text
        );
    }
    let nearest: &VerdictView = match span.last.at <= at {
        true => &span.last,
        false => &span.first,
    };
    nearest.text.clone()
}

fn unread(error: StoreError) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Unavailable,
        format!("past verdicts cannot be read: {error}"),
    )
    .hint("ask again in a moment")
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::ServiceName;

    fn span(first: u64, last: u64, text: &str) -> VerdictSpan {
        let view = |at, text: String| VerdictView {
            at: Timestamp(at),
            since: Timestamp(first),
            text,
            detail: serde_json::Value::Null,
        };
        VerdictSpan {
            service: ServiceName::trusted("acme_web"),
            first: view(first, format!("{text}, first")),
            last: view(last, format!("{text}, last")),
            times: 2,
        }
    }

    #[test]
    fn the_verdict_in_force_is_named_and_a_gap_too() {
        let spans = [span(1_000, 60_000, "kept 1"), span(61_000, 61_000, "grew")];
        let at = |ms| in_force(&spans, Timestamp(ms));
        assert_eq!(at(0), "no check before that moment");
        assert_eq!(at(30_000), "kept 1, first");
        assert_eq!(at(60_500), "kept 1, last");
        assert_eq!(at(65_000), "grew, last");
        assert!(
            at(80_000).starts_with("no check at that moment"),
            "{}",
            at(80_000)
        );
    }
}
