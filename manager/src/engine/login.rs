//! Logins to external registries, as the manager's engine takes them.

use super::{
    EngineError,
    docker::{LIMIT, chain},
};
use crate::model::{DEFAULT_REGISTRY, Login, Secret};
use axum::http::StatusCode;
use bollard::auth::DockerCredentials;
use bytes::Bytes;
use micado_api::foreign::excerpt;
use serde::{Deserialize, Serialize};

/// The Docker Hub's address in credentials.
const HUB_ADDRESS: &str = "https://index.docker.io/v1/";
/// Upper bound for a registry's message in an error, in characters.
const MESSAGE: usize = 1000;

/// Parts of the messages of registries that refuse a login, or an image without one.
const DENIALS: [&str; 6] = [
    "403 Forbidden",
    "authentication required",
    "denied",
    "incorrect username or password",
    "no basic auth credentials",
    "nauthorized",
];

/// Returns true if a registry's message says that it wants another login.
pub(crate) fn is_denial(message: &str) -> bool {
    DENIALS.iter().any(|part| message.contains(part))
}

/// The registry's address in credentials.
pub(crate) fn server_address(host: &str) -> &str {
    match host == DEFAULT_REGISTRY {
        true => HUB_ADDRESS,
        false => host,
    }
}

/// A login as the engine takes it.
pub(crate) fn credentials(login: &Login) -> DockerCredentials {
    let (password, identitytoken) = match &login.secret {
        Secret::Password(password) => (Some(password.clone()), None),
        Secret::IdentityToken(token) => (None, Some(token.clone())),
    };
    DockerCredentials {
        username: Some(login.user.clone()),
        password,
        identitytoken,
        serveraddress: Some(server_address(&login.host).to_owned()),
        ..DockerCredentials::default()
    }
}

#[derive(Serialize)]
struct Request<'a> {
    username: &'a str,
    password: &'a str,
    serveraddress: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accepted {
    #[serde(default)]
    identity_token: String,
}

#[derive(Deserialize)]
struct Failed {
    message: String,
}

/// Lets the engine at this address check a login: bollard has no call for it. Returns the identity
/// token, if the registry gives one.
///
/// # Errors
/// `Refused` with the registry's message, `Unavailable` if it does not answer.
pub(crate) async fn check(
    endpoint: &str,
    host: &str,
    user: &str,
    password: &str,
) -> Result<Option<String>, EngineError> {
    let unavailable = |message: String| {
        EngineError::Unavailable(format!("cannot check the login to `{host}`: {message}"))
    };
    let asked = ask(endpoint, host, user, password).await;
    let (status, body) = asked.map_err(|error| unavailable(chain(&error.without_url())))?;
    if status.is_success() {
        let accepted: Accepted = serde_json::from_slice(&body).unwrap_or_default();
        return Ok(Some(accepted.identity_token).filter(|token| !token.is_empty()));
    }
    let message = match serde_json::from_slice::<Failed>(&body) {
        Ok(failed) => excerpt(failed.message.trim(), MESSAGE),
        Err(_) => "the engine says no reason".to_owned(),
    };
    let is_refused = matches!(status.as_u16(), 401 | 403) || is_denial(&message);
    Err(match is_refused {
        true => EngineError::Refused(format!("the login of `{user}` is refused: {message}")),
        false => unavailable(message),
    })
}

