//! Images: their learned footprints, and the critical usage that a person sets.

use super::{ApiState, Routes, extract::Body, refusal::Answer, validate};
use crate::control::Request;
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ImageView, SetImageRequest};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list, set))
}

/// Images that services run or ran, by name.
#[utoipa::path(get, path = "/v1/images", operation_id = "list_images", tag = "images", responses(
    (status = 200, description = "The images.", body = Vec<ImageView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(State(state): State<ApiState>) -> Answer<Json<Vec<ImageView>>> {
    Ok(Json(state.handle.read(|core| core.images()).await?))
}

/// Sets the critical usage of an image, which must have been launched once. What is left out is
/// suggested from then on by what was learned.
#[utoipa::path(put, path = "/v1/images", operation_id = "set_image", tag = "images", request_body = SetImageRequest, responses(
    (status = 200, description = "The image as it is now.", body = ImageView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn set(
    State(state): State<ApiState>,
    Body(request): Body<SetImageRequest>,
) -> Answer<Json<ImageView>> {
    validate::critical(&request.critical)?;
    let set = Request::SetImage {
        image: request.image,
        critical: request.critical,
    };
    Ok(Json(state.handle.request(set).await?))
}
