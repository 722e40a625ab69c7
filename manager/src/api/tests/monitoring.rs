//! Metrics and service discovery over the API: who may read them, and in which form.

use super::*;
use micado_api::{DiscoveryQuery, MetricsQuery};
use reqwest::{StatusCode, header};

/// A request over HTTPS with this token.
async fn get(
    manager: &Manager,
    path: &str,
    token: Option<&str>,
    accept: &str,
) -> (u16, String, String) {
    let url = format!("https://localhost:{}{path}", manager.address.port());
    let mut request = manager.http().get(url).header(header::ACCEPT, accept);
    if let Some(token) = token {
        request = request.bearer_auth(token.trim());
    }
    let response = request.send().await.expect("an answer");
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, kind) = (response.status().as_u16(), kind.to_owned());
    (status, kind, response.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_needs_the_token() {
    let manager = Manager::start();
    let token = fs::read_to_string(manager.state().join("token")).expect("a token");
    for path in ["/metrics", "/v1/discovery/prometheus"] {
        for wrong in [None, Some("x"), Some("")] {
            let (status, _, body) = get(&manager, path, wrong, "*/*").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}: {body}");
        }
        assert_eq!(
            get(&manager, path, Some(&token), "*/*").await.0,
            StatusCode::OK
        );
    }
    let (_, kind, text) = get(&manager, "/metrics", Some(&token), "*/*").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let refused = "micado_http_requests_total{route=\"/metrics\",method=\"GET\",code=\"401\"} 3";
    assert!(text.lines().any(|line| line == refused), "{text}");
    let (_, kind, text) = get(
        &manager,
        "/metrics",
        Some(&token),
        "application/openmetrics-text",
    )
    .await;
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_shows_what_was_launched() {
    let manager = Manager::start();
    let client = manager.by_socket();
    client.launch(&launch("web")).await.expect("launched");
    let text = client
        .metrics(&MetricsQuery::default())
        .await
        .expect("text");
    for line in [
        "micado_containers{service=\"acme_web\",state=\"waiting\"} 1.0",
        "micado_service_info{service=\"acme_web\",client=\"acme\",image=\"web\",location=\"application\",domain=\"\"} 1.0",
        "micado_engine_up 0.0",
        "micado_cloud_up{cloud=\"local\"} 0.0",
        "micado_core_up 1.0",
        "micado_agents_connected 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Nothing runs: there is no engine.
    let targets = client.targets(&DiscoveryQuery::default()).await;
    assert_eq!(targets.expect("a list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_made_up_make_no_series() {
    let manager = Manager::start();
    let client = manager.by_socket();
    for path in ["/no/such/path", "/v1/containers/a/b/c"] {
        assert_eq!(manager.raw(&format!("GET {path}"), "").0, 404);
    }
    for name in ["one", "two"] {
        assert_eq!(
            manager.raw(&format!("DELETE /v1/containers/{name}"), "").0,
            404
        );
    }
    let unknown = manager.raw("GET /metrics?containers=no", "");
    assert_eq!((unknown.0, unknown.1.code), (400, ErrorCode::BadRequest));
    let text = client
        .metrics(&MetricsQuery::default())
        .await
        .expect("text");
    let mut requests: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("micado_http_requests_total{"))
        .collect();
    requests.sort_unstable();
    assert_eq!(
        requests,
        [
            "micado_http_requests_total{route=\"/metrics\",method=\"GET\",code=\"400\"} 1",
            "micado_http_requests_total{route=\"/v1/containers/{name}\",method=\"DELETE\",code=\"404\"} 2",
            "micado_http_requests_total{route=\"other\",method=\"GET\",code=\"404\"} 2",
        ]
    );
}
