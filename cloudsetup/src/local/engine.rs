//! Connections to the hosting engine, and its errors in the broker's terms.

use crate::BrokerError;
use bollard::{
    Docker,
    errors::Error,
    models::{SystemInfo, SystemInfoCgroupVersionEnum},
};
use std::time::Duration;

/// Time-out of a single request. Creating a container on a busy machine takes seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects to an engine that answers, in the newest API version that both sides know.
pub(super) async fn connect(endpoint: &str) -> Result<Docker, Error> {
    let negotiated = Docker::connect_with_host(endpoint)?
        .with_timeout(REQUEST_TIMEOUT)
        .negotiate_version();
    tokio::time::timeout(REQUEST_TIMEOUT, negotiated)
        .await
        .unwrap_or(Err(Error::RequestTimeoutError))
}

/// True if the engine's machine has cgroup version 2.
pub(super) fn unified_cgroups(info: &SystemInfo) -> bool {
    info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2)
}

/// Status of an error response; `None` if there was no response.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Status 4xx is a refusal with the engine's message. Everything else leaves the effect open.
pub(super) fn refused_or_unknown(error: Error) -> BrokerError {
    match error {
        Error::DockerResponseServerError {
            status_code: 400..=499,
            message,
        } => BrokerError::Refused(message),
        Error::DockerResponseServerError { message, .. } => BrokerError::Unknown(message),
        other => BrokerError::Unknown(chain(&other)),
    }
}

/// An error with its causes, which bollard's own text hides.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16) -> Error {
        Error::DockerResponseServerError {
            status_code,
            message: "its words".to_owned(),
        }
    }

    #[test]
    fn only_a_clear_no_is_a_refusal() {
        assert_eq!(
            refused_or_unknown(answer(404)),
            BrokerError::Refused("its words".to_owned())
        );
        assert_eq!(
            refused_or_unknown(answer(500)),
            BrokerError::Unknown("its words".to_owned())
        );
        assert!(matches!(
            refused_or_unknown(Error::RequestTimeoutError),
            BrokerError::Unknown(_)
        ));
    }
}
