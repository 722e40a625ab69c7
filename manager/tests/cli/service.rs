//! `micado service`, and entries made by hand in `micado info`.

use super::Rote;
use axum::{
    Json, Router,
    extract::Path,
    http::StatusCode,
    routing::{get, put},
};
use micado_api::{ErrorBody, ErrorCode, RegisterRequest, RegistrationView, ServiceView};

fn entry() -> RegistrationView {
    RegistrationView {
        id: "db-1".to_owned(),
        service: "db".to_owned(),
        address: "10.0.0.9".to_owned(),
        port: 5432,
        tags: vec!["primary".to_owned()],
        meta: [("rack".to_owned(), "7".to_owned())].into(),
        since: micado_manager::clock::now(),
    }
}

fn rote() -> Rote {
    let register = async |Path(id): Path<String>, Json(request): Json<RegisterRequest>| {
        let made = RegistrationView {
            id,
            service: request.service,
            address: request.address,
            port: request.port,
            tags: request.tags,
            meta: request.meta,
            since: micado_manager::clock::now(),
        };
        assert_eq!(made.port, 5432);
        Json(vec![made])
    };
    let none = async || {
        let body = ErrorBody::new(ErrorCode::NotFound, "no container or service of this name");
        (StatusCode::NOT_FOUND, Json(body))
    };
    Rote::new(
        Router::new()
            .route("/v1/registrations", get(async || Json(vec![entry()])))
            .route("/v1/registrations/{id}", put(register).delete(none))
            .route("/v1/services/{name}", get(none))
            .route(
                "/v1/services",
                get(async || Json(Vec::<ServiceView>::new())),
            ),
    )
}

#[tokio::test]
async fn entries_are_made_and_shown() {
    let rote = rote();
    let line = "service register -n db -a 10.0.0.9 -p 5432 --id db-1 --tag primary --meta rack=7";
    let made = rote.run(line).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let shown = |out: &str| {
        let last = out.lines().last().unwrap_or_default().to_owned();
        last.split_whitespace()
            .take(6)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let row = "db db-1 10.0.0.9 5432 primary rack=7";
    assert_eq!(shown(&made.out), row);
    for line in ["service list", "info -s db", "info -a", "info"] {
        assert_eq!(shown(&rote.run(line).await.out), row, "{line}");
    }
    let json = rote.run("service list --output json").await.out;
    let listed: Vec<RegistrationView> = serde_json::from_str(&json).expect("a list");
    assert_eq!(listed[0].id, "db-1");
    assert_eq!(rote.run("info -s other").await.code, Some(1));
    let gone = rote.run("service deregister other").await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
}

#[tokio::test]
async fn what_is_no_entry_is_refused_before_it_is_sent() {
    let rote = rote();
    for (line, words) in [
        ("-n a@b -a 10.0.0.9 -p 1", "service `a@b`"),
        ("-n db -a a_b -p 1", "neither an address nor a host name"),
        ("-n db -a 10.0.0.9 -p 0", "0 is not in"),
        ("-n db -a 10.0.0.9 -p 1 --meta rack", "KEY=VALUE"),
    ] {
        let ended = rote.run(&format!("service register {line}")).await;
        assert!(ended.err.contains(words), "{line}: {ended:?}");
    }
}
