//! Images: their learned footprints, the critical usage that a person sets, their revisions in the
//! registry, and their removal.

use super::{
    ApiState, Routes,
    extract::{Body, Name, Query},
    refusal::{Answer, Refusal},
    validate,
};
use crate::{
    control::{ImageNeed, Reply, Request},
    images::{self, Deletion, InUse, Revision, Stored, Target},
};
use axum::{Json, extract::State};
use micado_api::{
    ErrorBody, ErrorCode, ImageView, PruneQuery, RemovalView, SetImageRequest, Space, TagRequest,
    TagView,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;
use utoipa_axum::routes;

/// Upper bound for the registry's part of a list: images are listed without it too.
const LISTING: Duration = Duration::from_secs(5);
/// Time for which a request waits for a garbage collection. Clients wait for 120 s.
const COLLECTION: Duration = Duration::from_secs(90);

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list, set, prune))
        .routes(routes!(tag))
        .routes(routes!(remove))
}

/// The registry and the engine as they were read at one time.
struct Shelf {
    stored: Vec<Stored>,
    /// Names in the engine, by image id.
    names: BTreeMap<String, Vec<String>>,
    revisions: Vec<Revision>,
}

async fn shelf(state: &ApiState, needs: &[ImageNeed]) -> Answer<Shelf> {
    let registry = &state.gate.registry;
    let refused = |error| Refusal::engine("the images", error);
    let stored = registry.stored().await.map_err(refused)?;
    let names = registry.engine_names().await.map_err(refused)?;
    Ok(Shelf {
        revisions: images::revisions(stored.clone(), &names, needs),
        stored,
        names,
    })
}

/// Images that services run or ran, or that are in the registry, by name. Without their revisions
/// if the registry does not answer.
#[utoipa::path(get, path = "/v1/images", operation_id = "list_images", tag = "images", responses(
    (status = 200, description = "The images.", body = Vec<ImageView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(State(state): State<ApiState>) -> Answer<Json<Vec<ImageView>>> {
    let read = |core: &crate::control::Core| (core.images(), core.image_needs());
    let (images, needs) = state.handle.read(read).await?;
    let revisions = match timeout(LISTING, shelf(&state, &needs)).await {
        Ok(Ok(shelf)) => shelf.revisions,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    Ok(Json(images::views(images, &revisions, &needs)))
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

/// Gives an image of the manager's engine another name. Of several images with a name, it becomes
/// that of this one.
#[utoipa::path(post, path = "/v1/images/{name}/tags", operation_id = "tag_image", tag = "images", request_body = TagRequest,
    params(("name" = String, Path, description = "The image, as `NAME[:TAG]` or its id.")),
    responses(
        (status = 200, description = "The image with its new name.", body = TagView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn tag(
    State(state): State<ApiState>,
    Name(image): Name,
    Body(request): Body<TagRequest>,
) -> Answer<Json<TagView>> {
    validate::managed_image(&image)?;
    validate::managed_image(&request.name)?;
    let name = match request
        .name
        .rsplit_once('/')
        .map_or(&*request.name, |(_, last)| last)
    {
        last if last.contains('@') => {
            let message = format!("`{}` is no name: it has a digest", request.name);
            return Err(ErrorBody::new(ErrorCode::BadRequest, message).into());
        }
        last if last.contains(':') => request.name,
        _ => format!("{}:latest", request.name),
    };
    let tagged = state.gate.registry.tag(&image, &name).await;
    let id = tagged.map_err(|error| Refusal::engine(&format!("image `{image}`"), error))?;
    Ok(Json(TagView { name, id }))
}

/// Removes an image from the registry and its names from the manager's engine, unless a service
/// needs it. Its space is free after the next garbage collection.
#[utoipa::path(delete, path = "/v1/images/{name}", operation_id = "remove_image", tag = "images",
    params(("name" = String, Path, description = "The image: `NAME` for all of its revisions, `NAME:TAG`, or `NAME@DIGEST` with at least 12 digits.")),
    responses(
        (status = 200, description = "The removed images.", body = RemovalView),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn remove(
    State(state): State<ApiState>,
    Name(target): Name<Target>,
) -> Answer<Json<RemovalView>> {
    validate::managed_image(target.name())?;
    let read = |core: &crate::control::Core| (core.images(), core.image_needs());
    let (images, needs) = state.handle.read(read).await?;
    let shelf = shelf(&state, &needs).await?;
    let deletion = crate::images::remove(&target, &shelf.revisions, &shelf.names, &needs);
    let deletion = deletion.map_err(|refusal| refused(&target, refusal))?;
    if !deletion.images.is_empty() {
        let own = state.gate.registry.is_own();
        own.map_err(|error| Refusal::engine("the images", error))?;
    }
    delete(&state, &shelf, &deletion).await?;
    for image in images.into_iter().filter(|it| target.records(&it.image)) {
        let image = image.image;
        let _recorded: Reply = state.handle.request(Request::ForgetImage { image }).await?;
    }
    let view = crate::images::removal(&shelf.stored, &deletion, Space::Waiting);
    Ok(Json(view))
}

fn refused(target: &Target, refusal: Option<InUse>) -> Refusal {
    match refusal {
        None => Refusal::from(ErrorBody::new(
            ErrorCode::NotFound,
            format!("no image `{target}`"),
        ))
        .hint("`micado image list` shows all images, `micado image show NAME` their revisions"),
        Some(InUse(services)) => {
            let services: Vec<String> = services.iter().map(|it| format!("`{it}`")).collect();
            let message = format!("image `{target}` is needed by {}", services.join(", "));
            Refusal::from(ErrorBody::new(ErrorCode::Conflict, message))
                .hint("remove their containers before, with `micado quit SERVICE --rm`")
        }
    }
}

async fn delete(state: &ApiState, shelf: &Shelf, deletion: &Deletion) -> Answer<()> {
    let deleted = state.gate.registry.delete(&shelf.stored, deletion).await;
    deleted.map_err(|error| Refusal::engine("the images", error))
}

/// Removes the images that nothing needs from the registry, and collects its garbage. Kept is what
/// a service needs, and what people named on the manager's engine.
#[utoipa::path(delete, path = "/v1/images", operation_id = "prune_images", tag = "images", params(PruneQuery), responses(
    (status = 200, description = "The removed images.", body = RemovalView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn prune(
    State(state): State<ApiState>,
    Query(query): Query<PruneQuery>,
) -> Answer<Json<RemovalView>> {
    let registry = &state.gate.registry;
    let refused = |error| Refusal::engine("the images", error);
    registry.is_own().map_err(refused)?;
    let needs = state.handle.read(|core| core.image_needs()).await?;
    let shelf = shelf(&state, &needs).await?;
    let deletion = images::prune(&shelf.revisions, query.all);
    let view = |space| Json(images::removal(&shelf.stored, &deletion, space));
    if query.dry_run {
        return Ok(view(Space::Planned));
    }
    delete(&state, &shelf, &deletion).await?;
    match timeout(COLLECTION, registry.collect()).await {
        Ok(collected) => collected.map_err(refused)?,
        Err(_) => return Ok(view(Space::Collecting)),
    }
    Ok(view(Space::Free))
}
