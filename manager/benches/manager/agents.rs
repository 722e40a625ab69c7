//! The agents of all machines, in a process of their own: each has a connection with its instance's
//! certificate and reports its containers every 2 s.

use futures_util::{SinkExt, StreamExt};
use micado_api::{
    InstanceId, MemoryBytes,
    agent::{ContainerSample, FromAgent, MachineSample, SampleBatch},
};
use micado_manager::{clock, pki::Pki};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, interval_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

/// The word for this process.
pub const PART: &str = "agents";
/// A file in the manager's state folder: a line for each copy, with its instance and its Swarm
/// service.
pub const PLACED: &str = "placed";

/// Between two batches.
const INTERVAL: Duration = Duration::from_secs(2);

/// Connects all, says so, and reports until the process is killed.
pub async fn run(address: &str, state: &Path) {
    let pki = Pki::open(&state.join("pki")).expect("an authority");
    let placed = std::fs::read_to_string(state.join(PLACED)).expect("a file");
    let mut machines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (instance, service) in placed.lines().filter_map(|line| line.split_once(' ')) {
        machines
            .entry(instance)
            .or_default()
            .push(service.to_owned());
    }
    // Agents of machines without containers report too.
    let all: Vec<String> = (0..crate::rig::MACHINES)
        .map(|number| crate::fake::instance_id(number).to_string())
        .collect();
    for instance in &all {
        machines.entry(instance).or_default();
    }
    for (number, (instance, services)) in machines.into_iter().enumerate() {
        let socket = connect(address, &pki, &InstanceId::trusted(instance)).await;
        // Not all of them at once.
        let begin = Instant::now() + INTERVAL * u32::try_from(number % 100).unwrap_or(0) / 100;
        tokio::spawn(report(socket, services, begin));
    }
    println!("connected");
    std::future::pending::<()>().await;
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn connect(address: &str, pki: &Pki, instance: &InstanceId) -> Socket {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate(pki.authority()))
        .expect("an authority");
    let identity = pki.client_certificate(instance.as_str());
    let identity = identity.expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(&identity.certificate)], key)
        .expect("an identity");
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = stream.await.expect("a handshake");
    let (mut socket, _) = client_async("wss://localhost/v1/agent", stream)
        .await
        .expect("a WebSocket");
    let hello = FromAgent::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run: instance.to_string(),
        cgroup: 2,
    };
    socket.send(text(&hello)).await.expect("sent");
    socket
}

fn text(frame: &FromAgent) -> Message {
    Message::text(serde_json::to_string(frame).expect("JSON"))
}

/// Sends a message in pieces, as the agent does.
async fn send(socket: &mut Socket, message: &FromAgent) -> tungstenite::Result<()> {
    let text = serde_json::to_string(message).expect("JSON");
    let pieces = text.as_bytes().chunks(2 << 10);
    let last = pieces.len() - 1;
    for (number, piece) in pieces.enumerate() {
        let data = if number == 0 {
            Data::Text
        } else {
            Data::Continue
        };
        let frame = Frame::message(piece.to_vec(), OpCode::Data(data), number == last);
        socket.feed(Message::Frame(frame)).await?;
    }
    socket.flush().await
}

async fn report(mut socket: Socket, services: Vec<String>, begin: Instant) {
    let (mut turns, mut sequence) = (interval_at(begin, INTERVAL), 0);
    loop {
        tokio::select! {
            _ = turns.tick() => {
                sequence += 1;
                let batch = FromAgent::Samples(batch(&services, sequence));
                if send(&mut socket, &batch).await.is_err() {
                    return;
                }
            }
            answer = socket.next() => if !matches!(answer, Some(Ok(_))) {
                return;
            },
        }
    }
}

fn batch(services: &[String], sequence: u64) -> SampleBatch {
    let container = |(number, service): (usize, &String)| ContainerSample {
        id: format!("{number:064x}"),
        service: Some(service.clone()),
        started_at: Some(micado_api::Timestamp(1)),
        cpu_ns: sequence * (10_000_000 + number as u64 * 1_000_000),
        working_set: MemoryBytes((50 << 20) + ((sequence % 100) << 16)),
        working_set_peak: MemoryBytes(60 << 20),
        memory_limit: Some(MemoryBytes::mib(256)),
        received: sequence * 20_000,
        sent: sequence * 200_000,
        ..ContainerSample::default()
    };
    SampleBatch {
        sequence,
        at: clock::now(),
        late: false,
        machine: MachineSample {
            steady_ms: Some(sequence * 2000),
            memory_total: MemoryBytes::mib(16_384),
            memory_left: MemoryBytes::mib(12_000),
            cpu_ns: sequence * 400_000_000,
            cores: 8_000_000_000,
            load: Some(0.5),
            disk_left: 80 << 30,
            disk_total: 100 << 30,
        },
        containers: services.iter().enumerate().map(container).collect(),
    }
}
