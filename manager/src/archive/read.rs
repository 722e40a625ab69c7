//! Reading of an archive that is not trusted: every entry is inspected, and what the engine needs is
//! written as a plain tar without names of images.

use crate::{
    build::{
        format::{Format, detect},
        inspect::{self, Inspector, Limits, Name, Refusal},
        repack::{Plain, RepackError, copy_entry, each_entry},
    },
    pieces::Valve,
};
use flate2::read::MultiGzDecoder;
use micado_api::{ErrorBody, ErrorCode, Platform, foreign::excerpt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    io::{self, Read, Seek, Write},
};

/// Upper bounds for an archive. An image has at most 128 layers, with a few files each.
pub(super) const LIMITS: Limits = Limits {
    entries: 10_000,
    unpacked: 20 << 30,
    ratio: 200,
    ratio_from: 1 << 30,
    name: 1024,
};
/// Upper bounds for `manifest.json` and for the configuration of an image, in bytes.
const MANIFEST_MAX: u64 = 1 << 20;
const CONFIG_MAX: u64 = 4 << 20;
/// Upper bound for a part of the archive in a message, in characters.
const SHOWN: usize = 200;
/// Upper bound for the images of an archive.
const IMAGES: usize = 64;

/// The list of images.
const MANIFEST: &str = "manifest.json";
/// Files with other lists of images and names, which the engine shall not read.
const OTHER_LISTS: [&str; 3] = ["repositories", "index.json", "oci-layout"];

/// An archive that is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("the archive is refused: {}", words(.0))]
    Refused(Refusal),
    #[error("the archive is compressed with {0}, which is not read here")]
    Format(Format),
    #[error("the archive is no valid tar: {0}")]
    Malformed(io::Error),
    /// The sender broke off.
    #[error("the archive broke off: {0}")]
    Cut(io::Error),
    /// The file for it is full or failed.
    #[error("the archive cannot be written to a file")]
    Unwritable,
    #[error("it is an OCI archive, and the engine loads archives of `docker save`")]
    Oci,
    #[error("the archive has no `manifest.json`: it is not made by `docker save`")]
    Other,
    #[error("`manifest.json` of the archive is refused: {0}")]
    Manifest(String),
    #[error("the archive has no file `{0}`, which `manifest.json` names")]
    Lacks(String),
    #[error("`{0}` is no configuration of an image: {1}")]
    Config(String, String),
    #[error("file `{0}` of the archive is compressed with {1}, which is not read here")]
    Layer(Name, Format),
}

impl From<RepackError> for ArchiveError {
    fn from(error: RepackError) -> Self {
        match error {
            RepackError::Refused(refusal) => Self::Refused(refusal),
            RepackError::Format(format) => Self::Format(format),
            RepackError::Malformed(error) => Self::Malformed(error),
            RepackError::Cut(error) => Self::Cut(error),
            RepackError::Closed => Self::Unwritable,
        }
    }
}

impl From<ArchiveError> for ErrorBody {
    fn from(error: ArchiveError) -> Self {
        let code = match error {
            ArchiveError::Cut(_) | ArchiveError::Unwritable => ErrorCode::Unavailable,
            _ => ErrorCode::Unsatisfiable,
        };
        let body = Self::new(code, error.to_string());
        match error {
            ArchiveError::Format(format) => body.hint(format!(
                "unpack it before: `{} FILE | micado image import -f -`",
                format.unpacker()
            )),
            ArchiveError::Oci | ArchiveError::Layer(..) => body
                .hint("convert it: `skopeo copy oci-archive:FILE docker-archive:FILE2:NAME:TAG`"),
            ArchiveError::Other => body.hint("`docker save NAME:TAG -o FILE` makes one"),
            _ => body,
        }
    }
}

/// A refusal in terms of an archive, not of a build's context.
fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Above(name) => format!("`{name}` has `..` in its name"),
        Refusal::Absolute(name) => format!("`{name}` has an absolute name"),
        Refusal::Nameless => "an entry has no name".to_owned(),
        Refusal::LongName(name, most) => {
            format!("a name begins `{name}` and has more than {most} bytes")
        }
        Refusal::Leaving { link, target } => {
            format!("link `{link}` leads out of the archive, to `{target}`")
        }
        Refusal::ThroughLink(name) => format!("`{name}` is to be written through a link"),
        Refusal::Device(name) => format!("`{name}` is a device"),
        Refusal::Fifo(name) => format!("`{name}` is a FIFO"),
        Refusal::Other(name, letter) => format!("`{name}` is of type `{letter}`"),
        Refusal::Entries(most) => format!("it has more than {most} entries"),
        Refusal::Large(most) => format!("it has more than {most} bytes unpacked"),
        Refusal::Ratio(most) => format!("it unpacks to more than {most} times its size"),
        Refusal::Twice(name) => format!("it has `{name}` twice"),
        Refusal::NoDockerfile(name) => format!("it has no `{name}`"),
    }
}

