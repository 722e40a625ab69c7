//! One Docker Engine: connection, negotiation of the API version, a time-out on every call, and
//! conversion of its errors.

use super::EngineError;
use axum::http::{HeaderMap, HeaderValue, Uri, uri::PathAndQuery};
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error};
use micado_api::foreign::excerpt;
use std::{future::Future, net::IpAddr, time::Duration};

/// Time-out of a call; its outcome is unknown after that.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Engine 20.10: the oldest with all functions that we use.
const OLDEST: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// Connects to the engine at `unix://PATH` or `tcp://HOST:PORT`, and checks that a common version
/// of the API exists.
///
/// # Errors
/// `Unavailable` if nothing answers there, `Refused` if the engine is too old, too new or no
/// engine.
pub(crate) async fn connect(endpoint: &str) -> Result<Docker, EngineError> {
    let seconds = LIMIT.as_secs();
    let client = match endpoint.split_once("://") {
        Some(("unix", path)) => Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION),
        Some(("tcp" | "http", _)) if !is_loopback(endpoint) => {
            return Err(EngineError::Refused(format!(
                "`{endpoint}` is on another machine, and engines are reached without TLS so far; forward it to a unix socket here, such as with `ssh -L`"
            )));
        }
        Some(("tcp" | "http", _)) => Docker::connect_with_http(endpoint, seconds, API_DEFAULT_VERSION),
        _ => return Err(EngineError::Refused(format!("`{endpoint}` is no engine address (expected `unix:///PATH` or `tcp://HOST:PORT`)"))),
    }
    .map_err(|error| EngineError::Unavailable(format!("cannot reach the engine at `{endpoint}`: {}; is it running?", words(&error))))?;
    let version = ask(
        || format!("reach the engine at `{endpoint}`"),
        client.version(),
    )
    .await?;
    let newest = version.api_version.as_deref().and_then(parse_version);
    let oldest = version.min_api_version.as_deref().and_then(parse_version);
    let agreed = agree(
        endpoint,
        version.version.as_deref().unwrap_or("of unknown version"),
        oldest,
        newest,
    )?;
    Ok(pin(client, agreed))
}

/// Returns true if an address is on this machine. On a network, anyone who reaches an engine
/// without TLS is root on its host.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.parse::<Uri>().ok().and_then(|uri| {
        uri.host()
            .map(|host| host.trim_matches(['[', ']']).to_owned())
    });
    host.is_some_and(|host| {
        host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// Headers with credentials.
const CREDENTIALS: [&str; 2] = ["x-registry-auth", "x-registry-config"];

/// Sets the version of every request. bollard 0.21 sets none, and an engine takes that for its own
/// newest. It also encodes credentials in base64 with the wrong alphabet: an engine would pull
/// without those that it cannot read.
fn pin(client: Docker, version: ClientVersion) -> Docker {
    client.with_request_modifier(move |mut request| {
        let mut parts = request.uri().clone().into_parts();
        let path = parts
            .path_and_query
            .as_ref()
            .map_or("/", PathAndQuery::as_str);
        parts.path_and_query = format!("/v{version}{path}").parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        encode_credentials(request.headers_mut());
        request
    })
}

/// Changes the alphabet of credentials to that of URLs (RFC 4648, section 5).
fn encode_credentials(headers: &mut HeaderMap) {
    for name in CREDENTIALS {
        let Some(value) = headers.get_mut(name) else {
            continue;
        };
        let text = value.to_str().unwrap_or_default();
        if let Ok(encoded) = HeaderValue::from_str(&text.replace('+', "-").replace('/', "_")) {
            *value = encoded;
            value.set_sensitive(true);
        }
    }
}

/// Selects the newest version that the engine and we both speak.
fn agree(
    endpoint: &str,
    engine: &str,
    oldest: Option<ClientVersion>,
    newest: Option<ClientVersion>,
) -> Result<ClientVersion, EngineError> {
    let Some(newest) = newest else {
        return Err(EngineError::Refused(format!(
            "what answers at `{endpoint}` does not say which API version it speaks; it is no Docker Engine"
        )));
    };
    let oldest = oldest.unwrap_or(newest);
    let range = format!(
        "the engine at `{endpoint}` ({engine}) speaks API {oldest} to {newest}, this manager {OLDEST} to {API_DEFAULT_VERSION}"
    );
    if newest < OLDEST {
        return Err(EngineError::Refused(format!(
            "{range}; update the engine to 20.10 or later"
        )));
    }
    if oldest > *API_DEFAULT_VERSION {
        return Err(EngineError::Refused(format!("{range}; update micado")));
    }
    Ok(if newest < *API_DEFAULT_VERSION {
        newest
    } else {
        *API_DEFAULT_VERSION
    })
}

fn parse_version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.split_once('.')?;
    Some(ClientVersion {
        major_version: major.parse().ok()?,
        minor_version: minor.parse().ok()?,
    })
}

/// Awaits a call for at most [`LIMIT`]; `what` completes the sentence "cannot ...".
pub(crate) async fn ask<T>(
    what: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(explain(&what(), &error)),
        Err(_) => Err(EngineError::Unavailable(format!(
            "cannot {}: no answer within {} s",
            what(),
            LIMIT.as_secs()
        ))),
    }
}

