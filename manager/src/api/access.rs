//! Access of people to the cluster's registry, to read: a certificate for some hours.

use super::{
    ApiState, Routes,
    extract::Body,
    refusal::{Answer, Refusal},
};
use crate::{
    clock,
    pki::{Csr, PERSON, PERSON_LIFE},
};
use axum::{Json, extract::State};
use micado_api::{AccessRequest, AccessView, ErrorBody, ErrorCode};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(grant))
}

/// Signs a certificate with which a program reads the cluster's registry, such as docker or skopeo.
/// Pushes are the manager's alone.
#[utoipa::path(post, path = "/v1/registry/access", operation_id = "registry_access", tag = "images", request_body = AccessRequest, responses(
    (status = 200, description = "The certificate.", body = AccessView),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn grant(
    State(state): State<ApiState>,
    Body(request): Body<AccessRequest>,
) -> Answer<Json<AccessView>> {
    let gate = &state.gate;
    let own = gate.registry.is_own();
    own.map_err(|error| Refusal::engine("access to the registry", error))?;
    let unusable = |words| {
        let message = format!("the request for a certificate is unusable: {words}");
        ErrorBody::new(ErrorCode::BadRequest, message)
    };
    let csr = Csr::parse(&request.csr).map_err(unusable)?;
    let signed = gate.pki.sign_request(&csr, PERSON, PERSON_LIFE);
    let signed = signed.map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))?;
    let access = gate.registry.access(&signed);
    Ok(Json(AccessView {
        host: access.host,
        authority: access.authority,
        certificate: access.certificate,
        expires_at: clock::now().plus(PERSON_LIFE),
    }))
}
