//! The manager's address, and how to authenticate it.

use super::{Client, ClientError};
use reqwest::{Certificate, Url};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Authentication of the manager and of the caller over HTTPS. The unix socket needs neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The certificate authority to trust, PEM. Without it, `ca.crt` of the state folder if that is
    /// readable, else the system's authorities.
    pub ca: Option<PathBuf>,
    /// The file with the token. Without it, `token` of the state folder if that is readable, else
    /// none is sent.
    pub token_file: Option<PathBuf>,
    /// The manager's state folder, if it is on this machine.
    pub state: Option<PathBuf>,
}

pub(super) fn connect(address: &str, options: &ConnectOptions) -> Result<Client, ClientError> {
    let refuse = |problem: &str| ClientError::Address {
        address: address.to_owned(),
        problem: problem.to_owned(),
    };
    // reqwest is built without a provider; one that is installed already is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .user_agent(concat!("micado/", env!("CARGO_PKG_VERSION")));
    let (builder, base, token) = if let Some(path) = address.strip_prefix("unix://") {
        if !path.starts_with('/') {
            return Err(refuse(
                "must have an absolute path, as in `unix:///var/lib/micado/micado.sock`",
            ));
        }
        (
            builder.unix_socket(path).tls_certs_only([]),
            Url::parse("http://micado"),
            None,
        )
    } else if address.starts_with("https://") {
        let builder = match file(options.ca.as_deref(), options.state.as_deref(), "ca.crt")? {
            Some((path, pem)) => builder.tls_certs_only(certificates(&path, &pem)?),
            None => builder,
        };
        let token = file(
            options.token_file.as_deref(),
            options.state.as_deref(),
            "token",
        )?;
        (
            builder.https_only(true),
            Url::parse(address),
            token
                .map(|(path, text)| token_in(&path, text))
                .transpose()?,
        )
    } else {
        return Err(refuse("must begin with `unix://` or `https://`"));
    };
    let base = base.map_err(|error| refuse(&format!("is no address: {error}")))?;
    let http = builder
        .build()
        .map_err(|error| refuse(&format!("cannot be used: {error}")))?;
    Ok(Client {
        http,
        address: address.to_owned(),
        base,
        token,
    })
}

/// The named file, which must be readable; else the one in the state folder, if readable.
fn file(
    named: Option<&Path>,
    state: Option<&Path>,
    default: &str,
) -> Result<Option<(PathBuf, Vec<u8>)>, ClientError> {
    let (path, must) = match (named, state) {
        (Some(path), _) => (path.to_owned(), true),
        (None, Some(state)) => (state.join(default), false),
        (None, None) => return Ok(None),
    };
    match fs::read(&path) {
        Ok(content) => Ok(Some((path, content))),
        Err(error)
            if !must
                && matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) =>
        {
            Ok(None)
        }
        Err(error) => Err(ClientError::File {
            path,
            problem: error.to_string(),
        }),
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    let refuse = |problem: String| ClientError::File {
        path: path.to_owned(),
        problem,
    };
    let found = Certificate::from_pem_bundle(pem).map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() {
        Err(refuse("there is no certificate in it".to_owned()))
    } else {
        Ok(found)
    }
}

fn token_in(path: &Path, text: Vec<u8>) -> Result<String, ClientError> {
    let refuse = |problem: &str| ClientError::File {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let text = String::from_utf8(text).map_err(|_| refuse("the token is not text"))?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(refuse("there is no token in it"));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, options: &ConnectOptions) -> String {
        Client::connect(address, options)
            .map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    #[test]
    fn only_a_socket_or_https_will_do() {
        let none = ConnectOptions::default();
        assert_eq!(
            refusal("http://localhost:1", &none),
            "manager address `http://localhost:1` must begin with `unix://` or `https://`"
        );
        assert_eq!(
            refusal("unix://micado.sock", &none),
            "manager address `unix://micado.sock` must have an absolute path, as in `unix:///var/lib/micado/micado.sock`"
        );
        assert_eq!(
            refusal("https://", &none),
            "manager address `https://` is no address: empty host"
        );
        assert_eq!(refusal("unix:///nowhere/micado.sock", &none), "accepted");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let options = ConnectOptions {
            ca: Some("/nowhere/ca.crt".into()),
            ..ConnectOptions::default()
        };
        assert_eq!(
            refusal("https://localhost:1", &options),
            "cannot use `/nowhere/ca.crt`: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn the_state_folder_need_not_be_there() {
        let options = ConnectOptions {
            state: Some("/nowhere".into()),
            ..ConnectOptions::default()
        };
        assert_eq!(refusal("https://localhost:1", &options), "accepted");
    }
}