/// An image as `manifest.json` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Item {
    /// Path of its configuration.
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default, deserialize_with = "absent")]
    pub(super) names: Vec<String>,
    /// Paths of its layers.
    #[serde(rename = "Layers", default, deserialize_with = "absent")]
    layers: Vec<String>,
}

/// An image as the engine gets it.
#[derive(Serialize)]
struct Nameless<'a> {
    #[serde(rename = "Config")]
    config: &'a str,
    #[serde(rename = "RepoTags")]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: &'a [String],
}

/// A list that may be null.
fn absent<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default())
}

/// Reads an archive, plain or gzip, and writes its files as a plain tar, with a list of images that
/// has no names. Blocks. An error of `from` with the kind `ConnectionAborted` means that the sender
/// broke off. Returns the images with the names that the archive has.
///
/// # Errors
/// See [`ArchiveError`]. Something may have been written.
pub(super) fn strip(
    from: impl Read,
    to: impl Write,
    limits: Limits,
) -> Result<Vec<Item>, ArchiveError> {
    let shut = Cell::new(false);
    let mut tar = tar::Builder::new(Valve::new(to, &shut));
    let mut files = Files::default();
    // No entry can have this name, which would be a Dockerfile's.
    let mut inspector = Inspector::new("\0", limits);
    let items = each_entry::<ArchiveError>(from, &mut inspector, |entry, name| {
        if name.is_empty() {
            return Ok(());
        }
        if files.take(entry, &name)? {
            copy_entry(entry, &mut tar, &name, None)?;
        }
        Ok(())
    })
    .and_then(|()| files.items());
    // The end of the tar is written when it is dropped, unless it is incomplete.
    shut.set(items.is_err());
    let items = items?;
    let nameless: Vec<_> = items.iter().map(Item::nameless).collect();
    let list = serde_json::to_vec(&nameless);
    let list = list.map_err(|error| ArchiveError::Manifest(error.to_string()))?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(list.len() as u64);
    tar.append_data(&mut header, MANIFEST, list.as_slice())
        .map_err(|_| ArchiveError::Unwritable)?;
    let mut to = tar.into_inner().map_err(|_| ArchiveError::Unwritable)?;
    to.flush().map_err(|_| ArchiveError::Unwritable)?;
    Ok(items)
}

impl Item {
    fn nameless(&self) -> Nameless<'_> {
        Nameless {
            config: &self.config,
            names: None,
            layers: &self.layers,
        }
    }
}

/// Files of an archive so far.
#[derive(Debug, Default)]
struct Files {
    /// Entries by name; true for files.
    entries: HashMap<Vec<u8>, bool>,
    manifest: Option<Vec<u8>>,
    is_oci: bool,
}

impl Files {
    /// Takes note of an entry. Returns true if the engine may have it.
    fn take(
        &mut self,
        entry: &mut tar::Entry<'_, Plain<'_>>,
        name: &[u8],
    ) -> Result<bool, ArchiveError> {
        let refused = |refusal| Err(ArchiveError::Refused(refusal));
        let kind = entry.header().entry_type();
        let is_file = !kind.is_dir() && !kind.is_symlink() && !kind.is_hard_link();
        let before = self.entries.insert(name.to_vec(), is_file);
        if before.is_some() && !kind.is_dir() {
            return refused(Refusal::Twice(Name::of(name)));
        }
        let target = entry.link_name_bytes().unwrap_or_default();
        if kind.is_symlink() && target.starts_with(b"/") {
            return refused(Refusal::Leaving {
                link: Name::of(name),
                target: Name::of(&target),
            });
        }
        if name == MANIFEST.as_bytes() {
            if !is_file {
                return Err(ArchiveError::Manifest("it is no file".to_owned()));
            }
            let text = text(entry, MANIFEST_MAX)?;
            let text = text.ok_or_else(|| ArchiveError::Manifest("it is too large".to_owned()))?;
            self.manifest = Some(text);
            return Ok(false);
        }
        let is_list = OTHER_LISTS.iter().any(|list| list.as_bytes() == name);
        if is_list {
            self.is_oci |= name != OTHER_LISTS[0].as_bytes();
            io::copy(entry, &mut io::sink()).map_err(RepackError::reading)?;
        }
        Ok(!is_list)
    }

