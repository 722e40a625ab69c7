//! A client for these tests: it knows paths, searches for text, and shares no code with the
//! simulator or micado's client.

use micado_cloudbroker::{Config, Simulator};
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use std::time::{Duration, Instant};

pub struct Client {
    http: reqwest::Client,
    url: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
    pub retry_after: Option<String>,
}

/// A simulator with its client.
pub async fn started(config: Config) -> (Simulator, Client) {
    let simulator = Simulator::start(config).await.expect("a simulator");
    let client = Client::new(simulator.url());
    (simulator, client)
}

impl Client {
    pub fn new(url: String) -> Self {
        Self::with(url, reqwest::Client::builder())
    }

    pub fn with(url: String, builder: reqwest::ClientBuilder) -> Self {
        // Another test of this process may have installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: builder
                .timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
            url,
        }
    }

    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .basic_auth("somebody@example.net", Some("secret"));
        let answer = request.header(CONTENT_TYPE, kind).body(body).send().await?;
        let retry_after = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok(Answer {
            status: answer.status(),
            retry_after,
            body: answer.text().await?,
        })
    }

    pub async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        self.try_call(method, path, "application/xml", body.to_owned())
            .await
            .expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    pub async fn put(&self, path: &str) -> Answer {
        self.call(Method::PUT, path, "").await
    }

    /// The id of the catalogue's active thing of this name.
    pub async fn id(&self, collection: &str, name: &str) -> String {
        let list = self.get(&format!("/{collection}.xml")).await.body;
        let named = format!("<name>{name}</name>");
        let item = list
            .split("<id>")
            .skip(1)
            .find(|item| item.contains(&named) && !item.contains(">false</active>"));
        let item = item.unwrap_or_else(|| panic!("no {name} in {list}"));
        item.split('<').next().expect("an id").to_owned()
    }

    /// The body of a job's order, by ids.
    pub async fn order(&self, name: &str, more: &str) -> String {
        let mut body = format!("<job><name>{name}</name>");
        for (part, collection, called) in [
            ("software", "softwares", "micado node"),
            ("resource", "resources", "CloudSigma"),
            ("region", "regions", "CloudSigma Zurich"),
            ("instance-type", "instance_types", "CloudSigma Small"),
        ] {
            body += &format!(
                "<{part}-id>{}</{part}-id>",
                self.id(collection, called).await
            );
        }
        let software = self.id("softwares", "micado node").await;
        let executables = self.get("/executables.xml").await.body;
        let executable = executables
            .split("<id>")
            .find(|item| item.contains(&software))
            .expect("its executable")
            .split('<')
            .next()
            .expect("its id");
        body + &format!("<executable-id>{executable}</executable-id>{more}</job>")
    }

    /// Creates a job; returns its id.
    pub async fn create(&self, name: &str, more: &str) -> String {
        let answer = self
            .call(Method::POST, "/jobs.xml", &self.order(name, more).await)
            .await;
        assert!(answer.status.is_success(), "{answer:?}");
        first(&answer.body, "id")
    }

    /// Creates and submits a job; returns its id.
    pub async fn submit(&self, name: &str, more: &str) -> String {
        let id = self.create(name, more).await;
        assert_eq!(
            self.put(&format!("/jobs/{id}/submit.xml")).await.status,
            200
        );
        id
    }

    pub async fn upload(&self, parts: &[(&str, &str)], file: (&str, &[u8])) -> Answer {
        let mut body = Vec::new();
        for (name, value) in parts {
            body.extend_from_slice(
                format!(
                    "--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .as_bytes(),
            );
        }
        let head = format!(
            "--B\r\nContent-Disposition: form-data; name=\"data\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
            file.0
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file.1);
        body.extend_from_slice(b"\r\n--B--\r\n");
        self.try_call(
            Method::POST,
            "/data_files.xml",
            "multipart/form-data; boundary=B",
            body,
        )
        .await
        .expect("an answer")
    }

    /// Waits until the document at this path has this status.
    pub async fn until(&self, path: &str, status: &str) -> String {
        let start = Instant::now();
        loop {
            let body = self.get(path).await.body;
            if body.contains(&format!("<status>{status}</status>")) {
                return body;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{path} is not {status}: {body}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The text of the first element of this name.
pub fn first(body: &str, name: &str) -> String {
    let opened = body
        .split(&format!("<{name}>"))
        .nth(1)
        .unwrap_or_else(|| panic!("no {name} in {body}"));
    opened.split('<').next().expect("its text").to_owned()
}