async fn ask(
    endpoint: &str,
    host: &str,
    user: &str,
    password: &str,
) -> Result<(StatusCode, Bytes), reqwest::Error> {
    // No TLS is spoken to an engine, and no certificates are loaded.
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(LIMIT)
        .tls_certs_only([]);
    let (builder, base) = match endpoint.split_once("://") {
        Some(("unix", path)) => (builder.unix_socket(path), "engine"),
        Some((_, address)) => (builder, address),
        None => (builder, endpoint),
    };
    let request = Request {
        username: user,
        password,
        serveraddress: server_address(host),
    };
    let url = format!("http://{base}/auth");
    let answer = builder.build()?.post(url).json(&request).send().await?;
    let status = answer.status();
    Ok((status, answer.bytes().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, routing::post};
    use micado_api::Timestamp;
    use std::os::unix::net::UnixListener;

    fn login(secret: Secret) -> Login {
        Login {
            host: "docker.io".to_owned(),
            user: "alice".to_owned(),
            secret,
            since: Timestamp(1),
        }
    }

    #[test]
    fn the_hub_is_named_as_engines_know_it() {
        let of = |secret| credentials(&login(secret));
        let password = of(Secret::Password("p".to_owned()));
        assert_eq!(password.serveraddress.as_deref(), Some(HUB_ADDRESS));
        assert_eq!(
            (password.password.as_deref(), password.identitytoken),
            (Some("p"), None)
        );
        let token = of(Secret::IdentityToken("t".to_owned()));
        assert_eq!(
            (token.password, token.identitytoken.as_deref()),
            (None, Some("t"))
        );
        assert_eq!(server_address("host:5000"), "host:5000");
    }

    #[test]
    fn denials_are_told_from_other_failures() {
        for message in [
            "unauthorized: incorrect username or password",
            "Get \"http://127.0.0.1:5000/v2/\": no basic auth credentials",
            "login attempt to http://r/v2/ failed with status: 401 Unauthorized",
            "denied: requested access to the resource is denied",
            "pull access denied for acme/web",
        ] {
            assert!(is_denial(message), "{message}");
        }
        for message in ["dial tcp: connection refused", "manifest unknown"] {
            assert!(!is_denial(message), "{message}");
        }
    }

    /// An engine that knows one user, at its address.
    fn engine(folder: &std::path::Path) -> String {
        let answer = async |Json(sent): Json<serde_json::Value>| {
            let message = |status: u16, message: &str| {
                let status = StatusCode::from_u16(status).expect("a status");
                (status, Json(serde_json::json!({ "message": message })))
            };
            assert_eq!(sent["serveraddress"], HUB_ADDRESS);
            match (sent["username"].as_str(), sent["password"].as_str()) {
                (Some("alice"), Some("good")) => {
                    let accepted = serde_json::json!({"Status": "ok", "IdentityToken": ""});
                    (StatusCode::OK, Json(accepted))
                }
                (Some("token"), _) => {
                    let accepted = serde_json::json!({"Status": "ok", "IdentityToken": "t"});
                    (StatusCode::OK, Json(accepted))
                }
                (Some("alice"), _) => message(500, "failed with status: 401 Unauthorized"),
                _ => message(500, "dial tcp: connection refused"),
            }
        };
        let socket = folder.join("engine.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        listener.set_nonblocking(true).expect("set");
        let routes = Router::new().route("/auth", post(answer));
        let server = axum_server::from_unix(listener).expect("a listener");
        tokio::spawn(server.serve(routes.into_make_service()));
        format!("unix://{}", socket.display())
    }

    #[tokio::test]
    async fn a_login_is_checked_through_the_engine() {
        // Only one provider can be the process's default; any other is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let engine = engine(folder.path());
        let checked = async |user, password| check(&engine, "docker.io", user, password).await;
        assert_eq!(checked("alice", "good").await, Ok(None));
        assert_eq!(checked("token", "x").await, Ok(Some("t".to_owned())));
        let wrong = checked("alice", "s3cret").await.expect_err("refused");
        assert!(matches!(&wrong, EngineError::Refused(_)), "{wrong:?}");
        let text = wrong.to_string();
        assert!(text.contains("401") && !text.contains("s3cret"), "{text}");
        let silent = checked("bob", "s3cret").await.expect_err("no answer");
        assert!(matches!(silent, EngineError::Unavailable(_)), "{silent:?}");
        let none = check("tcp://127.0.0.1:1", "docker.io", "bob", "s3cret").await;
        let none = none.expect_err("no engine");
        assert!(matches!(none, EngineError::Unavailable(_)), "{none:?}");
        assert!(!none.to_string().contains("s3cret"), "{none}");
    }
}
