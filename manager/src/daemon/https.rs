//! The HTTPS API's address, the names in its certificate, and the renewal of that certificate.

use crate::{
    api::{Certificate, JOIN_PATH},
    cli::args::ManagerArgs,
    pki::Pki,
};
use std::{sync::Arc, time::Duration};

/// Interval between two checks of the certificate.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Names under which clients may reach the HTTPS API.
pub(super) fn own_names(args: &ManagerArgs, address: &str) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        address.to_owned(),
    ];
    names.extend(args.api_address.as_ref().map(|at| at.host.clone()));
    if !args.listen.ip().is_unspecified() {
        names.push(args.listen.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}

/// URL for the trade of machines' credentials. `address` is the manager's engine as machines reach
/// it, `port` that of the HTTPS API.
pub(super) fn join_url(args: &ManagerArgs, address: &str, port: u16) -> String {
    let said = args.api_address.as_ref();
    if said.is_none() && args.listen.ip().is_loopback() {
        tracing::warn!(listen = %args.listen, "no machine can reach the HTTPS API, so none will join; listen on an address of the machines' network, or say --api-address");
    }
    let host = said.map_or(address, |at| at.host.as_str());
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!(
        "https://{host}:{}{JOIN_PATH}",
        said.and_then(|at| at.port).unwrap_or(port)
    )
}

/// Checks every day if the certificate of the HTTPS API must be renewed, and passes the valid one
/// to the API.
pub(super) async fn keep_certificate(pki: Arc<Pki>, names: Vec<String>, shown: Certificate) {
    loop {
        tokio::time::sleep(DAY).await;
        let kept = pki
            .server_certificate("https", &names)
            .map_err(anyhow::Error::from);
        let kept =
            kept.and_then(|it| Ok(shown.replace(it.certificate.as_bytes(), it.key.as_bytes())?));
        if let Err(error) = kept {
            tracing::warn!(%error, "the certificate of the HTTPS API could not be looked after; it is tried again tomorrow");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Verb};
    use clap::Parser;

    fn args(line: &str) -> ManagerArgs {
        let line = format!("micado manager {line}");
        match Cli::parse_from(line.split_whitespace()).verb {
            Verb::Manager(args) => *args,
            verb => panic!("not the daemon: {verb:?}"),
        }
    }

    #[test]
    fn machines_are_told_an_address_that_the_certificate_names() {
        let cases = [
            ("", "https://10.0.0.1:7443/v1/join", "10.0.0.1"),
            (
                "--api-address micado.example.org",
                "https://micado.example.org:7443/v1/join",
                "micado.example.org",
            ),
            (
                "--api-address 192.0.2.7:443",
                "https://192.0.2.7:443/v1/join",
                "192.0.2.7",
            ),
            (
                "--api-address 2001:db8::7",
                "https://[2001:db8::7]:7443/v1/join",
                "2001:db8::7",
            ),
            (
                "--api-address [2001:db8::7]:443",
                "https://[2001:db8::7]:443/v1/join",
                "2001:db8::7",
            ),
        ];
        for (line, url, name) in cases {
            assert_eq!(join_url(&args(line), "10.0.0.1", 7443), url);
            assert!(
                own_names(&args(line), "10.0.0.1")
                    .iter()
                    .any(|it| it == name),
                "{line}"
            );
        }
    }
}
