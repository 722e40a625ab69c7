//! The sockets of the name server. One task answers over UDP; each connection over TCP has its own.

use super::{
    message::{Transport, answer},
    zone::Zone,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Upper bound for open TCP connections.
const CONNECTIONS: usize = 1_000;

/// Time for a query over TCP, and for its answer to be taken.
const IDLE: Duration = Duration::from_secs(10);

/// Upper bound for the bytes of a query.
const QUERY_MAX: usize = 4_096;

/// Pause after a fault of the sockets.
const PAUSE: Duration = Duration::from_millis(100);

/// The address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for DNS on {address}: {cause}")]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

/// A name server that does not answer yet.
#[derive(Debug)]
pub struct Dns {
    udp: UdpSocket,
    tcp: TcpListener,
    zone: Arc<Zone>,
}

impl Dns {
    /// Listens on an address, over UDP and TCP.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(address: SocketAddr, zone: Zone) -> Result<Self, BindError> {
        let failed = |cause| BindError { address, cause };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        // The same port, also if the system chose it.
        let same = tcp.local_addr().map_err(failed)?;
        Ok(Self {
            udp: UdpSocket::bind(same).await.map_err(failed)?,
            tcp,
            zone: Arc::new(zone),
        })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's message.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Answers for ever.
    pub async fn serve(self) {
        tokio::join!(
            serve_udp(&self.udp, &self.zone),
            serve_tcp(&self.tcp, &self.zone)
        );
    }
}

async fn serve_udp(socket: &UdpSocket, zone: &Zone) {
    let mut query = [0; QUERY_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else {
            sleep(PAUSE).await;
            continue;
        };
        if !is_private(from.ip()) {
            continue;
        }
        if let Some(answer) = answer(zone, &query[..length], Transport::Udp) {
            // A client that is gone needs no answer.
            drop(socket.send_to(&answer, from).await);
        }
    }
}

async fn serve_tcp(listener: &TcpListener, zone: &Arc<Zone>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            continue;
        };
        if !is_private(from.ip()) {
            continue;
        }
        let zone = zone.clone();
        tokio::spawn(async move {
            // A connection that breaks is the client's matter.
            drop(connection(stream, &zone).await);
            drop(permit);
        });
    }
}

async fn connection(mut stream: TcpStream, zone: &Zone) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut query = vec![0; usize::from(length).min(QUERY_MAX)];
        if usize::from(length) > QUERY_MAX {
            return Ok(());
        }
        timeout(IDLE, stream.read_exact(&mut query)).await??;
        let Some(answer) = answer(zone, &query, Transport::Tcp) else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

/// Addresses that are answered: of this machine and of private networks.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}
