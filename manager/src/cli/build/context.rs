//! A build context on this machine: a folder or a tarball, sent as a plain tar.

use super::ignore::Ignore;
use crate::{
    build::{
        format::{Format, detect},
        inspect::{Inspector, Limits},
        repack::{self, RepackError, Whole},
    },
    pieces::{Outlet, PIECE, Piece, Valve, WAITING},
};
use flate2::read::MultiGzDecoder;
use std::{
    cell::Cell,
    fs::{File, Metadata},
    io::{self, Read, Seek, Write},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// Upper bound for a Dockerfile and a `.dockerignore`, in bytes.
const TEXT: u64 = 1 << 20;

/// A context that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    #[error("cannot read `{0}`: {1}")]
    Unreadable(String, io::Error),
    #[error("`{0}` is compressed with {1}, which is not read here")]
    Format(String, Format),
    #[error("`{0}` is no valid tar: {1}")]
    Malformed(String, io::Error),
    #[error("`{0}` is refused: {1}")]
    Refused(String, crate::build::inspect::Refusal),
    #[error("`{0}` has no `{1}`")]
    NoDockerfile(String, String),
    #[error("the folder in `{0}` is `{1}`, and the image is to be `{2}`")]
    OtherName(String, String, String),
    #[error("`{0}`: {1}")]
    Ignore(String, super::ignore::BadLine),
    #[error("`{0}` is larger than 1 MiB")]
    LongText(String),
    #[error("`{0}` is neither a file, a folder nor a link")]
    Special(String),
    /// The manager reads no more.
    #[error("the manager does not take the context")]
    Closed,
}

impl ContextError {
    /// The next step.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Format(_, format) => Some(format!(
                "unpack it before: `{} FILE | micado build -f - ...`",
                format.unpacker()
            )),
            Self::NoDockerfile(..) => Some(
                "name the file with `--dockerfile`, by its path in the context; `-f` is the context"
                    .to_owned(),
            ),
            Self::OtherName(_, folder, _) => Some(format!(
                "build it with `-n {folder}`, or pack the folder's content without the folder"
            )),
            Self::Special(_) => Some("name it in `.dockerignore`".to_owned()),
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, ContextError>;

/// A context that was looked through once.
#[derive(Debug)]
pub(super) struct Context {
    /// Name for messages.
    shown: String,
    source: Source,
    ignore: Ignore,
    /// Path of the Dockerfile, and its text.
    dockerfile: String,
    pub(super) text: String,
    /// Bytes of the files that are sent.
    pub(super) size: u64,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Tarball {
        file: File,
        /// The folder that holds all entries, with a slash; or nothing.
        prefix: String,
    },
}

impl Context {
    /// Looks through a folder, a tarball, or with `-` a tarball on standard input, which is kept in
    /// a temporary file. `name` is the image's. Blocks.
    pub(super) fn open(path: &Path, dockerfile: &str, name: &str) -> Result<Self> {
        let shown = path.display().to_string();
        let unreadable = |error| ContextError::Unreadable(shown.clone(), error);
        if path == Path::new("-") {
            let mut file = tempfile::tempfile().map_err(unreadable)?;
            io::copy(&mut io::stdin().lock(), &mut file).map_err(unreadable)?;
            return Self::tarball(file, "standard input".to_owned(), dockerfile, name);
        }
        if path.metadata().map_err(unreadable)?.is_dir() {
            return Self::folder(path, shown, dockerfile);
        }
        let file = File::open(path).map_err(unreadable)?;
        Self::tarball(file, shown, dockerfile, name)
    }

