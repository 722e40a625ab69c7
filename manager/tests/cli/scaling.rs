//! `micado policy` and `micado scale`.

use super::{Ended, Rote};
use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post, put},
};
use micado_api::{
    ErrorBody, ErrorCode, ManualFloor, ScaleRequest, ScalingView, ServiceName, Timestamp,
    VerdictView,
};
use serde_json::{Value, json};

fn view(policy: Option<Value>) -> ScalingView {
    let verdict = |text: &str| VerdictView {
        at: Timestamp(1_800_000_000_000),
        since: Timestamp(1_800_000_000_000),
        text: text.to_owned(),
        detail: json!({"from": 4, "count": 4}),
    };
    ScalingView {
        service: ServiceName::trusted("acme_web"),
        count: 4,
        running: 3,
        policy,
        since: Some(Timestamp(1)),
        manual: None,
        pinned: false,
        verdict: Some(verdict("kept 4: the load fits")),
        last_change: Some(verdict(
            "grew 2 -> 4: 0.60 cores over 2s is 1.71 of what 2 copies may carry (0.18 cores each)",
        )),
    }
}

/// A manager that shows this policy, and answers with the one that it is sent.
fn with(present: Option<Value>) -> Rote {
    let sent = async |Json(policy): Json<Value>| Json(view(Some(policy)));
    let checked = async |Json(_): Json<Value>| Json(view(None).verdict);
    let scaling = move || async move { Json(view(present)) };
    Rote::new(
        Router::new()
            .route("/v1/services/acme_web/scaling", get(scaling))
            .route("/v1/services/acme_web/policy", put(sent))
            .route("/v1/services/acme_web/policy/check", post(checked)),
    )
}

async fn policy(rote: &Rote, flags: &str) -> Value {
    let line = format!("policy set acme_web {flags} --output json");
    let ended = rote.run(&line).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let view: Value = serde_json::from_str(&ended.out).expect("JSON");
    view["policy"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_made_of_flags_of_a_file_and_of_the_present_one() {
    let fresh = policy(&with(None), "").await;
    assert_eq!((&fresh["min"], &fresh["max"]), (&json!(1), &json!(10)));
    assert_eq!(fresh["policies"][0]["metric"], "cpu");
    let flags = "--cpu 60% --memory 0.8 --min 2 --max 20 --importance high --look-back 5m";
    let flagged = policy(&with(None), flags).await;
    assert_eq!(
        (&flagged["importance"], &flagged["look-back"]),
        (&json!("high"), &json!("5m"))
    );
    let targets = flagged["policies"].as_array().expect("a list");
    let targets: Vec<_> = targets.iter().map(|it| &it["target"]).collect();
    assert_eq!(targets, [&json!(0.6), &json!(0.8)]);
    let changed = policy(&with(Some(flagged)), "--cpu 50%").await;
    assert_eq!(
        (&changed["policies"][0]["target"], &changed["min"]),
        (&json!(0.5), &json!(2))
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.toml");
    let text =
        "max = 5\nlook-back = \"90s\"\n\n[[policies]]\nkind = \"target\"\nmetric = \"memory\"\n";
    std::fs::write(&file, text).expect("written");
    let flags = format!("--file {} --min 3", file.display());
    let read = policy(&with(None), &flags).await;
    assert_eq!(
        (&read["min"], &read["max"], &read["look-back"]),
        (&json!(3), &json!(5), &json!("90s"))
    );
    std::fs::write(&file, "maximum = 5\n").expect("written");
    let refused = with(None)
        .run(&format!("policy set acme_web --file {}", file.display()))
        .await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("maximum"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_shown_as_files_and_checked() {
    let shown = Router::new().route(
        "/v1/services/acme_web/policy",
        get(async || {
            Json(
                json!({"min": 2, "policies": [{"kind": "target", "metric": "cpu", "target": 0.6}]}),
            )
        }),
    );
    let shown = Rote::new(shown).run("policy show acme_web").await;
    insta::assert_snapshot!(shown.out, @r#"
    min = 2
    max = 10
    importance = "normal"
    forecast = "auto"
    look-back = "3m"
    cool-down-up = "0s"
    cool-down-down = "0s"
    stop-when-quiet = false

    [step-down]
    percent = 50.0
    per = "30s"

    [[policies]]
    kind = "target"
    metric = "cpu"
    target = 0.6
    of = "mean"
    "#);
    let checked = with(None).run("policy check acme_web --cpu 50%").await;
    assert_eq!(checked.out, "kept 4: the load fits\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_set_for_a_time_or_pinned() {
    let scale = async |Json(request): Json<ScaleRequest>| {
        if request.count == Some(99) {
            let error = ErrorBody::new(
                ErrorCode::Conflict,
                "99 copies of `acme_web` are outside the 1 to 10 of its policy",
            )
            .hint("`micado policy set acme_web --max 99` first");
            return Err((StatusCode::CONFLICT, Json(error)));
        }
        Ok(Json(ScalingView {
            count: request.count.unwrap_or(4),
            manual: request.for_ms.map(|ms| ManualFloor {
                floor: 5,
                until: Timestamp(1_800_000_000_000 + ms),
            }),
            pinned: request.pin.unwrap_or(false),
            ..view(Some(json!({"min": 1, "max": 10})))
        }))
    };
    let rote = Rote::new(Router::new().route("/v1/services/acme_web/scale", post(scale)));
    let scaled = rote.run("scale acme_web 5 --for 1h").await;
    insta::assert_snapshot!(scaled.out, @r#"
    service      acme_web
    containers   5 (3 running)
    policy       1 to 10
    by hand      at least 5 until 2027-01-15 09:00:00Z
    verdict      kept 4: the load fits
    last change  2027-01-15 08:00:00Z grew 2 -> 4: 0.60 cores over 2s is 1.71 of what 2 copies may carry (0.18 cores each)
    "#);
    let pinned = rote.run("scale acme_web --pin --output json").await;
    assert!(pinned.out.contains("\"pinned\": true"), "{}", pinned.out);
    let refused = rote.run("scale acme_web 99").await;
    assert_eq!(
        refused,
        Ended {
            code: Some(1),
            out: String::new(),
            err: "error: 99 copies of `acme_web` are outside the 1 to 10 of its policy\nhint: `micado policy set acme_web --max 99` first\n".to_owned()
        }
    );
    assert_eq!(rote.run("scale acme_web").await.code, Some(2));
    assert_eq!(rote.run("scale acme_web --pin --unpin").await.code, Some(2));
}
