//! The catalogue of services, and those who read it: Consul's interface and DNS.

use crate::{
    api::{Api, Consul, ConsulListen, Token, Tokens},
    catalogue::{Catalogue, Keeper, manager_node},
    cli::args::{DnsAddress, ManagerArgs},
    control::Handle,
    dns::{Dns, Zone},
};
use anyhow::{Context, Result, anyhow};
use micado_api::ClusterId;
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// Servers of the catalogue that do not answer yet; none if none is wanted.
pub(super) struct Names {
    consul: Option<Consul>,
    dns: Option<Dns>,
}

/// True if somebody may read the catalogue: else it is not kept.
pub(super) fn is_wanted(args: &ManagerArgs) -> bool {
    args.consul.is_some() || args.consul_tls.is_some() || args.dns.is_some()
}

/// Keeps the catalogue from now on, and listens for those who read it. `address` is the advertised
/// one.
pub(super) async fn offer(
    args: &ManagerArgs,
    state: &Path,
    handle: &Handle,
    cluster: &ClusterId,
    address: &str,
    api: &Api,
) -> Result<Names> {
    if !is_wanted(args) {
        return Ok(Names {
            consul: None,
            dns: None,
        });
    }
    let catalogue = Catalogue::default();
    let listen = ConsulListen {
        plain: args.consul,
        tls: args.consul_tls,
    };
    let consul = match listen.is_off() {
        true => None,
        false => {
            let tokens = Tokens {
                all: Token::load_or_make(state)?,
                reader: Token::of_readers(state)?,
            };
            let own = manager_node(cluster, address);
            let bound = Consul::bind(&listen, api.tls(), catalogue.clone(), tokens, own);
            let bound = bound.context("Consul's interface")?;
            let [plain, tls] = bound.addresses()?;
            tracing::info!(?plain, ?tls, "the service catalogue is offered");
            Some(bound)
        }
    };
    let dns = match args.dns {
        None => None,
        Some(at) => {
            let zone = Zone {
                catalogue: catalogue.clone(),
                own: address.parse().ok(),
                ttl: args.dns_ttl,
            };
            let dns = Dns::bind(dns_address(at, address)?, zone).await?;
            tracing::info!(address = %dns.address()?, "DNS is answered for the zone `micado`");
            Some(dns)
        }
    };
    let keeper = Keeper {
        catalogue,
        handle: handle.clone(),
        cluster: cluster.clone(),
        address: address.to_owned(),
    };
    tokio::spawn(keeper.run());
    Ok(Names { consul, dns })
}

fn dns_address(at: DnsAddress, advertised: &str) -> Result<SocketAddr> {
    match at {
        DnsAddress::At(address) => Ok(address),
        DnsAddress::Port(port) => {
            let address: IpAddr = advertised.parse().map_err(|_| {
                anyhow!("the advertised address `{advertised}` is a host name: name an address with --dns ADDR:PORT")
            })?;
            Ok((address, port).into())
        }
    }
}

impl Names {
    /// Answers until `stop` resolves.
    pub(super) async fn serve(
        self,
        handle: Handle,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let consul = async {
            match self.consul {
                Some(consul) => consul
                    .serve(handle, stop)
                    .await
                    .context("Consul's interface failed"),
                None => {
                    stop.await;
                    Ok(())
                }
            }
        };
        let dns = async {
            match self.dns {
                Some(dns) => dns.serve().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            served = consul => served,
            () = dns => Ok(()),
        }
    }
}
