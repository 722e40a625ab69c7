//! Guarantees of every store for verdicts of the scaling.

use super::{Home, recently};
use crate::clock;
use micado_api::{ServiceName, Timestamp, VerdictSpan, VerdictView};
use micado_core::metrics::{History, Order, RecallVerdicts};

/// A verdict on a service, this many milliseconds after [`recently`].
fn span(service: &str, ms: u64, times: u32) -> VerdictSpan {
    let view = |at: u64| VerdictView {
        at: Timestamp(recently().0 + at),
        since: Timestamp(recently().0 + ms),
        text: "kept 2: the load fits".to_owned(),
        detail: serde_json::json!({ "from": 2, "count": 2, "cause": "steady", "held": null }),
    };
    VerdictSpan {
        service: ServiceName::trusted(service),
        first: view(ms),
        last: view(ms + 1_000 * u64::from(times - 1)),
        times,
    }
}

async fn recalled(history: &dyn History, wanted: &RecallVerdicts) -> Vec<VerdictSpan> {
    history.recall_verdicts(wanted).await.expect("recalled")
}

pub async fn verdicts_come_back_in_order_from_either_end<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let any = RecallVerdicts::any(Order::OldestFirst, usize::MAX);
    assert_eq!(recalled(&*history, &any).await, []);
    let all = [
        span("acme_db", 1, 1),
        span("acme_web", 1, 3),
        span("acme_db", 2, 1),
        span("acme_web", 9, 2),
    ];
    let mut mixed = all.to_vec();
    mixed.reverse();
    history.record_verdicts(&mixed).await.expect("recorded");
    assert_eq!(recalled(&*history, &any).await, all);
    let newest = RecallVerdicts::any(Order::NewestFirst, 2);
    let expected = [all[3].clone(), all[2].clone()];
    assert_eq!(recalled(&*history, &newest).await, expected);
    let of_web = RecallVerdicts {
        service: Some("acme_web".to_owned()),
        until: all[3].first.at,
        ..any
    };
    assert_eq!(recalled(&*history, &of_web).await, [all[1].clone()]);
    let none = RecallVerdicts {
        from: all[3].first.at,
        ..of_web
    };
    assert_eq!(recalled(&*history, &none).await, []);
}

pub async fn a_verdict_that_goes_on_replaces_itself<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    for times in [1, 2, 9] {
        let span = span("acme_web", 5, times);
        history.record_verdicts(&[span]).await.expect("recorded");
    }
    let any = RecallVerdicts::any(Order::OldestFirst, usize::MAX);
    assert_eq!(recalled(&*history, &any).await, [span("acme_web", 5, 9)]);
}

pub async fn recent_verdicts_stay<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let present = span("acme_web", 0, 1);
    history
        .record_verdicts(std::slice::from_ref(&present))
        .await
        .expect("recorded");
    history.forget(clock::now()).await.expect("forgotten");
    let any = RecallVerdicts::any(Order::OldestFirst, usize::MAX);
    assert_eq!(recalled(&*history, &any).await, [present]);
}
