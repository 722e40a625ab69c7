//! CPU of the agent's health checks: 100 of each kind every 2 s, on a server of this process that
//! answers at once. Needs no engine: a fake one tells where the containers are.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use micado_api::{
    HealthCheck, Probe,
    agent::{AgentCheck, FromAgent},
    health::HealthState,
};
use micado_node_agent::{
    engine::Engine,
    health::{Checker, Seen},
    mailbox::Mailbox,
};
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::net::UnixListener;

const CHECKS: usize = 100;
const MEASURED: Duration = Duration::from_secs(30);

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("engine.sock");
    let server = serve();
    let path = socket.clone();
    thread::spawn(move || engine(&path, server));
    for (kind, probe) in [
        ("TCP", Probe::Tcp { port: Some(80) }),
        (
            "HTTP",
            Probe::Http {
                port: Some(80),
                path: "/up".to_owned(),
                status: None,
            },
        ),
    ] {
        measure(kind, &probe, socket.clone());
    }
}

/// CPU of a thread with the agent's checks alone.
fn measure(kind: &str, probe: &Probe, socket: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mailbox = Arc::new(Mailbox::default());
        let checker = Checker::new(Engine::at(socket), Arc::clone(&mailbox));
        checker.set((0..CHECKS).map(|number| check(number, probe)).collect());
        for number in 0..CHECKS {
            checker.runs(&format!("id{number}"), &name(number), Seen::Starts);
        }
        all_healthy(&mailbox).await;
        let (cpu, begun) = (cpu_now(), Instant::now());
        tokio::time::sleep(MEASURED).await;
        let (cpu, wall) = (cpu_now() - cpu, begun.elapsed());
        let share = cpu.as_secs_f64() / wall.as_secs_f64();
        let each = cpu.as_secs_f64() / (wall.as_secs_f64() / 2.0 * CHECKS as f64);
        println!(
            "{CHECKS} {kind} checks every 2 s: {:.2} % of a core, {:.0} us each",
            share * 100.0,
            each * 1e6
        );
    });
}

fn name(number: usize) -> String {
    format!("c-a-{number}")
}

fn check(number: usize, probe: &Probe) -> AgentCheck {
    let check = HealthCheck {
        probe: Some(probe.clone()),
        ..HealthCheck::default()
    };
    check.by_agent(&name(number), None).expect("a check")
}

async fn all_healthy(mailbox: &Mailbox) {
    let mut healthy = BTreeSet::new();
    while healthy.len() < CHECKS {
        let frame = serde_json::from_str(&mailbox.next().await).expect("a frame");
        let FromAgent::Health { reports } = frame else {
            continue;
        };
        let good = reports.into_iter();
        let good = good.filter(|report| report.health == HealthState::Healthy);
        healthy.extend(good.map(|report| report.service));
    }
}

fn cpu_now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |part: i64| u64::try_from(part).expect("a time");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// Answers every connection with an empty success, on threads of its own.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    for _ in 0..4 {
        let listener = listener.try_clone().expect("the same");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut request = [0; 1024];
                if stream.read(&mut request).is_ok_and(|read| read > 0) {
                    drop(stream.write_all(
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    ));
                }
            }
        });
    }
    address
}

/// An engine whose containers all publish port 80 at this address.
fn engine(socket: &Path, at: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).expect("a socket");
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(move |request: Request<Incoming>| async move {
                let body = match request.uri().path().starts_with("/containers/") {
                    true => serde_json::json!({
                        "State": { "Pid": 1, "StartedAt": "", "ExitCode": 0, "OOMKilled": false },
                        "Config": { "Tty": false },
                        "NetworkSettings": { "Ports": { "80/tcp": [
                            { "HostIp": at.ip().to_string(), "HostPort": at.port().to_string() },
                        ] } },
                    }),
                    false => serde_json::json!({ "Containers": {} }),
                };
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body.to_string())))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
}
