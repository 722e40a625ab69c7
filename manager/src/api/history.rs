//! Past metrics of containers and instances.

use super::{
    ApiState, Routes,
    extract::{Name, Query},
    refusal::Answer,
    validate,
};
use crate::{
    clock,
    metrics::{ContainerPoint, Point, Recall, Resolution, Series, roll_up, totals},
    store::StoreError,
};
use axum::{Json, extract::State};
use micado_api::{
    ErrorBody, ErrorCode, History, HistoryPoint, HistoryQuery, MemoryBytes, NanoCpus, Timestamp,
};
use std::time::Duration;
use utoipa_axum::routes;

/// Tolerance for a late request: its last hour still counts as kept.
const SLACK: Duration = Duration::from_secs(60);

/// Default span of time, in milliseconds.
const SPAN: u64 = 3_600_000;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(history))
}

/// Use of a container, a service or an instance: as it was measured for the last hour, by the
/// minute for a day, by ten minutes for 30 days.
#[utoipa::path(get, path = "/v1/history/{name}", operation_id = "show_history", tag = "history",
    params(("name" = String, Path, description = "A container's name, a service's (the sum of its containers), or an instance's tag."), HistoryQuery),
    responses(
        (status = 200, description = "The figures, oldest first.", body = History),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn history(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(query): Query<HistoryQuery>,
) -> Answer<Json<History>> {
    let (resolution, from, until) = asked(&query, clock::now())?;
    let of = name.clone();
    let (series, known) = match state.handle.read(move |core| core.measured(&of)).await? {
        Ok(series) => (series, true),
        // A removed container or instance may still have metrics.
        Err(error) if error.code == ErrorCode::NotFound => (Series::Container(name.clone()), false),
        Err(error) => return Err(error.into()),
    };
    let points = state
        .metrics
        .recall(
            &*state.history,
            &Recall {
                series: series.clone(),
                resolution,
                from,
                until,
            },
        )
        .await
        .map_err(unread)?;
    if !known && points.is_empty() {
        let missing = ErrorBody::new(
            ErrorCode::NotFound,
            format!("no container, service or instance `{name}`"),
        );
        return Err(missing.hint("`micado list --all` shows all names").into());
    }
    let (name, points) = match series {
        Series::Container(container) => (
            container.clone(),
            once(points)
                .iter()
                .filter_map(|it| self::container(it, &container))
                .collect(),
        ),
        Series::Service(_) => {
            let totals = totals(&points).into_iter();
            (
                name,
                totals.map(|(at, total)| figures(at, &total)).collect(),
            )
        }
        Series::Instance(_) => (name, points.iter().map(machine).collect()),
    };
    Ok(Json(History {
        name,
        resolution: seconds(resolution),
        points,
    }))
}

/// Merges points of the same time: while a container was moved, it may have been measured on two
/// machines.
fn once(mut points: Vec<Point>) -> Vec<Point> {
    let Some((instance, resolution)) = points
        .first()
        .map(|it| (it.instance.clone(), it.resolution))
    else {
        return points;
    };
    points
        .iter_mut()
        .for_each(|it| it.instance.clone_from(&instance));
    roll_up(&points, resolution)
}

/// Selects the points, by default the finest that are kept for that long.
fn asked(
    query: &HistoryQuery,
    now: Timestamp,
) -> Result<(Resolution, Timestamp, Timestamp), ErrorBody> {
    let refuse = |message: String| ErrorBody::new(ErrorCode::BadRequest, message);
    validate::moment("from", query.from)?;
    validate::moment("until", query.until)?;
    let until = query.until.map_or(now, Timestamp);
    let from = query
        .from
        .map_or_else(|| Timestamp(until.0.saturating_sub(SPAN)), Timestamp);
    if from >= until {
        return Err(refuse(format!(
            "`from` ({}) is not before `until` ({})",
            from.0, until.0
        )));
    }
    let kept = || {
        Resolution::ALL
            .into_iter()
            .find(|it| now.since(from) <= it.kept() + SLACK)
            .unwrap_or(Resolution::TenMinutes)
    };
    let resolution = match query.resolution {
        None => kept(),
        Some(asked) => {
            let known = Resolution::ALL.into_iter().find(|it| seconds(*it) == asked);
            known.ok_or_else(|| {
                refuse(format!(
                    "there is no resolution of {asked} s: figures are kept by 2, 60 and 600 s"
                ))
            })?
        }
    };
    Ok((resolution, from, until))
}

fn unread(error: StoreError) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Unavailable,
        format!("past figures cannot be read: {error}"),
    )
    .hint("ask again in a moment")
}

fn machine(point: &Point) -> HistoryPoint {
    let it = &point.machine;
    HistoryPoint {
        memory: it.memory_total.saturating_sub(it.memory_left),
        memory_peak: it.memory_total.saturating_sub(it.memory_least_left),
        cpu_peak: it.cpu_peak,
        ..blank(point.at, it.measured_ms, it.cpu_ns)
    }
}

fn container(point: &Point, name: &str) -> Option<HistoryPoint> {
    Some(figures(point.at, point.containers.get(name)?))
}

