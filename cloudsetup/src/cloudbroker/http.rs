//! One HTTP request with its answer: trusted authorities, bodies, time-outs, bounds.

use super::credentials::Credentials;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Client, Method, Response, Url,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER},
    multipart::{Form, Part},
    redirect::Policy,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    error::Error,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Time-out for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Upper bound for an answer: 10,000 jobs are half of it.
const LONGEST_ANSWER: usize = 32 << 20;

/// One call.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// From the first `/`, with the query.
    pub(super) path: String,
    pub(super) body: Body,
}

/// Body of a call. May be secret: files and user data contain join credentials.
#[derive(Clone)]
pub(super) enum Body {
    Nothing,
    Xml(String),
    /// Text parts in this order, then the file as the part `data`.
    Upload {
        texts: Vec<(&'static str, String)>,
        name: String,
        content: Bytes,
    },
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// The broker's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Pause that the broker requests, from now.
    pub(super) retry_after: Option<Duration>,
    /// Target of a redirect.
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// Carries requests to the broker.
#[async_trait::async_trait]
pub(super) trait Carrier: Send + Sync + fmt::Debug {
    /// The answer, or the reason why there is none.
    async fn carry(
        &self,
        request: &Request,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Answer, String>;
}

/// The broker at a base URL.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    base: String,
}

impl Http {
    /// Trusts the system's authorities and those in these files (PEM). Connects to nothing.
    ///
    /// # Errors
    /// If the endpoint is not an https URL (http is allowed on this machine), or an authority is
    /// unusable.
    pub(super) fn new(endpoint: &str, authorities: &[PathBuf]) -> Result<Self, String> {
        let url = address(endpoint)?;
        let builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        // A proxy from the environment may lead out, but never back to this machine.
        let builder = if on_this_machine(&url) {
            builder.no_proxy()
        } else {
            builder
        };
        let client = builder
            .tls_backend_preconfigured(tls(authorities, url.scheme() == "https")?)
            .build();
        Ok(Self {
            client: client.map_err(|error| format!("endpoint `{endpoint}`: {}", chain(&error)))?,
            base: url.as_str().trim_end_matches('/').to_owned(),
        })
    }

    async fn exchange(
        &self,
        request: &Request,
        credentials: &Credentials,
    ) -> Result<Answer, reqwest::Error> {
        let url = format!("{}{}", self.base, request.path);
        let call = self
            .client
            .request(request.method.clone(), url)
            .basic_auth(&credentials.user, Some(&credentials.password));
        let call = match &request.body {
            Body::Nothing if request.method == Method::GET => call,
            Body::Nothing => call.header(CONTENT_LENGTH, 0),
            Body::Xml(text) => call
                .header(CONTENT_TYPE, "application/xml; charset=UTF-8")
                .body(text.clone()),
            Body::Upload {
                texts,
                name,
                content,
            } => {
                let file = Part::stream_with_length(content.clone(), content.len() as u64)
                    .file_name(name.clone())
                    .mime_str("application/octet-stream")?;
                let form = texts.iter().fold(Form::new(), |form, (name, value)| {
                    form.text(*name, value.clone())
                });
                call.multipart(form.part("data", file))
            }
        };
        let response = call.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Ok(Answer {
            status,
            retry_after: header(RETRY_AFTER).and_then(pause),
            location: header(LOCATION).map(str::to_owned),
            body: body(response).await?,
        })
    }
}

#[async_trait::async_trait]
impl Carrier for Http {
    async fn carry(
        &self,
        request: &Request,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Answer, String> {
        match tokio::time::timeout(limit, self.exchange(request, credentials)).await {
            Ok(answer) => answer.map_err(|error| {
                format!(
                    "no answer from {}: {}",
                    self.base,
                    chain(&error.without_url())
                )
            }),
            Err(_) => Err(format!(
                "no answer from {} within {} s",
                self.base,
                limit.as_secs_f32().ceil()
            )),
        }
    }
}

/// The body as text, cut at the upper bound.
async fn body(mut response: Response) -> Result<String, reqwest::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = response.chunk().await? {
        whole.extend_from_slice(&piece[..piece.len().min(LONGEST_ANSWER - whole.len())]);
        if whole.len() == LONGEST_ANSWER {
            break;
        }
    }
    Ok(String::from_utf8(whole)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// `Retry-After`: seconds, or a date.
fn pause(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value.trim())
        .ok()?;
    Some(Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default())
}

fn address(endpoint: &str) -> Result<Url, String> {
    // A malformed URL may still hold a password, so it is not shown.
    let url = Url::parse(endpoint.trim()).map_err(|error| {
        format!("its endpoint is no URL such as `https://platform.cloudbroker.com`: {error}")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "its endpoint holds a user or a password: write them into the credentials file"
                .to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "its endpoint `{url}` must end where the path of the API begins: remove `?` or `#` and what follows"
        ));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if on_this_machine(&url) => Ok(url),
        scheme => Err(format!(
            "its endpoint `{url}` begins with `{scheme}`: the password goes over https only (or http on this machine): write `https://`"
        )),
    }
}

fn on_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn tls(authorities: &[PathBuf], wanted: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if wanted {
        let known = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(known.certs);
        for path in authorities {
            add(&mut roots, path).map_err(|cause| {
                format!(
                    "its authority `{}` {cause}: it must hold certificates in PEM",
                    path.display()
                )
            })?;
        }
        if roots.is_empty() {
            return Err("this system knows no certificate authority: install its `ca-certificates`, or name one as `ca`".to_owned());
        }
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    Ok(tls
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| format!("cannot be read: {error}"))?;
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    certificates
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate))
        .map_err(|error| format!("cannot be used: {error}"))
}

/// An error with its causes: the outermost alone only says that something failed.
fn chain(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(below) = cause {
        text = format!("{text}: {below}");
        cause = below.source();
    }
    text
}

#[cfg(test)]
mod tests;