    fn folder(path: &Path, shown: String, dockerfile: &str) -> Result<Self> {
        let dockerfile = parts(dockerfile).join("/");
        let read = |name: &str| match File::open(path.join(name)) {
            Ok(file) => text(file, name).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ContextError::Unreadable(name.to_owned(), error)),
        };
        let own = read(&dockerfile)?
            .ok_or_else(|| ContextError::NoDockerfile(shown.clone(), dockerfile.clone()))?;
        let mut ignores = Vec::new();
        for name in ignore_names(&dockerfile) {
            ignores.push((name.clone(), read(&name)?));
        }
        let mut context = Self {
            shown,
            source: Source::Folder(path.to_owned()),
            ignore: ignore(ignores, &dockerfile)?,
            dockerfile,
            text: own,
            size: 0,
        };
        let mut size = 0;
        context.walk(path, Path::new(""), &mut |_, _, meta: &Metadata| {
            size += if meta.is_file() { meta.len() } else { 0 };
            Ok(())
        })?;
        context.size = size;
        Ok(context)
    }

    fn tarball(file: File, shown: String, dockerfile: &str, name: &str) -> Result<Self> {
        let dockerfile = parts(dockerfile).join("/");
        let survey = Survey::of(&file, &shown, &dockerfile)?;
        let prefix = survey.prefix(&shown, &dockerfile, name)?;
        let find = |path: &str| {
            let path = format!("{prefix}{path}");
            let found = survey.texts.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| text.clone())
        };
        let text = find(&dockerfile)
            .ok_or_else(|| ContextError::NoDockerfile(shown.clone(), dockerfile.clone()))?;
        let ignores = ignore_names(&dockerfile).map(|name| (name.clone(), find(&name)));
        let ignore = ignore(ignores.to_vec(), &dockerfile)?;
        let kept = survey.files.iter().filter(|(name, _)| {
            name.strip_prefix(&prefix)
                .is_some_and(|name| !ignore.excludes(name))
        });
        let size = kept.map(|(_, size)| size).sum();
        Ok(Self {
            shown,
            source: Source::Tarball { file, prefix },
            ignore,
            dockerfile,
            text,
            size,
        })
    }

    /// Sends the context as a plain tar, on a thread of its own. An error ends the stream with one,
    /// and is the thread's result.
    pub(super) fn send(self) -> (mpsc::Receiver<Piece>, tokio::task::JoinHandle<Result<()>>) {
        let (to, pieces) = mpsc::channel(WAITING);
        let sending = tokio::task::spawn_blocking(move || {
            let outlet = Outlet::fallible(to.clone());
            let (shut, outlet) = (
                Cell::new(false),
                io::BufWriter::with_capacity(PIECE, outlet),
            );
            let mut tar = tar::Builder::new(Valve::new(outlet, &shut));
            let sent = self.pack(&mut tar);
            shut.set(sent.is_err());
            let rest = tar.into_inner().and_then(|mut rest| rest.flush());
            if sent.is_err() {
                // Nobody may take what was sent for complete.
                drop(to.blocking_send(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            sent.and(rest.map_err(|_| ContextError::Closed))
        });
        (pieces, sending)
    }

    fn pack(&self, tar: &mut tar::Builder<impl Write>) -> Result<()> {
        match &self.source {
            Source::Folder(path) => self.walk(path, Path::new(""), &mut |path, name, meta| {
                append(tar, path, name, meta)
            }),
            Source::Tarball { file, prefix } => self.repack(file, prefix, tar),
        }
    }

    /// Visits what is sent of a folder, in the order of names.
    fn walk(
        &self,
        folder: &Path,
        below: &Path,
        visit: &mut impl FnMut(&Path, &Path, &Metadata) -> Result<()>,
    ) -> Result<()> {
        let unreadable =
            |path: &Path, error| ContextError::Unreadable(path.display().to_string(), error);
        let entries = folder
            .read_dir()
            .and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut entries = entries.map_err(|error| unreadable(folder, error))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = below.join(entry.file_name());
            let text = name.to_string_lossy();
            let meta = path
                .symlink_metadata()
                .map_err(|error| unreadable(&path, error))?;
            let excluded = self.ignore.excludes(&text);
            // Docker's own client leaves sockets out too.
            if !excluded && !meta.file_type().is_socket() {
                visit(&path, &name, &meta)?;
            }
            if meta.is_dir() && (!excluded || self.ignore.keeps_below(&text)) {
                self.walk(&path, &name, visit)?;
            }
        }
        Ok(())
    }

    fn repack(&self, file: &File, prefix: &str, tar: &mut tar::Builder<impl Write>) -> Result<()> {
        let failed = |error| match error {
            RepackError::Refused(refusal) => ContextError::Refused(self.shown.clone(), refusal),
            RepackError::Closed => ContextError::Closed,
            RepackError::Cut(error) | RepackError::Malformed(error) => {
                ContextError::Malformed(self.shown.clone(), error)
            }
            RepackError::Format(format) => ContextError::Format(self.shown.clone(), format),
        };
        let malformed = |error| ContextError::Malformed(self.shown.clone(), error);
        rewind(file, &self.shown)?;
        let mut archive = tar::Archive::new(unpacked(file, &self.shown)?);
        let dockerfile = format!("{prefix}{}", self.dockerfile);
        let mut inspector = Inspector::new(&dockerfile, Limits::default());
        for entry in archive.entries().map_err(malformed)? {
            let mut entry = entry.map_err(malformed)?;
            if entry.header().entry_type().is_pax_global_extensions() {
                continue;
            }
            let name = repack::admit(&mut inspector, &entry, u64::MAX)
                .map_err(|refusal| failed(refusal.into()))?;
            let Some(name) = name.strip_prefix(prefix.as_bytes()) else {
                continue;
            };
            if self.ignore.excludes(&String::from_utf8_lossy(name)) {
                continue;
            }
            let hard = entry.header().entry_type().is_hard_link();
            let target = entry.link_name_bytes().map(|target| target.into_owned());
            let target = target
                .filter(|_| hard)
                .map(|target| parts(&String::from_utf8_lossy(&target)).join("/"));
            let target = target
                .as_deref()
                .map(|target| target.strip_prefix(prefix).unwrap_or(target).as_bytes());
            repack::copy_entry(&mut entry, tar, name, target).map_err(failed)?;
        }
        Ok(())
    }
}

/// Appends a file, folder or link, owned by root.
fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &Path,
    name: &Path,
    meta: &Metadata,
) -> Result<()> {
    let unreadable = |error| ContextError::Unreadable(path.display().to_string(), error);
    let mut header = tar::Header::new_gnu();
    header.set_metadata(meta);
    header.set_uid(0);
    header.set_gid(0);
    let written = if meta.is_symlink() {
        header.set_size(0);
        let target = path.read_link().map_err(unreadable)?;
        tar.append_link(&mut header, name, target)
    } else if meta.is_dir() {
        header.set_size(0);
        tar.append_data(&mut header, name, io::empty())
    } else if meta.is_file() {
        let file = File::open(path).map_err(unreadable)?;
        // It may grow while it is read.
        let mut content = Whole::new(file.take(meta.len()), meta.len());
        let written = tar.append_data(&mut header, name, &mut content);
        match content.failed {
            Some(error) => return Err(unreadable(error)),
            None => written,
        }
    } else {
        return Err(ContextError::Special(name.display().to_string()));
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ContextError::Closed,
        _ => unreadable(error),
    })
}

