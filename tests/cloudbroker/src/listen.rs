//! A listening address that can be closed and opened again; its port stays reserved meanwhile.

use crate::{locked, server, simulator::Shared};
use axum::extract::Request;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpSocket, task::JoinHandle};
use tower::{make::Shared as Make, service_fn};

/// Backlog of connections.
const BACKLOG: u32 = 1024;

/// Handle to stop a server, and its task.
type Serving = (Handle<SocketAddr>, JoinHandle<io::Result<()>>);

/// One address and its server.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    /// Bound but never listening: it reserves the port, and clients are refused while the server is
    /// down.
    _claim: TcpSocket,
    tls: Option<RustlsConfig>,
    open: Mutex<Option<Serving>>,
}

impl Door {
    /// Claims the address, without listening yet.
    pub(crate) fn claim(address: SocketAddr, tls: Option<RustlsConfig>) -> io::Result<Self> {
        let claim = bound(address)?;
        Ok(Self {
            address: claim.local_addr()?,
            _claim: claim,
            tls,
            open: Mutex::new(None),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn open(&self, shared: &Arc<Shared>) -> io::Result<()> {
        let mut open = locked(&self.open);
        if open.is_some() {
            return Ok(());
        }
        let listener = bound(self.address)?.listen(BACKLOG)?.into_std()?;
        let handle = Handle::new();
        let shared = shared.clone();
        let service = service_fn(move |request: axum::http::Request<_>| {
            server::serve(shared.clone(), Request::map(request, axum::body::Body::new))
        });
        let make = Make::new(service);
        let serving = match self.tls.clone() {
            None => tokio::spawn(
                axum_server::from_tcp(listener)?
                    .handle(handle.clone())
                    .http1_only()
                    .serve(make),
            ),
            Some(tls) => tokio::spawn(
                axum_server::from_tcp_rustls(listener, tls)?
                    .handle(handle.clone())
                    .http1_only()
                    .serve(make),
            ),
        };
        *open = Some((handle, serving));
        Ok(())
    }

    /// Stops listening and cuts every connection. The returned task ends once the listener is
    /// closed.
    pub(crate) fn shut(&self) -> Option<JoinHandle<io::Result<()>>> {
        let (handle, serving) = locked(&self.open).take()?;
        handle.shutdown();
        Some(serving)
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}
