//! The Swarm's worker token: reading and rotation.

use super::ATTEMPTS;
use crate::engine::{EngineError, JoinFacts, docker::ask};
use bollard::{Docker, query_parameters::UpdateSwarmOptions};

/// Returns the managers' addresses and the valid token.
pub(super) async fn facts(docker: &Docker) -> Result<JoinFacts, EngineError> {
    let info = ask(
        || "ask the engine for the Swarm's managers".to_owned(),
        docker.info(),
    );
    let swarm = ask(
        || "ask the engine for the Swarm's join token".to_owned(),
        docker.inspect_swarm(),
    );
    let (info, swarm) = tokio::try_join!(info, swarm)?;
    let peers = info
        .swarm
        .and_then(|swarm| swarm.remote_managers)
        .unwrap_or_default();
    let mut managers: Vec<String> = peers.into_iter().filter_map(|peer| peer.addr).collect();
    managers.sort();
    let token = swarm
        .join_tokens
        .and_then(|tokens| tokens.worker)
        .filter(|token| !token.is_empty());
    match token {
        Some(token) if !managers.is_empty() => Ok(JoinFacts { managers, token }),
        _ => Err(EngineError::Unavailable(
            "the engine does not say how machines join its Swarm".to_owned(),
        )),
    }
}

/// Rotates the token. Nothing else of the Swarm is changed.
pub(super) async fn rotate(docker: &Docker) -> Result<(), EngineError> {
    for _ in 0..ATTEMPTS {
        if try_rotate(docker).await? {
            return Ok(());
        }
    }
    Err(EngineError::Unavailable(format!(
        "cannot renew the Swarm's worker token: the Swarm was changed by others {ATTEMPTS} times in a row"
    )))
}

/// Tries once; `false` if somebody else changed the Swarm in between.
async fn try_rotate(docker: &Docker) -> Result<bool, EngineError> {
    let swarm = ask(|| "look at the Swarm".to_owned(), docker.inspect_swarm()).await?;
    let version = swarm
        .version
        .and_then(|version| version.index)
        .and_then(|index| i64::try_from(index).ok())
        .unwrap_or_default();
    let options = UpdateSwarmOptions {
        version,
        rotate_worker_token: true,
        ..Default::default()
    };
    match ask(
        || "renew the Swarm's worker token".to_owned(),
        docker.update_swarm(swarm.spec.unwrap_or_default(), options),
    )
    .await
    {
        Ok(()) => Ok(true),
        Err(EngineError::Refused(text) | EngineError::Unavailable(text))
            if text.contains("update out of sequence") =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
