//! Readers of the service catalogue that others wrote: Traefik, VictoriaMetrics, a script of
//! py-consul, and `dig`. Each ends with its value.

use crate::{free_port, run};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A program that runs until this is dropped, with a folder for its files.
#[derive(Debug)]
pub struct Reader {
    child: Child,
    /// Where it answers, or where it serves what it found.
    pub port: u16,
    /// Where it tells about itself.
    api: u16,
    folder: TempDir,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Reader {
    /// Starts Traefik on a catalogue in the clear, with its `watch`. It routes what has the tag
    /// `traefik.enable=true`.
    ///
    /// # Panics
    /// If it cannot be had. The same holds for all functions.
    #[must_use]
    pub fn traefik(consul: SocketAddr, token: &str) -> Self {
        let [port, api] = [free_port(), free_port()];
        let mut command = Command::new(run::script("discovery", &["traefik"]));
        command.args([
            format!("--entrypoints.web.address=127.0.0.1:{port}"),
            format!("--entrypoints.traefik.address=127.0.0.1:{api}"),
            "--api.insecure=true".to_owned(),
            format!("--providers.consulcatalog.endpoint.address={consul}"),
            format!("--providers.consulcatalog.endpoint.token={token}"),
            "--providers.consulcatalog.watch=true".to_owned(),
            "--providers.consulcatalog.exposedbydefault=false".to_owned(),
            "--global.checknewversion=false".to_owned(),
            "--global.sendanonymoususage=false".to_owned(),
        ]);
        Self::start(command, port, api)
    }

    /// Starts VictoriaMetrics, which looks for the copies of a service each second.
    #[must_use]
    pub fn victoria_metrics(consul: SocketAddr, token: &str, service: &str) -> Self {
        let port = free_port();
        let folder = folder();
        let config = folder.path().join("scrape.yml");
        let text = format!(
            "scrape_configs:
- job_name: web
  scrape_interval: 1s
  consul_sd_configs:
  - server: '{consul}'
    token: '{token}'
    services: ['{service}']
  relabel_configs:
  - {{source_labels: [__meta_consul_health], regex: passing, action: keep}}
"
        );
        std::fs::write(&config, text).expect("its configuration");
        let mut command = Command::new(run::script("discovery", &["victoria-metrics"]));
        command.args([
            format!("-promscrape.config={}", config.display()),
            "-promscrape.consulSDCheckInterval=1s".to_owned(),
            format!("-storageDataPath={}", folder.path().join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
        ]);
        Self::start_in(folder, command, port, port)
    }

    fn start(command: Command, port: u16, api: u16) -> Self {
        Self::start_in(folder(), command, port, api)
    }

    fn start_in(folder: TempDir, mut command: Command, port: u16, api: u16) -> Self {
        let log = File::create(folder.path().join("log")).expect("its log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log);
        let child = command.spawn().expect("it starts");
        Self {
            child,
            port,
            api,
            folder,
        }
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its own state at this path, once it answers.
    pub async fn api(&self, path: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.api);
        http().get(url).send().await.ok()?.json().await.ok()
    }

    /// Status and body of a request to this host that it routes.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn route(&self, host: &str, path: &str) -> Result<(u16, String), String> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = http().get(url).header("host", host);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.text().await.map_err(|error| error.to_string())?;
        Ok((status, body))
    }
}

fn folder() -> TempDir {
    tempfile::tempdir_in(run::folder()).expect("a folder")
}

fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = client.timeout(Duration::from_secs(5));
    client.build().expect("an HTTP client")
}

/// Watches the passing copies of a service over TLS. Prints the index and the ids of each answer
/// that differs from the last.
const WATCH: &str = "
import consul, sys, time
client = consul.Consul(host='localhost', port=int(sys.argv[1]), scheme='https', token=sys.argv[2], verify=sys.argv[3])
index, last = None, None
while True:
    try:
        index, found = client.health.service(sys.argv[4], index=index, wait='30s', passing=True)
    except (consul.ConsulException, OSError) as error:
        print('error', type(error).__name__, flush=True)
        time.sleep(0.1)
        continue
    ids = sorted(entry['Service']['ID'] for entry in found)
    if ids != last:
        print(index, *ids, flush=True)
    last = ids
";

/// A line of the watch: when it came, and its words.
type Line = (Instant, Vec<String>);

/// A script of py-consul that watches a service.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Watch {
    /// Starts it on a catalogue over TLS.
    ///
    /// # Panics
    /// If it cannot be had.
    #[must_use]
    pub fn start(port: u16, token: &str, authority: &Path, service: &str) -> Self {
        let mut child = python()
            .args(["-c", WATCH, &port.to_string(), token])
            .arg(authority)
            .arg(service)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
        let (output, kept) = (child.stdout.take().expect("its output"), Arc::clone(&lines));
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let words = line.split_whitespace().map(str::to_owned).collect();
                let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push((Instant::now(), words));
            }
        });
        Self { child, lines }
    }

    /// Lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    /// Ids of the last answer, and when it came.
    #[must_use]
    pub fn last(&self) -> Option<(Instant, Vec<String>)> {
        let lines = self.lines();
        let mut answers = lines.into_iter().filter(|(_, words)| words[0] != "error");
        let (at, words) = answers.next_back()?;
        Some((at, words[1..].to_vec()))
    }

    /// Indexes of all answers, in order.
    #[must_use]
    pub fn indexes(&self) -> Vec<u64> {
        let lines = self.lines();
        let indexes = lines.iter().filter_map(|(_, words)| words[0].parse().ok());
        indexes.collect()
    }
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", run::script("discovery", &["python"]));
    command
}

/// Output of a program of Python with py-consul, both its outputs in one.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn py_consul(program: &str, arguments: &[&str]) -> String {
    let done = python()
        .args(["-c", program])
        .args(arguments)
        .output()
        .expect("Python starts");
    String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
}

/// Output of `dig` at this server, without comments: one record a line.
///
/// # Panics
/// If it cannot be had, or gets no answer.
#[must_use]
pub fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let done = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "+tries=1", "+time=5"])
        .args(arguments)
        .output()
        .expect("dig: install bind9-dnsutils");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}");
    said
}
