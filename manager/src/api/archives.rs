//! Archives of images: export and import.

use super::{
    ApiState, Routes,
    extract::{Name, Query, read_rest},
    lines::lines,
    refusal::{Answer, Refusal},
    validate,
};
use crate::{engine::EngineError, images::tagged};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use micado_api::{ErrorBody, ErrorCode, ImportEvent, ImportQuery};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(export))
        .routes(routes!(import))
}

/// The archive of an image of the manager's engine, as `docker save` makes it: a tar, sent as the
/// engine makes it.
#[utoipa::path(get, path = "/v1/images/{name}/archive", operation_id = "export_image", tag = "images",
    params(("name" = String, Path, description = "The image, as `NAME[:TAG]`; default tag `latest`.")),
    responses(
        (status = 200, description = "The archive.", body = Vec<u8>, content_type = "application/x-tar"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn export(State(state): State<ApiState>, Name(image): Name) -> Answer<Response> {
    validate::managed_image(&image)?;
    if image.contains('@') {
        let message = format!("`{image}` has a digest: expected `NAME[:TAG]`");
        return Err(ErrorBody::new(ErrorCode::BadRequest, message).into());
    }
    let name = tagged(&image);
    let archive = state
        .builds
        .export(&name)
        .await
        .map_err(|error| match error {
            EngineError::NotFound(_) => {
                let message = format!("the manager's engine has no image `{name}`");
                Refusal::from(ErrorBody::new(ErrorCode::NotFound, message)).hint(
                    "`micado image list` shows all images, `micado image show NAME` their names",
                )
            }
            error => Refusal::engine(&format!("image `{name}`"), error),
        })?;
    let kind = [(header::CONTENT_TYPE, "application/x-tar")];
    Ok((kind, Body::from_stream(archive)).into_response())
}

/// Imports the images of an archive, as `docker save` makes it: a tar, plain or gzip. The answer
/// comes while the archive is sent: one JSON object per line, the last one `imported` or `failed`. A
/// closed connection cancels the import. Each image is tagged by its id too, and pushed to the
/// cluster's registry.
#[utoipa::path(post, path = "/v1/archives", operation_id = "import_images", tag = "images", params(ImportQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The archive."),
    responses(
        (status = 200, description = "One event per line.", body = ImportEvent, content_type = "application/x-ndjson"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn import(
    State(state): State<ApiState>,
    Query(query): Query<ImportQuery>,
    archive: Body,
) -> Answer<Response> {
    let admitted = state.builds.admit_import(query, state.handle.clone()).await;
    let import = match admitted {
        Ok(import) => import,
        Err(refusal) => {
            read_rest(archive);
            return Err(refusal.into());
        }
    };
    let events = import
        .start(archive.into_data_stream())
        .take_until(state.stopping.clone().cancelled_owned());
    Ok(lines(events))
}
