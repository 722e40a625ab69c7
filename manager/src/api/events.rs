//! What happened to containers.

use super::{ApiState, extract::Query, refusal::Answer};
use crate::{
    metrics::{First, Happening, RecallEvents},
    store::StoreError,
};
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ErrorCode, EventQuery, EventView, Timestamp};

/// Events that are shown when that is not said, and at most.
const SOME: u32 = 50;
const MOST: u32 = 10_000;

/// What happened to containers in the last seven days, as their machines' agents told it: they started, died, or a health check said how they are.
#[utoipa::path(get, path = "/v1/events", operation_id = "list_events", tag = "history", params(EventQuery),
    responses(
        (status = 200, description = "The last events, oldest first.", body = [EventView]),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
pub(super) async fn events(State(state): State<ApiState>, Query(query): Query<EventQuery>) -> Answer<Json<Vec<EventView>>> {
    let wanted = asked(&query)?;
    let mut found = state.metrics.recall_events(&*state.history, &wanted).await.map_err(unread)?;
    if found.is_empty() {
        // Who was removed may still have events; without any, the name may be mistyped.
        let known = state.handle.read(move |core| {
            let name = query.name.is_none_or(|name| core.services(Some(&name)).is_ok());
            name && query.instance.is_none_or(|tag| core.instances(true).iter().any(|it| it.tag.as_str() == tag))
        });
        if !known.await? {
            let missing = ErrorBody::new(ErrorCode::NotFound, nobody(&wanted));
            return Err(missing.hint("`micado list --all` shows all names").into());
        }
    }
    found.reverse();
    Ok(Json(found.into_iter().map(view).collect()))
}

fn asked(query: &EventQuery) -> Result<RecallEvents, ErrorBody> {
    let most = query.limit.unwrap_or(SOME);
    if !(1..=MOST).contains(&most) {
        return Err(ErrorBody::new(ErrorCode::BadRequest, format!("`limit` is {most}: it may be from 1 to {MOST}")));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let from = Timestamp(query.since.unwrap_or(0));
    Ok(RecallEvents { name: query.name.clone(), tag: query.instance.clone(), from, ..RecallEvents::any(First::Newest, most) })
}

fn nobody(wanted: &RecallEvents) -> String {
    let name = wanted.name.as_ref().map(|name| format!("container or service `{name}`"));
    let tag = wanted.tag.as_ref().map(|tag| format!("instance `{tag}`"));
    format!("no {}", [name, tag].into_iter().flatten().collect::<Vec<_>>().join(", or no "))
}

fn unread(error: StoreError) -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, format!("what happened cannot be read: {error}")).hint("ask again in a moment")
}

fn view(it: Happening) -> EventView {
    EventView { at: it.at, container: it.placed.container, instance: it.placed.tag, image: it.placed.image, id: it.engine_id, what: it.what }
}