/// Findings of a first look through a tarball.
#[derive(Debug, Default)]
struct Survey {
    /// The first parts of all names, at most two.
    tops: Vec<String>,
    /// Dockerfiles and `.dockerignore` files in question, by their names.
    texts: Vec<(String, String)>,
    /// Names and sizes of the files.
    files: Vec<(String, u64)>,
}

impl Survey {
    fn of(file: &File, shown: &str, dockerfile: &str) -> Result<Self> {
        let malformed = |error| ContextError::Malformed(shown.to_owned(), error);
        rewind(file, shown)?;
        let [first, second] = ignore_names(dockerfile);
        let wanted = [dockerfile, &first, &second];
        let mut survey = Self::default();
        let mut archive = tar::Archive::new(unpacked(file, shown)?);
        // No entry can have this name: the Dockerfile's is not known yet.
        let mut inspector = Inspector::new("\0", Limits::default());
        for entry in archive.entries().map_err(malformed)? {
            let mut entry = entry.map_err(malformed)?;
            if entry.header().entry_type().is_pax_global_extensions() {
                continue;
            }
            let path = repack::admit(&mut inspector, &entry, u64::MAX)
                .map_err(|refusal| ContextError::Refused(shown.to_owned(), refusal))?;
            let path = String::from_utf8_lossy(&path).into_owned();
            let top = path.split('/').next().unwrap_or_default();
            if !top.is_empty() && survey.tops.len() < 2 && !survey.tops.iter().any(|it| it == top) {
                survey.tops.push(top.to_owned());
            }
            if !entry.header().entry_type().is_file() {
                continue;
            }
            survey.files.push((path.clone(), entry.size()));
            let inner = path.split_once('/').map_or("", |(_, inner)| inner);
            if wanted.contains(&path.as_str()) || wanted.contains(&inner) {
                let text = text(&mut entry, &path)?;
                survey.texts.push((path, text));
            }
        }
        Ok(survey)
    }

