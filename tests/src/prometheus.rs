//! A Prometheus server on loopback, and the exporter that it reads: its values are set by the test.

use crate::{free_port, run};
use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Values of the metric `jobs`, one series each; `None` makes the exporter fail.
type Values = Arc<Mutex<Option<Vec<&'static str>>>>;

/// The server, which reads the exporter once a second. It ends with this; the exporter's thread
/// ends with the process.
#[derive(Debug)]
pub struct Prometheus {
    server: Child,
    port: u16,
    values: Values,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a server whose exporter has one value.
    ///
    /// # Panics
    /// If there is no Prometheus, or it does not start. The same holds for all functions.
    #[must_use]
    pub fn start(value: &'static str) -> Self {
        let values: Values = Arc::new(Mutex::new(Some(vec![value])));
        let exporter = export(Arc::clone(&values));
        let folder = tempfile::tempdir_in(run::folder()).expect("a folder for Prometheus");
        let (config, port) = (folder.path().join("prometheus.yml"), free_port());
        let text = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\
             scrape_configs:\n- job_name: test\n  static_configs:\n  - targets: ['127.0.0.1:{exporter}']\n"
        );
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
            values,
            _folder: folder,
        }
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
