//! Replies of the web server, and their side effects.

use std::{
    fmt::Display,
    str::FromStr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub struct Answer {
    /// HTTP status with its phrase.
    pub status: &'static str,
    /// Text for the client.
    pub body: String,
    /// Exit with this code once the client has the reply.
    pub end: Option<i32>,
}

/// State between requests.
pub struct Server {
    host: String,
    requests: AtomicU64,
    held: Mutex<Vec<u8>>,
    load: Load,
    /// Readiness, as people set it.
    is_failing: AtomicBool,
    slow_ms: AtomicU64,
    /// Time until it is ready by itself.
    ready_after: Duration,
    started: Instant,
}

const HELP: &str = "GET / | /healthz | /ready | /fail?on=N (0 ends it) | /slow?ms=N | /metrics | /burn?ms=N | /load?millicores=N (0 ends it) | /alloc?mib=N (0 frees) | /exit?code=N\n";

impl Server {
    /// A server on the host of this name, which is ready after this time.
    pub fn new(host: String, ready_after: Duration) -> Self {
        Self {
            host,
            requests: AtomicU64::new(0),
            held: Mutex::new(Vec::new()),
            load: Load::default(),
            is_failing: AtomicBool::new(false),
            slow_ms: AtomicU64::new(0),
            ready_after,
            started: Instant::now(),
        }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Executes `METHOD TARGET`.
    pub fn answer(&self, request: &str) -> Answer {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(target) = request
            .strip_prefix("GET ")
            .or_else(|| request.strip_prefix("HEAD "))
        else {
            return Answer {
                status: "405 Method Not Allowed",
                body: HELP.into(),
                end: None,
            };
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let done = match path {
            "/" => Ok(format!(
                "micado-web {} on {}: request {count}\n",
                env!("CARGO_PKG_VERSION"),
                self.host
            )),
            "/ready" => return self.readiness(),
            "/fail" => parameter(query, "on").map(|on: u8| {
                self.is_failing.store(on > 0, Ordering::Relaxed);
                format!(
                    "{} {}\n",
                    self.host,
                    if on > 0 { "fails" } else { "is ready" }
                )
            }),
            "/slow" => parameter(query, "ms").map(|ms| {
                self.slow_ms.store(ms, Ordering::Relaxed);
                format!("{} takes {ms} ms to be ready\n", self.host)
            }),
            "/healthz" => Ok("ok\n".into()),
            "/metrics" => Ok(format!(
                "# TYPE web_requests_total counter\nweb_requests_total {count}\n"
            )),
            "/burn" => parameter(query, "ms").map(burn),
            "/load" => parameter(query, "millicores").map(|millis| self.load.set(millis)),
            "/alloc" => parameter(query, "mib").and_then(|mib| self.hold(mib)),
            "/exit" => return exit(query),
            _ => {
                return Answer {
                    status: "404 Not Found",
                    body: HELP.into(),
                    end: None,
                };
            }
        };
        match done {
            Ok(body) => Answer {
                status: "200 OK",
                body,
                end: None,
            },
            Err(problem) => Answer {
                status: "400 Bad Request",
                body: problem,
                end: None,
            },
        }
    }

    /// Whether it wants requests: as it was set, once it is ready at all.
    fn readiness(&self) -> Answer {
        thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::Relaxed)));
        let is_early = self.started.elapsed() < self.ready_after;
        let (status, body) = match is_early || self.is_failing.load(Ordering::Relaxed) {
            true => ("503 Service Unavailable", "not ready\n"),
            false => ("200 OK", "ready\n"),
        };
        Answer {
            status,
            body: body.into(),
            end: None,
        }
    }

    /// Allocates this much memory and writes to it, so that it is resident, replacing earlier
    /// memory.
    fn hold(&self, mib: usize) -> Result<String, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Vec::new();
        let bytes = mib.saturating_mul(1 << 20);
        held.try_reserve_exact(bytes)
            .map_err(|error| format!("{mib} MiB: {error}\n"))?;
        held.resize(bytes, 1);
        Ok(format!("{} holds {mib} MiB\n", self.host))
    }
}

/// Steady use of a part of one core, in the background.
#[derive(Default)]
struct Load {
    /// Thousandths of a core.
    millis: Arc<AtomicU64>,
    started: OnceLock<()>,
}

/// Time in which the load is busy for its share, and rests for the others.
const SLICE: Duration = Duration::from_millis(20);

impl Load {
    fn set(&self, millis: u64) -> String {
        self.millis.store(millis.min(1000), Ordering::Relaxed);
        self.started.get_or_init(|| {
            let millis = Arc::clone(&self.millis);
            thread::spawn(move || slices(&millis));
        });
        format!("uses {} thousandths of a core\n", millis.min(1000))
    }
}