    /// The folder that holds everything, if it is the image's.
    fn prefix(&self, shown: &str, dockerfile: &str, name: &str) -> Result<String> {
        let has = |path: &str| self.texts.iter().any(|(name, _)| name == path);
        match self.tops.as_slice() {
            [only] if !has(dockerfile) && has(&format!("{only}/{dockerfile}")) => {
                if only == name {
                    return Ok(format!("{only}/"));
                }
                Err(ContextError::OtherName(
                    shown.to_owned(),
                    only.clone(),
                    name.to_owned(),
                ))
            }
            _ => Ok(String::new()),
        }
    }
}

fn rewind(mut file: &File, shown: &str) -> Result<()> {
    file.rewind()
        .map_err(|error| ContextError::Unreadable(shown.to_owned(), error))
}

/// A reader of the tar within a tarball.
fn unpacked<'a>(file: impl Read + 'a, shown: &str) -> Result<Box<dyn Read + 'a>> {
    let (format, whole) = detect(io::BufReader::with_capacity(PIECE, file))
        .map_err(|error| ContextError::Unreadable(shown.to_owned(), error))?;
    match format {
        Format::Plain => Ok(Box::new(whole)),
        Format::Gzip => Ok(Box::new(MultiGzDecoder::new(whole))),
        other => Err(ContextError::Format(shown.to_owned(), other)),
    }
}

/// The files that may hold the patterns; the first that exists counts.
fn ignore_names(dockerfile: &str) -> [String; 2] {
    [
        format!("{dockerfile}.dockerignore"),
        ".dockerignore".to_owned(),
    ]
}

/// Patterns of the first file that exists. The Dockerfile and the patterns are sent in any case: the
/// engine reads them.
fn ignore(files: Vec<(String, Option<String>)>, dockerfile: &str) -> Result<Ignore> {
    let found = files
        .into_iter()
        .find_map(|(name, text)| Some((name, text?)));
    let Some((name, text)) = found else {
        return Ok(Ignore::default());
    };
    let mut ignore =
        Ignore::parse(&text).map_err(|line| ContextError::Ignore(name.clone(), line))?;
    ignore.keep(dockerfile);
    ignore.keep(&name);
    Ok(ignore)
}

fn text(from: impl Read, name: &str) -> Result<String> {
    let mut text = Vec::new();
    from.take(TEXT + 1)
        .read_to_end(&mut text)
        .map_err(|error| ContextError::Unreadable(name.to_owned(), error))?;
    if text.len() as u64 > TEXT {
        return Err(ContextError::LongText(name.to_owned()));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Parts of a path, without empty ones and `.`.
fn parts(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

#[cfg(test)]
mod tests;
