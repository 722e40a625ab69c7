//! A Prometheus server on loopback, and an exporter for it: its values are set by the test.

use crate::{free_port, run};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Values of the metric `jobs`, one series each; `None` makes the exporter fail.
type Values = Arc<Mutex<Option<Vec<&'static str>>>>;

/// The server. It ends with this; the exporter's thread ends with the process.
#[derive(Debug)]
pub struct Prometheus {
    server: Child,
    port: u16,
    values: Values,
    folder: TempDir,
}

/// Labels and value of a series.
pub type Series = (BTreeMap<String, String>, f64);

/// Result of `promtool`.
#[derive(Debug, Clone)]
pub struct PromtoolCheck {
    pub code: Option<i32>,
    /// Both of its outputs.
    pub said: String,
}

impl Prometheus {
    /// Starts a server that reads an exporter with one value once a second.
    ///
    /// # Panics
    /// If there is no Prometheus, or it does not start. The same holds for all functions.
    #[must_use]
    pub fn start(value: &'static str) -> Self {
        let values: Values = Arc::new(Mutex::new(Some(vec![value])));
        let exporter = export(Arc::clone(&values));
        let scraping = format!(
            "scrape_configs:\n- job_name: test\n  static_configs:\n  - targets: ['127.0.0.1:{exporter}']\n"
        );
        let mut server = Self::configured(&scraping);
        server.values = values;
        server
    }

    /// Starts a server without an exporter. `parts` are those of its configuration but `global`: it
    /// scrapes and evaluates rules once a second.
    #[must_use]
    pub fn configured(parts: &str) -> Self {
        let folder = tempfile::tempdir_in(run::folder()).expect("a folder for Prometheus");
        let (config, port) = (folder.path().join("prometheus.yml"), free_port());
        let global = "scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s";
        let text = format!("global:\n  {global}\n{parts}");
        std::fs::write(&config, text).expect("its configuration");
        let log = File::create(folder.path().join("log")).expect("its log");
        let server = Command::new(run::script("prometheus", &[]))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Prometheus starts");
        Self {
            server,
            port,
            values: Values::default(),
            folder,
        }
    }

    /// The series that an expression gives now.
    ///
    /// # Errors
    /// The server's message, also while it starts.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>, String> {
        let parameters = [("query", expression)];
        let answer = self.api("query", &parameters).await?;
        let result = answer["result"].as_array().ok_or("no vector")?;
        let series = result.iter().map(|series| {
            let labels = serde_json::from_value(series["metric"].clone());
            let value = series["value"][1]
                .as_str()
                .and_then(|value| value.parse().ok());
            Some((labels.ok()?, value?))
        });
        let series: Option<Vec<_>> = series.collect();
        series.ok_or_else(|| format!("no vector: {answer}"))
    }

    /// The one value that an expression gives now; `None` for anything else.
    pub async fn value(&self, expression: &str) -> Option<f64> {
        match self.query(expression).await.ok()?.as_slice() {
            [(_, value)] => Some(*value),
            _ => None,
        }
    }

    /// `data` in the answer to `GET /api/v1/PATH`.
    ///
    /// # Errors
    /// The server's message, also while it starts.
    pub async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/api/v1/{path}", self.url());
        let url = reqwest::Url::parse_with_params(&url, parameters).expect("a URL");
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let request = client.build().expect("an HTTP client").get(url);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer.to_string()),
        }
    }

    /// Runs the server's `promtool` with these arguments and this input.
    #[must_use]
    pub fn promtool(arguments: &[&str], input: &str) -> PromtoolCheck {
        let server = run::script("prometheus", &[]);
        let mut input_file = tempfile::tempfile().expect("a file");
        input_file.write_all(input.as_bytes()).expect("written");
        std::io::Seek::rewind(&mut input_file).expect("rewound");
        let done = Command::new(Path::new(&server).with_file_name("promtool"))
            .args(arguments)
            .stdin(input_file)
            .output()
            .expect("promtool");
        let said = [done.stdout, done.stderr].concat();
        PromtoolCheck {
            code: done.status.code(),
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its address, as a policy names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets the values of the metric `jobs`, one series each.
    pub fn expose(&self, values: &[&'static str]) {
        self.set(Some(values.to_vec()));
    }

    /// Lets the exporter fail until the next [`Self::expose`].
    pub fn fail(&self) {
        self.set(None);
    }

    fn set(&self, values: Option<Vec<&'static str>>) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill().expect("it runs");
        self.server.wait().expect("it ends");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // A test may have killed it.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Starts the exporter; returns its port.
fn export(values: Values) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let values = values.lock().unwrap_or_else(PoisonError::into_inner);
            // A caller that is gone is no failure of the test.
            drop(serve(stream, values.as_deref()));
        }
    });
    port
}

/// Answers one request with the values, in Prometheus' text format.
fn serve(mut stream: TcpStream, values: Option<&[&str]>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    let status = match values {
        Some(_) => "200 OK",
        None => "500 Internal Server Error",
    };
    let series = values.unwrap_or_default().iter().enumerate();
    let body: String = series
        .map(|(at, value)| format!("jobs{{at=\"{at}\"}} {value}\n"))
        .collect();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