fn slices(millis: &AtomicU64) {
    loop {
        let started = Instant::now();
        let busy = SLICE * u32::try_from(millis.load(Ordering::Relaxed)).unwrap_or(0) / 1000;
        while started.elapsed() < busy {
            std::hint::black_box(started);
        }
        thread::sleep(SLICE.saturating_sub(started.elapsed()));
    }
}

fn exit(query: &str) -> Answer {
    match parameter(query, "code") {
        Ok(code) => Answer {
            status: "200 OK",
            body: format!("ending with {code}\n"),
            end: Some(code),
        },
        Err(problem) => Answer {
            status: "400 Bad Request",
            body: problem,
            end: None,
        },
    }
}

/// Keeps one core busy for this time.
fn burn(ms: u64) -> String {
    let started = Instant::now();
    let mut turns: u64 = 0;
    while started.elapsed() < Duration::from_millis(ms) {
        turns = std::hint::black_box(turns + 1);
    }
    format!("burnt {ms} ms: {turns} turns\n")
}

fn parameter<T: FromStr<Err: Display>>(query: &str, name: &str) -> Result<T, String> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .ok_or_else(|| format!("`{name}` is missing\n{HELP}"))?;
    value
        .parse()
        .map_err(|error| format!("{name}=`{value}`: {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, request: &str) -> (String, &'static str, Option<i32>) {
        let Answer { status, body, end } = server.answer(request);
        (body, status, end)
    }

    #[test]
    fn it_counts_and_says_who_it_is() {
        let server = Server::new("web-1".into(), Duration::ZERO);
        assert_eq!(
            ask(&server, "GET /healthz"),
            ("ok\n".into(), "200 OK", None)
        );
        assert_eq!(
            ask(&server, "GET /").0,
            "micado-web 0.1.0 on web-1: request 2\n"
        );
        let metrics = ask(&server, "GET /metrics").0;
        assert!(metrics.ends_with("\nweb_requests_total 3\n"), "{metrics}");
    }

    #[test]
    fn it_does_what_it_is_asked_for() {
        let server = Server::new("web-1".into(), Duration::ZERO);
        let started = Instant::now();
        assert!(ask(&server, "GET /burn?ms=30").0.starts_with("burnt 30 ms"));
        assert!(started.elapsed() >= Duration::from_millis(30));
        assert_eq!(
            ask(&server, "GET /load?millicores=5").0,
            "uses 5 thousandths of a core\n"
        );
        assert_eq!(ask(&server, "GET /alloc?mib=3").0, "web-1 holds 3 MiB\n");
        assert_eq!(server.held.lock().expect("lock").len(), 3 << 20);
        assert_eq!(ask(&server, "GET /alloc?mib=0").0, "web-1 holds 0 MiB\n");
        assert_eq!(
            ask(&server, "GET /exit?code=3"),
            ("ending with 3\n".into(), "200 OK", Some(3))
        );
    }

    #[test]
    fn it_is_ready_when_it_is_told_to_be() {
        let server = Server::new("web-1".into(), Duration::ZERO);
        assert_eq!(ask(&server, "GET /ready").1, "200 OK");
        assert_eq!(ask(&server, "GET /fail?on=1").0, "web-1 fails\n");
        assert_eq!(ask(&server, "GET /ready").1, "503 Service Unavailable");
        assert_eq!(ask(&server, "GET /fail?on=0").0, "web-1 is ready\n");
        assert_eq!(ask(&server, "GET /slow?ms=30").1, "200 OK");
        let started = Instant::now();
        assert_eq!(ask(&server, "GET /ready").1, "200 OK");
        assert!(started.elapsed() >= Duration::from_millis(30));
        let early = Server::new("web-1".into(), Duration::from_secs(60));
        assert_eq!(ask(&early, "GET /ready").1, "503 Service Unavailable");
    }

    #[test]
    fn bad_requests_are_refused() {
        let server = Server::new("web-1".into(), Duration::ZERO);
        for (request, status, said) in [
            ("POST /", "405 Method Not Allowed", "GET /"),
            ("", "405 Method Not Allowed", "GET /"),
            ("GET /nothing", "404 Not Found", "GET /"),
            ("GET /burn", "400 Bad Request", "`ms` is missing"),
            ("GET /burn?ms=x", "400 Bad Request", "ms=`x`: invalid digit"),
            (
                "GET /alloc?mib=-1",
                "400 Bad Request",
                "mib=`-1`: invalid digit",
            ),
            (
                "GET /alloc?mib=18446744073709551615",
                "400 Bad Request",
                "MiB: ",
            ),
            (
                "GET /exit?code=y",
                "400 Bad Request",
                "code=`y`: invalid digit",
            ),
        ] {
            let (body, found, end) = ask(&server, request);
            assert_eq!((found, end), (status, None), "{request}");
            assert!(body.contains(said), "{request}: {body}");
        }
    }
}
