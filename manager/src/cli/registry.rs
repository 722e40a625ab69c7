//! `micado registry`: logins to external registries.

use super::{
    args::{LoginArgs, RegistryVerb},
    failure::Failure,
    page::Page,
    printer::Printer,
    tables, terminal,
};
use crate::{api::validate, clock, model::login_host};
use micado_api::{Client, ErrorBody, ErrorCode, LoginRequest, LoginView};
use std::io::{self, IsTerminal, Read};

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
    validate::registry(&args.host)?;
    let password = match args.password_stdin {
        true => piped()?,
        false => typed(&args)?,
    };
    let request = LoginRequest {
        user: args.user,
        password,
        check: !args.no_check,
    };
    validate::login(&args.host, &request)?;
    let all = client.log_in(&args.host, &request).await?;
    let host = login_host(&args.host);
    show(
        all.into_iter().filter(|it| it.host == host).collect(),
        printer,
    )
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
fn typed(args: &LoginArgs) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let message = "there is no terminal to ask for the password";
        return Err(ErrorBody::new(ErrorCode::BadRequest, message)
            .hint("`--password-stdin` reads it from standard input")
            .into());
    }
    let prompt = format!("password of {} at {}: ", args.user, args.host);
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
