//! The OpenAPI document: generated from the routes and wire types, served, and checked in as
//! `docs/openapi.json`.

use super::{Routes, guarded_routes, open_routes};
use axum::Json;
use micado_api::ErrorBody;
use std::sync::LazyLock;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::routes;

static DOCUMENT: LazyLock<Document> = LazyLock::new(document);

#[derive(OpenApi)]
#[openapi(
    info(title = "micado", description = "Runs containers on rented machines, and rents and returns the machines as the containers need them."),
    security(("token" = [])),
    modifiers(&BearerToken),
)]
struct ApiDocument;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    }
}

#[must_use]
pub fn document() -> Document {
    Routes::with_openapi(ApiDocument::openapi())
        .merge(open_routes())
        .merge(guarded_routes())
        .into_openapi()
}

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(openapi))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "status", responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn openapi() -> Json<&'static Document> {
    Json(&DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, path::Path};

    #[test]
    fn the_document_that_is_checked_in_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let now = document().to_pretty_json().expect("a document") + "\n";
        if env::var_os("MICADO_UPDATE_OPENAPI").is_some() {
            fs::write(&path, &now).expect("docs/openapi.json can be written");
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            checked_in == now,
            "docs/openapi.json is out of date: run MICADO_UPDATE_OPENAPI=1 cargo test -p micado-manager openapi"
        );
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = serde_json::to_value(document()).expect("a document");
        let paths = document["paths"].as_object().expect("paths").values();
        let mut names: Vec<_> = paths
            .flat_map(|methods| methods.as_object().expect("methods").values())
            .map(|it| it["operationId"].as_str())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), names.contains(&None)), (all, false));
    }
}
