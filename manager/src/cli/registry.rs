//! `micado registry`: logins to external registries, and access to the cluster's own.

use super::{
    args::{LoginArgs, RegistryVerb},
    failure::Failure,
    page::{Page, moment},
    printer::Printer,
    tables, terminal,
};
use crate::{api::validate, clock, model::login_host, pki::Identity, registry::install_reader};
use micado_api::{AccessRequest, Client, ErrorBody, ErrorCode, LoginRequest, LoginView, Timestamp};
use rcgen::{CertificateParams, KeyPair};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

/// Upper bound for a password on standard input, beyond what the manager accepts.
const PASSWORD_MAX: u64 = 64 << 10;

pub(super) async fn registry(
    verb: RegistryVerb,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    match verb {
        RegistryVerb::Login(args) => login(args, client, printer).await,
        RegistryVerb::Logout { host } => show(client.log_out(&host).await?, printer),
        RegistryVerb::List => show(client.logins().await?, printer),
    }
}

async fn login(args: LoginArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let Some((host, user)) = args.host.zip(args.user) else {
        return access(args.certs_dir, client, printer).await;
    };
    validate::registry(&host)?;
    let password = match args.password_stdin {
        true => piped()?,
        false => typed(&user, &host)?,
    };
    let request = LoginRequest {
        user,
        password,
        check: !args.no_check,
    };
    validate::login(&host, &request)?;
    let all = client.log_in(&host, &request).await?;
    let host = login_host(&host);
    show(
        all.into_iter().filter(|it| it.host == host).collect(),
        printer,
    )
}

/// Access to the cluster's registry, as programs read it.
#[derive(Serialize)]
struct Access<'a> {
    host: &'a str,
    folder: &'a Path,
    expires_at: Timestamp,
}

/// Lets programs on this machine read the cluster's registry, by a key that is made here.
async fn access(
    certs_dir: Option<PathBuf>,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let folder = certs_dir.map_or_else(certificates, Ok)?;
    let unmade = |error: rcgen::Error| {
        ErrorBody::new(ErrorCode::Internal, format!("cannot make a key: {error}"))
    };
    let key = KeyPair::generate().map_err(unmade)?;
    let csr = CertificateParams::default().serialize_request(&key);
    let csr = csr.and_then(|csr| csr.pem()).map_err(unmade)?;
    let access = client.registry_access(&AccessRequest { csr }).await?;
    // It becomes a path.
    validate::registry(&access.host)?;
    let identity = Identity {
        certificate: access.certificate,
        key: key.serialize_pem(),
    };
    install_reader(&folder, &access.host, access.authority, identity)
        .map_err(|error| ErrorBody::new(ErrorCode::BadRequest, error.to_string()))?;
    let shown = Access {
        host: &access.host,
        folder: &folder,
        expires_at: access.expires_at,
    };
    printer.data(&shown, || Page::default().line(&access.host))?;
    printer.note(&format!(
        "docker, skopeo and podman read it until {}, as {}/IMAGE@DIGEST; `micado image show IMAGE` has the digests",
        moment(shown.expires_at),
        shown.host
    ));
    Ok(())
}

/// The folder in which docker and skopeo look for certificates: that of all users for root.
fn certificates() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/etc/docker/certs.d"));
    }
    let home = std::env::home_dir().ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::BadRequest,
            "there is no home folder for certificates",
        )
        .hint("`--certs-dir` names another one")
    })?;
    Ok(home.join(".config/containers/certs.d"))
}

/// The password on standard input, without its line end.
fn piped() -> Result<String, Failure> {
    let mut password = String::new();
    let mut input = io::stdin().take(PASSWORD_MAX);
    input.read_to_string(&mut password).map_err(unread)?;
    let end = password.trim_end_matches(['\r', '\n']).len();
    password.truncate(end);
    Ok(password)
}

/// The password as it is typed.
fn typed(user: &str, host: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let message = "there is no terminal to ask for the password";
        return Err(ErrorBody::new(ErrorCode::BadRequest, message)
            .hint("`--password-stdin` reads it from standard input")
            .into());
    }
    let prompt = format!("password of {user} at {host}: ");
    terminal::hidden_line(&prompt).map_err(unread)
}

fn unread(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::Interrupted => Failure::Interrupted("no login is changed".to_owned()),
        _ => {
            let message = format!("cannot read the password: {error}");
            ErrorBody::new(ErrorCode::BadRequest, message).into()
        }
    }
}

/// Prints logins, or says that there is none.
fn show(logins: Vec<LoginView>, printer: &Printer) -> Result<(), Failure> {
    let now = clock::now();
    printer.data(&logins, || match logins.is_empty() {
        true => Page::default(),
        false => Page::default().with(tables::logins(&logins, now)),
    })?;
    if logins.is_empty() {
        printer.note("no logins to registries");
    }
    Ok(())
}
