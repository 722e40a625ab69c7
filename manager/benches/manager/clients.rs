//! Clients that launch one container at a time, over HTTPS.

use crate::rig::{MACHINES, Rig, launch};
use micado_mongod::Server;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::Barrier,
    task::{JoinSet, spawn_blocking},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const CLIENTS: usize = 64;
/// Containers that each client launches in a run.
const EACH: usize = 100;
const RUNS: usize = 5;

pub async fn run() {
    for run in 0..2 {
        let server = (run == 1).then(|| tokio::task::block_in_place(|| Server::start(1)));
        let (mut rates, mut times, mut behind) = (vec![], vec![], vec![]);
        for round in 0..RUNS {
            let url = server.as_ref().map(|it| it.url(&format!("bench{round}")));
            let rig = Rig::start(url.as_deref()).await;
            let measured = round_of(&rig).await;
            let begun = Instant::now();
            rig.until_running(CLIENTS * EACH).await;
            behind.push(begun.elapsed().as_secs_f64());
            rig.stop().await;
            rates.push((CLIENTS * EACH) as f64 / measured.whole.as_secs_f64());
            times.extend(measured.each);
        }
        let store = if run == 0 { "embedded" } else { "MongoDB" };
        print(store, rates, times, behind);
    }
}

fn print(store: &str, mut rates: Vec<f64>, mut times: Vec<Duration>, mut behind: Vec<f64>) {
    rates.sort_by(f64::total_cmp);
    times.sort();
    behind.sort_by(f64::total_cmp);
    let ms = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{MACHINES} machines, {CLIENTS} clients over HTTPS, {store} store: median {:.0} launches/s (min {:.0}, max {:.0}, n {RUNS}); a launch: median {:.1} ms, 99 % within {:.1}; all run {:.2} s after the last",
        rates[RUNS / 2],
        rates[0],
        rates[RUNS - 1],
        ms(0.5),
        ms(0.99),
        behind[RUNS / 2],
    );
}

/// The time of a whole run, and of each launch in it.
struct Measured {
    whole: Duration,
    each: Vec<Duration>,
}

/// All clients, on a thread of their own beside those of the manager.
async fn round_of(rig: &Rig) -> Measured {
    let authority = std::fs::read(rig.state().join("ca.crt")).expect("the authority");
    let token = std::fs::read_to_string(rig.state().join("token")).expect("the token");
    let address = rig.address;
    let work = move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime")
            .block_on(all(address, tls(&authority), token.trim()))
    };
    spawn_blocking(work).await.expect("the clients end")
}

fn tls(authority: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

async fn all(address: SocketAddr, tls: TlsConnector, token: &str) -> Measured {
    let ready = Arc::new(Barrier::new(CLIENTS + 1));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut connection = Connection::open(address, &tls, token).await;
        let ready = ready.clone();
        clients.spawn(async move {
            ready.wait().await;
            let mut times = Vec::with_capacity(EACH);
            for launched in 0..EACH {
                let client = format!("client{number}");
                let request = launch(&client, &format!("{client}-{launched}"), 1);
                let begun = Instant::now();
                connection.post(&request).await;
                times.push(begun.elapsed());
            }
            times
        });
    }
    ready.wait().await;
    let begun = Instant::now();
    let mut each = Vec::new();
    while let Some(times) = clients.join_next().await {
        each.extend(times.expect("a client ends"));
    }
    Measured {
        whole: begun.elapsed(),
        each,
    }
}

/// One connection, kept open. A plain client, so that most of the processor is left to the manager.
struct Connection {
    stream: TlsStream<TcpStream>,
    head: String,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, tls: &TlsConnector, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let name = ServerName::try_from("localhost").expect("a name");
        Self {
            stream: tls.connect(name, stream).await.expect("a handshake"),
            head: format!(
                "POST /v1/containers HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
            ),
            buffer: Vec::new(),
        }
    }

    async fn post(&mut self, request: &micado_api::LaunchRequest) {
        let body = serde_json::to_string(request).expect("JSON");
        let message = format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream
            .write_all(message.as_bytes())
            .await
            .expect("sent");
        self.stream.flush().await.expect("sent");
        self.buffer.clear();
        let mut expected = None;
        while expected.is_none_or(|length| self.buffer.len() < length) {
            let read = self.stream.read_buf(&mut self.buffer).await;
            assert_ne!(read.expect("an answer"), 0, "the connection was closed");
            expected = expected.or_else(|| length(&self.buffer));
        }
        assert!(
            self.buffer.starts_with(b"HTTP/1.1 202 "),
            "{}",
            String::from_utf8_lossy(&self.buffer)
        );
    }
}

/// The length of an answer, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(answer, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("text");
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let (_, body) = lines
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .expect("a length");
    Some(head + body.parse::<usize>().expect("a number"))
}