fn figures(at: Timestamp, it: &ContainerPoint) -> HistoryPoint {
    HistoryPoint {
        memory: it.memory,
        memory_peak: it.memory_peak,
        cpu_peak: it.cpu_peak,
        oom_kills: it.oom_kills,
        received: it.received,
        sent: it.sent,
        read: it.read,
        written: it.written,
        ..blank(at, it.measured_ms, it.cpu_ns)
    }
}

/// A point with CPU only, as the mean over the measured time.
fn blank(at: Timestamp, measured_ms: u64, cpu_ns: u64) -> HistoryPoint {
    let none = MemoryBytes(0);
    let cpu = NanoCpus(
        cpu_ns
            .saturating_mul(1000)
            .checked_div(measured_ms)
            .unwrap_or(0),
    );
    HistoryPoint {
        at,
        measured_ms,
        memory: none,
        memory_peak: none,
        cpu,
        cpu_peak: cpu,
        oom_kills: 0,
        received: 0,
        sent: 0,
        read: 0,
        written: 0,
    }
}

fn seconds(resolution: Resolution) -> u32 {
    u32::try_from(resolution.millis() / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_793_700_000_000);
    const HOUR: u64 = 3_600_000;
    const MINUTE: u64 = 60_000;

    fn resolution(
        from: u64,
        until: Option<u64>,
        resolution: Option<u32>,
    ) -> Result<Resolution, String> {
        let query = HistoryQuery {
            from: Some(from),
            until,
            resolution,
        };
        asked(&query, NOW)
            .map(|(resolution, ..)| resolution)
            .map_err(|refusal| refusal.message)
    }

    #[test]
    fn the_finest_that_is_kept_for_so_long_is_shown() {
        assert_eq!(
            asked(&HistoryQuery::default(), NOW),
            Ok((Resolution::Sample, Timestamp(NOW.0 - HOUR), NOW))
        );
        assert_eq!(
            resolution(NOW.0 - HOUR - MINUTE, None, None),
            Ok(Resolution::Sample),
            "an hour, asked for a minute ago"
        );
        assert_eq!(
            resolution(NOW.0 - HOUR - MINUTE - 1, None, None),
            Ok(Resolution::Minute)
        );
        assert_eq!(
            resolution(NOW.0 - 24 * HOUR - MINUTE, None, None),
            Ok(Resolution::Minute)
        );
        assert_eq!(
            resolution(NOW.0 - 24 * HOUR - MINUTE - 1, None, None),
            Ok(Resolution::TenMinutes)
        );
        assert_eq!(resolution(0, None, None), Ok(Resolution::TenMinutes));
        assert_eq!(
            resolution(NOW.0 - 3 * HOUR, Some(NOW.0 - 2 * HOUR), None),
            Ok(Resolution::Minute),
            "an hour, of which no sample is kept"
        );
        assert_eq!(resolution(0, None, Some(2)), Ok(Resolution::Sample));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(
            resolution(5, Some(5), None),
            Err("`from` (5) is not before `until` (5)".to_owned())
        );
        assert_eq!(
            resolution(5, None, Some(10)),
            Err("there is no resolution of 10 s: figures are kept by 2, 60 and 600 s".to_owned())
        );
    }

    #[test]
    fn one_that_moved_has_one_point_for_each_time() {
        let on = |instance: &str, at, ms, mib| {
            let figures = ContainerPoint {
                measured_ms: ms,
                cpu_ns: ms * 500_000,
                sent: 7,
                memory: MemoryBytes::mib(mib),
                memory_peak: MemoryBytes::mib(mib),
                ..Default::default()
            };
            Point {
                resolution: Resolution::Minute,
                containers: [("c".to_owned(), figures)].into(),
                ..crate::metrics::tests::sample(instance, at)
            }
        };
        let merged = once(vec![
            on("i1", MINUTE, 60_000, 8),
            on("i1", 2 * MINUTE, 30_000, 10),
            on("i2", 2 * MINUTE, 10_000, 50),
            on("i2", 3 * MINUTE, 60_000, 9),
        ]);
        let shown: Vec<_> = merged.iter().filter_map(|it| container(it, "c")).collect();
        assert_eq!(
            shown.iter().map(|it| it.at.0 / MINUTE).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        let moved = &shown[1];
        assert_eq!(
            (
                moved.measured_ms,
                moved.sent,
                moved.memory,
                moved.memory_peak
            ),
            (40_000, 14, MemoryBytes::mib(20), MemoryBytes::mib(50))
        );
        assert_eq!(moved.cpu, NanoCpus::millis(500));
    }

    #[test]
    fn a_mean_is_of_what_was_measured() {
        assert_eq!(blank(NOW, 2000, 500_000_000).cpu, NanoCpus::millis(250));
        assert_eq!(blank(NOW, 0, 0).cpu, NanoCpus(0));
        assert_eq!(
            blank(NOW, 600_000, 8 * 600_000_000_000).cpu,
            NanoCpus::cores(8)
        );
    }
}
