//! One check: a TCP connection, or a GET on one of its own. Nothing is kept between two checks.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use micado_api::{Probe, agent::AgentCheck, foreign::excerpt, health::LONGEST_FAILURE};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// Upper bound for the head of an answer, in bytes. The body is not read.
const HEAD: usize = 16 << 10;

/// Makes one check.
///
/// # Errors
/// The reason of its failure, for people.
pub async fn check(check: &AgentCheck, target: SocketAddr) -> Result<(), String> {
    let limit = Duration::from_millis(check.timeout_ms);
    let port = check.probe.port().unwrap_or_default();
    let outcome = match &check.probe {
        Probe::Tcp { .. } => match timeout(limit, TcpStream::connect(target)).await {
            Ok(connected) => connected
                .map(drop)
                .map_err(|error| error.kind().to_string()),
            Err(_) => Err(format!("no connection in {} s", limit.as_secs_f64())),
        },
        Probe::Http { path, status, .. } => {
            let host = check.host.clone();
            let host = host.unwrap_or_else(|| SocketAddr::new(target.ip(), port).to_string());
            match timeout(limit, get(target, path, &host)).await {
                Ok(answer) => answer.and_then(|answer| judge(answer, *status)),
                Err(_) => Err(format!("no answer in {} s", limit.as_secs_f64())),
            }
        }
    };
    outcome.map_err(|failure| {
        let failure = match &check.probe {
            Probe::Tcp { .. } => format!("port {port}: {failure}"),
            Probe::Http { path, .. } => format!("GET {path} at port {port}: {failure}"),
        };
        excerpt(&failure, LONGEST_FAILURE)
    })
}

fn judge(answer: StatusCode, wanted: Option<u16>) -> Result<(), String> {
    let status = answer.as_u16();
    match wanted {
        Some(wanted) if wanted == status => Ok(()),
        Some(wanted) => Err(format!("status {status}, not {wanted}")),
        None if (200..400).contains(&status) => Ok(()),
        None => Err(format!("status {status}, not 200 to 399")),
    }
}

/// Status of the answer to a GET. The connection is closed once its head has come.
async fn get(target: SocketAddr, path: &str, host: &str) -> Result<StatusCode, String> {
    let no_http = |error: hyper::Error| format!("no HTTP answer: {error}");
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "micado-health")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(target).await;
    let stream = stream.map_err(|error| error.kind().to_string())?;
    let mut builder = http1::Builder::new();
    let connection = builder.max_buf_size(HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = connection.await.map_err(no_http)?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    let mut is_over = false;
    loop {
        tokio::select! {
            answer = &mut answer => return answer.map(|it| it.status()).map_err(no_http),
            _ = &mut connection, if !is_over => is_over = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::HealthCheck;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    fn checked(probe: Probe) -> AgentCheck {
        let check = HealthCheck {
            probe: Some(probe),
            timeout_ms: Some(300),
            ..HealthCheck::default()
        };
        check.by_agent("c-a-1", None).expect("a check")
    }

    fn http(path: &str, status: Option<u16>) -> AgentCheck {
        checked(Probe::Http {
            port: Some(8080),
            path: path.to_owned(),
            status,
        })
    }

    /// A server that answers each connection with these bytes, and returns the last request.
    async fn answered(answer: &'static [u8], of: AgentCheck) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            stream.write_all(answer).await.expect("written");
            // It keeps the connection open: only the head is waited for.
            tokio::time::sleep(Duration::from_millis(400)).await;
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let outcome = check(&of, target).await;
        (outcome, server.await.expect("it ends"))
    }

    #[tokio::test]
    async fn the_status_counts_and_the_body_is_not_waited_for() {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        let (outcome, request) = answered(ok, http("/up?a=b", None)).await;
        assert_eq!(outcome, Ok(()));
        let request = request.to_lowercase();
        assert!(request.starts_with("get /up?a=b http/1.1\r\n"), "{request}");
        assert!(request.contains("connection: close") && request.contains("host: 127.0.0.1:8080"));
        let (outcome, _) = answered(ok, http("/", Some(204))).await;
        let said = "GET / at port 8080: status 200, not 204".to_owned();
        assert_eq!(outcome, Err(said));
        let found = b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n";
        assert_eq!(answered(found, http("/", None)).await.0, Ok(()));
        let bad = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";
        let said = "GET / at port 8080: status 503, not 200 to 399".to_owned();
        assert_eq!(answered(bad, http("/", None)).await.0, Err(said));
        // An answer on the way to the real one.
        let interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(answered(interim, http("/", Some(204))).await.0, Ok(()));
    }

    #[tokio::test]
    async fn what_is_no_answer_fails_with_a_short_reason() {
        let (slow, _) = answered(b"HTTP/1.1 200", http("/", None)).await;
        let said = "GET / at port 8080: no answer in 0.3 s".to_owned();
        assert_eq!(slow, Err(said));
        let (foreign, _) = answered(b"SSH-2.0-OpenSSH\x1b[2J\r\n", http("/", None)).await;
        let foreign = foreign.expect_err("no HTTP");
        assert!(
            foreign.contains("no HTTP answer") && !foreign.contains('\u{1b}'),
            "{foreign}"
        );
        const ENDLESS: &[u8] = &[b'x'; 40 << 10];
        let (endless, _) = answered(ENDLESS, http("/", None)).await;
        assert!(endless.expect_err("no HTTP").len() < 300);
    }

    #[tokio::test]
    async fn a_closed_port_fails_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = listener.local_addr().expect("an address");
        let tcp = checked(Probe::Tcp { port: Some(5432) });
        assert_eq!(check(&tcp, target).await, Ok(()));
        drop(listener);
        let said = "port 5432: connection refused".to_owned();
        assert_eq!(check(&tcp, target).await, Err(said));
        let said = "GET / at port 8080: connection refused".to_owned();
        assert_eq!(check(&http("/", None), target).await, Err(said));
    }
}
