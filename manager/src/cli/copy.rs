//! `micado copy` and `micado cp`: files into containers and out of them, streamed, by the rules of
//! `docker cp`.

mod into;
mod local;
mod out;
mod pack;
mod place;
mod rules;
mod tree;
mod unpack;

use super::{
    args::{CopyArgs, CopyFlags, CopyPlace, CpArgs, Way},
    failure::Failure,
    printer::Printer,
    signals::interrupted,
};
use micado_api::{Client, ErrorBody, ErrorCode, PathView, Session};
use place::Place;
use std::path::{Path, PathBuf};

/// Standard input or output, as a tar.
const STREAM: &str = "-";
/// Upper bound for the entries that a message names.
const MOST_NAMED: usize = 20;

pub(super) async fn copy(
    args: CopyArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let container = |path: String| CopyPlace::Container {
        name: args.container.clone(),
        path,
    };
    let here = |path: String| CopyPlace::Here(PathBuf::from(path));
    let (from, to) = match args.way {
        Way::To => (here(args.file), container(args.path)),
        Way::From => (container(args.file), here(args.path)),
    };
    between(from, to, &args.flags, client, printer).await
}

pub(super) async fn cp(args: CpArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    between(args.from, args.to, &args.flags, client, printer).await
}

async fn between(
    from: CopyPlace,
    to: CopyPlace,
    flags: &CopyFlags,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let copying = |container| Copying {
        client,
        container,
        follow: flags.follow_link,
        archive: flags.archive,
    };
    match (&from, &to) {
        (CopyPlace::Here(source), CopyPlace::Container { name, path }) => {
            named(path, &source.display().to_string())?;
            match source == Path::new(STREAM) {
                true => into::from_stdin(&copying(name), path, printer).await,
                false => into::into(&copying(name), source, path, printer).await,
            }
        }
        (CopyPlace::Container { name, path }, CopyPlace::Here(target)) => {
            named(path, &target.display().to_string())?;
            match target == Path::new(STREAM) {
                true => out::to_stdout(&copying(name), path, printer).await,
                false => out::out(&copying(name), path, target, printer).await,
            }
        }
        (CopyPlace::Container { .. }, CopyPlace::Container { .. }) => Err(misused(
            "no copy goes from container to container: copy to this machine first, or pipe `micado cp NAME:PATH -` to `micado cp - NAME:FOLDER`",
        )),
        (CopyPlace::Here(_), CopyPlace::Here(_)) => Err(misused(
            "one of both must be in a container, as NAME:PATH, and the other here",
        )),
    }
}

fn named(path: &str, here: &str) -> Result<(), Failure> {
    match path.is_empty() || here.is_empty() {
        true => Err(misused("a path is empty")),
        false => Ok(()),
    }
}

/// A copy into a container or out of it.
struct Copying<'a> {
    client: &'a Client,
    container: &'a str,
    /// Follow a link at the end of the source.
    follow: bool,
    /// Keep or adapt owners.
    archive: bool,
}

impl Copying<'_> {
    async fn stat(&self, place: &Place) -> Result<PathView, Failure> {
        let path = utf8(&place.text())?;
        Ok(self.client.stat(self.container, &path).await?)
    }

    async fn to(&self, folder: &Path) -> Result<Session, Failure> {
        let path = utf8(folder)?;
        let session = self.client.copy_to(self.container, &path, self.archive);
        Ok(session.await?)
    }

    async fn from(&self, place: &Place) -> Result<Session, Failure> {
        let path = utf8(&place.text())?;
        Ok(self.client.copy_from(self.container, &path).await?)
    }
}

/// A path in a container as text.
fn utf8(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        misused("the path in the container is not UTF-8: copy the folder that holds it")
    })
}

/// Source and target of a copy, for people.
struct Ends {
    from: String,
    to: String,
}

/// Reports a copy, or what was left out of it.
fn all_or(ends: &Ends, left_out: Vec<String>, printer: &Printer) -> Result<(), Failure> {
    let Ends { from, to } = ends;
    if left_out.is_empty() {
        if to != "standard output" {
            printer.note(&format!("copied {from} to {to}"));
        }
        return Ok(());
    }
    let count = left_out.len();
    let mut named = left_out;
    if count > MOST_NAMED {
        named.truncate(MOST_NAMED);
        named.push(format!("and {} more", count - MOST_NAMED));
    }
    let words = format!("the copy of {from} to {to} left out {}", named.join(", "));
    Err(ErrorBody::new(ErrorCode::Unsatisfiable, words)
        .hint("all else was copied")
        .into())
}

fn conflict(words: String) -> Failure {
    ErrorBody::new(ErrorCode::Conflict, words).into()
}

/// Refusal by this machine.
fn denied(words: String) -> Failure {
    ErrorBody::new(ErrorCode::Unsatisfiable, words).into()
}

fn misused(words: &str) -> Failure {
    ErrorBody::new(ErrorCode::BadRequest, words).into()
}
