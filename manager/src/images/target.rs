//! An image as people name it: `NAME`, `NAME:TAG` or `NAME@DIGEST`.

use super::{CONTENT_TAG, Revision, repo_name};
use crate::engine::swarm::repository;
use std::{fmt, str::FromStr};

/// A named image, or all images of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name without tag and digest.
    name: String,
    part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    All,
    Tag(String),
    /// Beginning of a digest, without `sha256:`.
    Digest(String),
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let name = repository(text).to_owned();
        let part = match text.get(name.len()..).unwrap_or_default() {
            "" => Part::All,
            rest => match (rest.strip_prefix(':'), rest.strip_prefix('@')) {
                (Some(tag), _) => Part::Tag(tag.to_owned()),
                (_, Some(digest)) => Part::Digest(hex(text, digest)?),
                _ => return Err(format!("`{text}` is no image name")),
            },
        };
        if name.is_empty() {
            return Err(format!("`{text}` is no image name"));
        }
        Ok(Self { name, part })
    }
}

/// Digits of a digest, or of its beginning.
fn hex(text: &str, digest: &str) -> Result<String, String> {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (CONTENT_TAG..=64).contains(&digits.len()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err(format!(
        "`{text}` has no digest: expected at least {CONTENT_TAG} hexadecimal digits after `@`"
    ))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::All => f.write_str(&self.name),
            Part::Tag(tag) => write!(f, "{}:{tag}", self.name),
            Part::Digest(digest) => write!(f, "{}@sha256:{digest}", self.name),
        }
    }
}

impl Target {
    /// Name without tag and digest.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the record of an image, under the name that it was launched by, goes with
    /// it.
    #[must_use]
    pub fn records(&self, image: &str) -> bool {
        match &self.part {
            Part::All => repository(image) == self.name,
            Part::Tag(_) => image == self.to_string(),
            Part::Digest(_) => false,
        }
    }

    /// Returns true if it names this image of the registry.
    pub(super) fn chooses(&self, revision: &Revision) -> bool {
        repo_name(&self.name) == revision.stored.repo
            && match &self.part {
                Part::All => true,
                Part::Tag(_) => revision.names.contains(&self.to_string()),
                Part::Digest(digest) => {
                    let own = revision.stored.digest.trim_start_matches("sha256:");
                    own.starts_with(digest)
                }
            }
    }

    /// Returns true if a name in the engine goes with it; `of_chosen`: that of a chosen image.
    pub(super) fn names(&self, name: &str, of_chosen: bool) -> bool {
        match &self.part {
            Part::All => repository(name) == self.name,
            Part::Tag(_) => name == self.to_string(),
            Part::Digest(_) => of_chosen && repository(name) == self.name,
        }
    }

    /// Returns true if nothing else names the image, apart from its name by content.
    pub(super) fn is_all_of(&self, revision: &Revision) -> bool {
        let own = self.to_string();
        match &self.part {
            Part::All | Part::Digest(_) => true,
            Part::Tag(_) => revision.given().all(|name| *name == own),
        }
    }
}
