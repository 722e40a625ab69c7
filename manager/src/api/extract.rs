//! Extractors for bodies, queries and paths, with refusals in our own words.

use super::refusal::Refusal;
use axum::{
    Json,
    extract::{self, FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use micado_api::{ErrorBody, ErrorCode};
use serde::de::DeserializeOwned;
use std::str::FromStr;

pub(super) struct Body<T>(pub(super) T);

/// Query string.
pub(super) struct Query<T>(pub(super) T);

/// The one name in the path, checked if its type is one of names.
pub(super) struct Name<T = String>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let extract::Query(query) = extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

impl<S: Send + Sync, T: FromStr<Err: ToString>> FromRequestParts<S> for Name<T> {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let extract::Path(name) = extract::Path::<String>::from_request_parts(parts, state).await?;
        let refuse = |error: T::Err| ErrorBody::new(ErrorCode::BadRequest, error.to_string());
        Ok(Self(name.parse().map_err(refuse)?))
    }
}
