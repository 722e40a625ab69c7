//! The image registry: the manager's own, or an external one.

use crate::{
    cli::args::ManagerArgs,
    engine::swarm::Swarm,
    pki::{Identity, Pki},
    registry::{ExternalRegistry, OwnRegistry, Registry},
};
use anyhow::{Context, Result};
use micado_api::ClusterId;
use std::{path::PathBuf, sync::Arc};

/// Opens the registry that nodes pull from. It may not be ready yet.
pub(super) async fn open(
    args: &ManagerArgs,
    swarm: &Swarm,
    pki: &Arc<Pki>,
    address: &str,
) -> Result<Registry> {
    let registry = match external_registry(args)? {
        Some(told) => Registry::external(swarm.docker().clone(), &told)?,
        None => {
            let own = own_registry(args, swarm.cluster(), address);
            Registry::run(swarm.docker().clone(), pki, &own).await?
        }
    };
    if let Err(error) = registry.ready().await {
        tracing::warn!(%error, "the registry is not ready; images are pushed once it is");
    }
    Ok(registry)
}

/// The external registry, if one is configured.
fn external_registry(args: &ManagerArgs) -> Result<Option<ExternalRegistry>> {
    let (Some(host), Some(authority), Some(certificate), Some(key)) = (
        &args.registry,
        &args.registry_ca,
        &args.registry_cert,
        &args.registry_key,
    ) else {
        return Ok(None);
    };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let client = Identity {
        certificate: read(certificate)?,
        key: read(key)?,
    };
    Ok(Some(ExternalRegistry {
        host: host.clone(),
        authority: read(authority)?,
        client,
        certs_dir: args.registry_certs_dir.clone(),
    }))
}

/// The registry that the manager runs.
fn own_registry(args: &ManagerArgs, cluster: &ClusterId, address: &str) -> OwnRegistry {
    let certs_dir = args.registry_certs_dir.clone();
    OwnRegistry {
        port: args.registry_port,
        push_port: args.registry_push_port,
        certs_dir,
        socket: args.engine.strip_prefix("unix://").map(PathBuf::from),
        ..OwnRegistry::new(cluster.clone(), address.to_owned())
    }
}
