//! Logins to external registries.

use super::{
    ApiState, Routes,
    extract::{Body, Name},
    refusal::Answer,
    validate,
};
use crate::{
    control::{Core, Reply, Request},
    engine::EngineError,
    model::{Secret, login_host},
};
use axum::{Json, extract::State};
use micado_api::{ErrorBody, ErrorCode, LoginRequest, LoginView};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list))
        .routes(routes!(log_in, log_out))
}

/// All logins to external registries, without their passwords.
#[utoipa::path(get, path = "/v1/registries", operation_id = "list_registries", tag = "images", responses(
    (status = 200, description = "The logins, by host.", body = Vec<LoginView>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn list(State(state): State<ApiState>) -> Answer<Json<Vec<LoginView>>> {
    Ok(Json(state.handle.read(Core::logins).await?))
}

/// Keeps a login to an external registry, or replaces the one to this host. The manager's engine
/// pulls images of this registry with it.
#[utoipa::path(put, path = "/v1/registries/{host}", operation_id = "log_in", tag = "images",
    params(("host" = String, Path, description = "The registry, as `HOST[:PORT]`.")),
    request_body = LoginRequest,
    responses(
        (status = 200, description = "All logins.", body = Vec<LoginView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn log_in(
    State(state): State<ApiState>,
    Name(host): Name,
    Body(request): Body<LoginRequest>,
) -> Answer<Json<Vec<LoginView>>> {
    validate::login(&host, &request)?;
    let host = login_host(&host);
    let LoginRequest {
        user,
        password,
        check,
    } = request;
    let token = match check {
        true => checked(&state, &host, &user, &password).await?,
        false => None,
    };
    let secret = token.map_or(Secret::Password(password), Secret::IdentityToken);
    tracing::info!(host, user, "a login to a registry is kept");
    let request = Request::LogIn { host, user, secret };
    state.handle.request::<Reply>(request).await?;
    list(State(state)).await
}

/// Asks the registry whether it accepts a login. Returns its identity token, if it gives one.
async fn checked(
    state: &ApiState,
    host: &str,
    user: &str,
    password: &str,
) -> Answer<Option<String>> {
    let asked = state.engine.log_in(host, user, password).await;
    asked.map_err(|error| {
        let hint = match &error {
            EngineError::Unavailable(_) => "`--no-check` keeps a login that was not checked",
            EngineError::Refused(_) | EngineError::NotFound(_) => {
                "check the user and the password; an access token is used as a password"
            }
        };
        // A registry that does not answer is no fault of the manager.
        let message = format!("registry `{host}`: {error}");
        let refusal = ErrorBody::new(ErrorCode::Unsatisfiable, message);
        refusal.hint(hint).into()
    })
}

/// Removes the login to an external registry. Services that have their image keep it.
#[utoipa::path(delete, path = "/v1/registries/{host}", operation_id = "log_out", tag = "images",
    params(("host" = String, Path, description = "The registry, as `HOST[:PORT]`.")),
    responses(
        (status = 200, description = "The other logins.", body = Vec<LoginView>),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn log_out(State(state): State<ApiState>, Name(host): Name) -> Answer<Json<Vec<LoginView>>> {
    let request = Request::LogOut { host };
    state.handle.request::<Reply>(request).await?;
    list(State(state)).await
}