/// Converts an engine's error: refusal, missing subject, or no answer.
pub(crate) fn explain(what: &str, error: &Error) -> EngineError {
    explain_as(what, error, &words(error))
}

/// Upper bound for the engine's message in an error, in characters.
const MESSAGE: usize = 1000;

/// Parts of an engine's message that repeating the call unchanged does not change.
const REFUSALS: [&str; 3] = [
    "code = InvalidArgument",
    "code = ResourceExhausted",
    "message is too large",
];

/// The same with this message in place of the engine's.
pub(crate) fn explain_as(what: &str, error: &Error, words: &str) -> EngineError {
    let text = format!("cannot {what}: {}", excerpt(words, MESSAGE));
    match status(error) {
        Some(404) => EngineError::NotFound(text),
        Some(408 | 429) => EngineError::Unavailable(text),
        Some(400..500) => EngineError::Refused(text),
        // Old engines answer some refusals of Swarm with 500.
        Some(_) if REFUSALS.iter().any(|part| words.contains(part)) => EngineError::Refused(text),
        Some(_) if words.starts_with("invalid ") => EngineError::Refused(text),
        _ => EngineError::Unavailable(text),
    }
}

/// HTTP status of the engine's answer, if it answered.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own message, without the text that the client library adds, and with the cause of a
/// connection error.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(below) = cause {
                let more = below.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                cause = below.source();
            }
            text
        }
    }
}

