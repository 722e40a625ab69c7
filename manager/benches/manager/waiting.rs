//! 1,000 queries of Consul's interface that wait for one service: their memory, and the time from a
//! change to their answers. The clients are a process of their own.

use crate::{
    memory::{mib, own, status},
    report,
    rig::Rig,
};
use micado_api::{ClusterId, RegisterRequest};
use micado_manager::{
    api::{Consul, ConsulListen, Token, Tokens},
    catalogue::{Catalogue, Keeper, manager_node},
    control::{Reply, Request},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Stdio,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::sleep,
};

/// The word for the process of the clients.
pub const PART: &str = "waiting-clients";

const CLIENTS: usize = 1_000;
const ROUNDS: usize = 20;
const SERVICE: &str = "bench";

pub async fn run() {
    let rig = Rig::with_catalogue().await;
    let (address, token) = offer(&rig).await;
    change(&rig, 0).await;
    sleep(Duration::from_millis(500)).await;
    let before = status("RssAnon");
    let mut child = own(&[PART, &address.to_string(), &token])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the clients");
    let mut lines = BufReader::new(child.stdout.take().expect("their output")).lines();
    let (mut all, mut last) = (Vec::new(), Vec::new());
    let mut waiting = 0;
    for round in 1..=ROUNDS {
        // All have read the state before, and wait.
        lines.next_line().await.expect("a line");
        sleep(Duration::from_millis(300)).await;
        waiting = waiting.max(status("RssAnon"));
        let begun = now();
        change(&rig, round).await;
        let line = lines.next_line().await.expect("a line").expect("a round");
        let mut took: Vec<Duration> = line
            .split_whitespace()
            .map(|at| Duration::from_micros(at.parse().expect("a number")).saturating_sub(begun))
            .collect();
        took.sort();
        assert_eq!(took.len(), CLIENTS);
        all.extend(took.iter().copied());
        last.extend(took.last().copied());
    }
    let of = format!("{CLIENTS} waiting queries");
    println!(
        "{of}: {} MiB, {:.1} KiB each",
        mib(waiting.saturating_sub(before)),
        waiting.saturating_sub(before) as f64 / CLIENTS as f64
    );
    all.sort();
    let p99 = all[all.len() * 99 / 100].as_secs_f64() * 1e3;
    println!("{of}: from a request to register to an answer: p99 {p99:.1} ms");
    report(&format!("{of}, each"), all);
    report(&format!("{of}, the last of a change"), last);
    drop(child);
    rig.stop().await;
}

/// Offers the catalogue in the clear; returns its address and the token.
async fn offer(rig: &Rig) -> (SocketAddr, String) {
    let cluster = ClusterId::trusted("bench");
    let catalogue = Catalogue::default();
    let keeper = Keeper {
        catalogue: catalogue.clone(),
        handle: rig.handle.clone(),
        cluster: cluster.clone(),
        address: "10.0.0.1".to_owned(),
    };
    tokio::spawn(keeper.run());
    let tokens = Tokens {
        all: Token::load_or_make(rig.state()).expect("a token"),
        reader: Token::of_readers(rig.state()).expect("a token"),
    };
    let token = std::fs::read_to_string(rig.state().join("consul-token")).expect("a token");
    let listen = ConsulListen {
        plain: Some(([127, 0, 0, 1], 0).into()),
        tls: None,
    };
    let own = manager_node(&cluster, "10.0.0.1");
    let consul = Consul::bind(&listen, rig.tls.clone(), catalogue.clone(), tokens, own);
    let consul = consul.expect("bound");
    let [address, _] = consul.addresses().expect("addresses");
    let handle = rig.handle.clone();
    tokio::spawn(async move {
        let (keep, never) = oneshot::channel::<()>();
        let served = consul.serve(handle, async { drop(never.await) }).await;
        drop(keep);
        served
    });
    while !catalogue.is_complete() {
        sleep(Duration::from_millis(10)).await;
    }
    (address.expect("it listens"), token.trim().to_owned())
}

async fn change(rig: &Rig, round: usize) {
    let request = RegisterRequest {
        service: SERVICE.to_owned(),
        address: "10.0.0.9".to_owned(),
        port: 5432,
        tags: vec![format!("round={round}")],
        meta: BTreeMap::new(),
    };
    let request = Request::Register {
        id: SERVICE.to_owned(),
        request: Box::new(request),
    };
    let made = rig.handle.request::<Reply>(request).await;
    made.expect("registered");
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a time after 1970")
}

/// The clients: a line when all wait, and a line with the times of their answers, for each round.
pub async fn clients(address: &str, token: &str) {
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let stream = TcpStream::connect(address).await.expect("a connection");
        streams.push((stream, 0));
    }
    for round in 0..=ROUNDS {
        let mut asked = JoinSet::new();
        for (stream, index) in streams.drain(..) {
            asked.spawn(ask(stream, index, token.to_owned()));
            // The first answers come at once; later ones with the next change.
        }
        if round > 0 {
            println!("waiting");
        }
        let answers = asked.join_all().await;
        let times = answers.iter().map(|(at, ..)| at.as_micros().to_string());
        if round > 0 {
            println!("{}", times.collect::<Vec<_>>().join(" "));
        }
        streams.extend(
            answers
                .into_iter()
                .map(|(_, stream, index)| (stream, index)),
        );
    }
}

/// Asks on a connection; returns when the answer came, and its index.
async fn ask(mut stream: TcpStream, index: u64, token: String) -> (Duration, TcpStream, u64) {
    let request = format!(
        "GET /v1/health/service/{SERVICE}?index={index}&wait=60s HTTP/1.1\r\nhost: x\r\nx-consul-token: {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).await.expect("read");
        assert_ne!(read, 0, "the connection was closed");
        answer.extend_from_slice(&piece[..read]);
        if answer.ends_with(b"}]") {
            break;
        }
    }
    let text = String::from_utf8(answer).expect("text");
    let index = text
        .lines()
        .find_map(|line| line.strip_prefix("x-consul-index: "))
        .and_then(|index| index.parse().ok());
    (now(), stream, index.expect("an index"))
}
