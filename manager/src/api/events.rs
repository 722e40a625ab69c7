//! Events of containers.

use super::{ApiState, Routes, extract::Query, refusal::Answer, validate};
use crate::{
    metrics::{EventRecord, Order, RecallEvents},
    store::StoreError,
};
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ErrorCode, EventQuery, EventView, Timestamp};
use utoipa_axum::routes;

/// Default and upper bound for the events of one answer.
const SOME: u32 = 50;
const MOST: u32 = 10_000;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(events))
}

/// What happened to containers in the last seven days, as their machines' agents told it: they
/// started, died, or a health check said how they are.
#[utoipa::path(get, path = "/v1/events", operation_id = "list_events", tag = "history", params(EventQuery),
    responses(
        (status = 200, description = "The last events, oldest first.", body = [EventView]),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn events(
    State(state): State<ApiState>,
    Query(query): Query<EventQuery>,
) -> Answer<Json<Vec<EventView>>> {
    let wanted = asked(&query)?;
    let mut found = state
        .metrics
        .recall_events(&*state.history, &wanted)
        .await
        .map_err(unread)?;
    if found.is_empty() {
        let known = state.handle.read(move |core| {
            let name = query.name.is_none_or(|name| core.service(&name).is_ok());
            name && query.instance.is_none_or(|tag| core.knows(&tag))
        });
        // A removed name may still have older events. A name without any may be mistyped.
        let ever = RecallEvents {
            from: Timestamp(0),
            most: 1,
            ..wanted.clone()
        };
        if !known.await?
            && state
                .metrics
                .recall_events(&*state.history, &ever)
                .await
                .map_err(unread)?
                .is_empty()
        {
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
        return Err(ErrorBody::new(
            ErrorCode::BadRequest,
            format!("`limit` is {most}: it may be from 1 to {MOST}"),
        ));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    validate::moment("since", query.since)?;
    let from = Timestamp(query.since.unwrap_or(0));
    Ok(RecallEvents {
        name: query.name.clone(),
        tag: query.instance.clone(),
        from,
        ..RecallEvents::any(Order::NewestFirst, most)
    })
}

fn nobody(wanted: &RecallEvents) -> String {
    let name = wanted
        .name
        .as_ref()
        .map(|name| format!("container or service `{name}`"));
    let tag = wanted.tag.as_ref().map(|tag| format!("instance `{tag}`"));
    format!(
        "no {}",
        [name, tag]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", or no ")
    )
}

fn unread(error: StoreError) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Unavailable,
        format!("what happened cannot be read: {error}"),
    )
    .hint("ask again in a moment")
}

fn view(it: EventRecord) -> EventView {
    EventView {
        at: it.at,
        container: it.placed.container,
        instance: it.placed.tag,
        image: it.placed.image,
        id: it.engine_id,
        what: it.what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::tests::Manager,
        metrics::{History, tests::happening},
    };
    use micado_api::{ClientError, agent::ContainerHappening::Started};
    use std::sync::atomic::Ordering;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_last_of_whom_is_named_are_shown_oldest_first() {
        let manager = Manager::start();
        let client = manager.by_socket();
        let of = |name: &str, instance: &str| EventQuery {
            name: (!name.is_empty()).then(|| name.to_owned()),
            instance: (!instance.is_empty()).then(|| instance.to_owned()),
            ..EventQuery::default()
        };
        assert_eq!(
            client.events(&EventQuery::default()).await.expect("a list"),
            [],
            "nothing has happened yet"
        );
        let all: Vec<_> = (0..60)
            .map(|at| {
                happening(
                    if at % 2 == 0 { "i1" } else { "i2" },
                    if at % 3 == 0 { "db" } else { "web" },
                    at,
                    Started,
                )
            })
            .collect();
        manager.history.record_events(&all).await.expect("kept");
        let times = async |query: &EventQuery| {
            client
                .events(query)
                .await
                .expect("a list")
                .iter()
                .map(|it| it.at.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            times(&EventQuery::default()).await,
            (10..60).collect::<Vec<_>>(),
            "the last 50"
        );
        assert_eq!(
            times(&EventQuery {
                limit: Some(2),
                ..of("db", "")
            })
            .await,
            [54, 57]
        );
        assert_eq!(
            times(&EventQuery {
                since: Some(50),
                ..of("db.1", "tag-of-i1")
            })
            .await,
            [54]
        );
        assert_eq!(
            times(&EventQuery {
                since: Some(56),
                ..of("", "tag-of-i2")
            })
            .await,
            [57, 59]
        );
        assert_eq!(
            times(&EventQuery {
                since: Some(60),
                ..EventQuery::default()
            })
            .await,
            [0; 0]
        );
        assert_eq!(
            times(&EventQuery {
                since: Some(60),
                ..of("db", "tag-of-i1")
            })
            .await,
            [0; 0],
            "who is gone has older ones"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_makes_no_sense_or_cannot_be_known_is_refused() {
        let manager = Manager::start();
        let client = manager.by_socket();
        let refused = async |query: EventQuery| match client.events(&query).await {
            Err(ClientError::Refused(body)) => (body.code, body.message),
            other => panic!("{other:?}"),
        };
        let (name, instance) = (
            Some("acme_web".to_owned()),
            Some("application01".to_owned()),
        );
        assert_eq!(
            refused(EventQuery {
                name,
                instance,
                ..EventQuery::default()
            })
            .await,
            (
                ErrorCode::NotFound,
                "no container or service `acme_web`, or no instance `application01`".to_owned()
            )
        );
        for limit in [0, MOST + 1] {
            let wanted = (
                ErrorCode::BadRequest,
                format!("`limit` is {limit}: it may be from 1 to 10000"),
            );
            assert_eq!(
                refused(EventQuery {
                    limit: Some(limit),
                    ..EventQuery::default()
                })
                .await,
                wanted
            );
        }
        manager.history.silent.store(true, Ordering::SeqCst);
        assert_eq!(
            refused(EventQuery::default()).await,
            (
                ErrorCode::Unavailable,
                "what happened cannot be read: it does not answer".to_owned()
            )
        );
    }
}