    /// The images that the archive lists.
    fn items(&self) -> Result<Vec<Item>, ArchiveError> {
        let refused = |words: String| ArchiveError::Manifest(excerpt(&words, SHOWN));
        let Some(manifest) = &self.manifest else {
            return Err(match self.is_oci {
                true => ArchiveError::Oci,
                false => ArchiveError::Other,
            });
        };
        let items: Vec<Item> =
            serde_json::from_slice(manifest).map_err(|error| refused(error.to_string()))?;
        if items.is_empty() || items.len() > IMAGES {
            let words = format!("it lists {} images, not 1 to {IMAGES}", items.len());
            return Err(refused(words));
        }
        for item in &items {
            let has = |path: &str, file_only: bool| {
                let found = self.entries.get(&inspect::clean(path));
                found.is_some_and(|is_file| *is_file || !file_only)
            };
            let config = Some(&item.config).filter(|path| !has(path, true));
            let lacking = config.or_else(|| item.layers.iter().find(|path| !has(path, false)));
            if let Some(path) = lacking {
                return Err(ArchiveError::Lacks(excerpt(path, SHOWN)));
            }
        }
        Ok(items)
    }
}

/// The content of a small file; `None` if it is larger.
fn text(entry: &mut impl Read, most: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
    let mut text = Vec::new();
    entry
        .take(most + 1)
        .read_to_end(&mut text)
        .map_err(RepackError::reading)?;
    Ok(Some(text).filter(|text| text.len() as u64 <= most))
}

/// Id and platform of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) platform: Platform,
}

/// The part of a configuration that is read.
#[derive(Deserialize)]
struct Config {
    architecture: String,
    os: String,
}

impl Facts {
    /// The facts of a configuration: the image's id is its digest.
    fn of(config: &[u8]) -> Result<Self, String> {
        let parsed: Config = serde_json::from_slice(config).map_err(|error| error.to_string())?;
        let digest = Sha256::digest(config);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            id: format!("sha256:{digits}"),
            platform: Platform::new(&parsed.os, &parsed.architecture),
        })
    }
}

/// Reads the facts of each image from a stripped archive, and checks the size of its layers, which
/// may be compressed. Blocks.
///
/// # Errors
/// See [`ArchiveError`].
pub(super) fn facts(
    stripped: impl Read + Seek,
    items: &[Item],
    limits: Limits,
) -> Result<Vec<Facts>, ArchiveError> {
    let configs: HashSet<_> = items.iter().map(|it| inspect::clean(&it.config)).collect();
    let (mut texts, mut unpacked) = (HashMap::new(), 0);
    let mut archive = tar::Archive::new(stripped);
    let entries = archive.entries_with_seek().map_err(RepackError::reading)?;
    for entry in entries {
        let mut entry = entry.map_err(RepackError::reading)?;
        let name = entry.path_bytes().into_owned();
        if configs.contains(&name) {
            if let Some(text) = text(&mut entry, CONFIG_MAX)? {
                texts.insert(name, text);
            }
        } else if entry.header().entry_type().is_file() {
            // Any file may be a layer, by a link.
            unpacked += layer(&mut entry, &name, unpacked, limits)?;
        }
    }
    let facts = items.iter().map(|item| {
        let text = texts.get(&inspect::clean(&item.config));
        let facts = text.map_or_else(|| Err("it is too large".to_owned()), |text| Facts::of(text));
        facts.map_err(|words| {
            let shown = |text: &str| excerpt(text, SHOWN);
            ArchiveError::Config(shown(&item.config), shown(&words))
        })
    });
    facts.collect()
}

/// Unpacked size of a file that may be a layer, beside others of this size.
fn layer(
    entry: &mut tar::Entry<'_, impl Read>,
    name: &[u8],
    others: u64,
    limits: Limits,
) -> Result<u64, ArchiveError> {
    let packed = entry.size();
    let (format, content) = detect(entry).map_err(RepackError::reading)?;
    let size = match format {
        Format::Plain => packed,
        Format::Gzip => {
            let left = limits.unpacked.saturating_sub(others);
            let mut content = MultiGzDecoder::new(content).take(left + 1);
            io::copy(&mut content, &mut io::sink()).map_err(RepackError::reading)?
        }
        other => return Err(ArchiveError::Layer(Name::of(name), other)),
    };
    if others.saturating_add(size) > limits.unpacked {
        return Err(ArchiveError::Refused(Refusal::Large(limits.unpacked)));
    }
    if size > limits.ratio_from && size > packed.saturating_mul(limits.ratio) {
        return Err(ArchiveError::Refused(Refusal::Ratio(limits.ratio)));
    }
    Ok(size)
}

#[cfg(test)]
mod tests;