/// An error with its causes: the outermost alone says only that something failed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        text = format!("{text}: {below}");
        cause = below.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(oldest: &str, newest: &str) -> Result<String, EngineError> {
        agree(
            "unix:///e.sock",
            "99",
            parse_version(oldest),
            parse_version(newest),
        )
        .map(|version| version.to_string())
    }

    #[test]
    fn engines_from_20_10_to_29_will_do() {
        assert_eq!(range("1.12", "1.41").as_deref(), Ok("1.41"));
        assert_eq!(range("1.44", "1.52").as_deref(), Ok("1.52"));
        assert_eq!(range("1.44", "1.99"), Ok(API_DEFAULT_VERSION.to_string()));
    }

    #[test]
    fn both_ranges_are_in_the_refusal() {
        let old = range("1.12", "1.40").expect_err("too old");
        let ours = format!("this manager 1.41 to {API_DEFAULT_VERSION}");
        assert_eq!(
            old,
            EngineError::Refused(format!(
                "the engine at `unix:///e.sock` (99) speaks API 1.12 to 1.40, {ours}; update the engine to 20.10 or later"
            ))
        );
        let new = range("1.90", "1.99").expect_err("too new");
        assert_eq!(
            new,
            EngineError::Refused(format!(
                "the engine at `unix:///e.sock` (99) speaks API 1.90 to 1.99, {ours}; update micado"
            ))
        );
        assert!(
            matches!(agree("tcp://x:1", "", None, None), Err(EngineError::Refused(text)) if text.contains("no Docker Engine"))
        );
    }

    #[test]
    fn refusals_missing_things_and_silence_are_told_apart() {
        let answer = |status_code, message: &str| {
            explain(
                "do it",
                &Error::DockerResponseServerError {
                    status_code,
                    message: message.to_owned(),
                },
            )
        };
        assert_eq!(
            answer(404, "no such service\n"),
            EngineError::NotFound("cannot do it: no such service".into())
        );
        assert_eq!(
            answer(400, "bad name"),
            EngineError::Refused("cannot do it: bad name".into())
        );
        assert_eq!(
            answer(409, "in use"),
            EngineError::Refused("cannot do it: in use".into())
        );
        assert_eq!(
            answer(500, "raft: no leader"),
            EngineError::Unavailable("cannot do it: raft: no leader".into())
        );
        assert_eq!(
            answer(503, "not a manager"),
            EngineError::Unavailable("cannot do it: not a manager".into())
        );
        assert!(matches!(
            answer(500, "rpc error: code = InvalidArgument desc = x"),
            EngineError::Refused(_)
        ));
        assert!(matches!(
            explain("do it", &Error::RequestTimeoutError),
            EngineError::Unavailable(_)
        ));
    }

    #[tokio::test]
    async fn every_request_names_the_version() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let client = Docker::connect_with_http(&format!("tcp://{address}"), 5, API_DEFAULT_VERSION)
            .expect("an address");
        let client = pin(
            client,
            ClientVersion {
                major_version: 1,
                minor_version: 44,
            },
        );
        let served = async {
            let (stream, _) = listener.accept().await.expect("a caller");
            let mut line = String::new();
            tokio::io::AsyncBufReadExt::read_line(
                &mut tokio::io::BufReader::new(stream),
                &mut line,
            )
            .await
            .expect("a request");
            line
        };
        let (line, _) = tokio::join!(served, client.list_nodes(None));
        assert_eq!(line.trim_end(), "GET /v1.44/nodes HTTP/1.1");
    }

    #[test]
    fn credentials_have_the_alphabet_of_urls() {
        let mut headers = HeaderMap::new();
        headers.insert("x-registry-auth", HeaderValue::from_static("a+b/c=="));
        headers.insert("x-other", HeaderValue::from_static("a+b/c=="));
        encode_credentials(&mut headers);
        assert_eq!(headers["x-registry-auth"], "a-b_c==");
        assert!(headers["x-registry-auth"].is_sensitive());
        assert_eq!(headers["x-other"], "a+b/c==");
    }

    #[tokio::test]
    async fn an_address_without_an_engine_is_named() {
        let none = connect("unix:///nonexistent/docker.sock")
            .await
            .expect_err("nothing there");
        assert!(
            matches!(&none, EngineError::Unavailable(text) if text.contains("unix:///nonexistent/docker.sock")),
            "{none}"
        );
        assert!(
            matches!(connect("docker.sock").await, Err(EngineError::Refused(text)) if text.contains("unix:///PATH"))
        );
    }

    #[tokio::test]
    async fn engines_elsewhere_are_refused() {
        assert!(
            [
                "tcp://127.0.0.1:2375",
                "http://localhost:1",
                "tcp://[::1]:2375"
            ]
            .into_iter()
            .all(is_loopback)
        );
        for elsewhere in [
            "tcp://10.0.0.1:2375",
            "tcp://engine:2375",
            "tcp://127.0.0.1.example.org:1",
            "tcp://127.0.0.1@10.0.0.1:1",
            "tcp://",
        ] {
            let refused = connect(elsewhere).await;
            assert!(
                matches!(&refused, Err(EngineError::Refused(text)) if text.contains("TLS")),
                "{refused:?}"
            );
        }
    }
}
