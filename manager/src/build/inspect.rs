//! Inspection of a build context, entry by entry. No I/O: a state machine from entries to verdicts.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher, RandomState},
};

/// Upper bounds for a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub entries: u64,
    /// Bytes of all files together, unpacked.
    pub unpacked: u64,
    /// Unpacked bytes per received byte, beyond `ratio_from` unpacked bytes.
    pub ratio: u64,
    pub ratio_from: u64,
    /// Bytes of a name, and of a link's target.
    pub name: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            unpacked: 20 << 30,
            ratio: 200,
            ratio_from: 1 << 30,
            name: 4096,
        }
    }
}

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Symlink,
    Hardlink,
    Device,
    Fifo,
    /// Any other, by its letter in the archive.
    Other(u8),
}

/// An entry as the archive has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub kind: Kind,
    pub name: &'a [u8],
    /// Target of a link.
    pub target: Option<&'a [u8]>,
    /// Size of a file, unpacked, in bytes.
    pub size: u64,
}

/// A context that is refused, with the name of the entry at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("`{0}` has `..` in its name; pack the folder from within")]
    Above(Name),
    #[error("`{0}` has an absolute name; pack the folder from within")]
    Absolute(Name),
    #[error("an entry has no name")]
    Nameless,
    #[error("a name begins `{0}` and has more than {1} bytes")]
    LongName(Name, usize),
    #[error("link `{link}` leads out of the context, to `{target}`; copy the target into it")]
    Leaving { link: Name, target: Name },
    #[error("`{0}` is to be written through a link of the context")]
    ThroughLink(Name),
    #[error("`{0}` is a device; leave it out")]
    Device(Name),
    #[error("`{0}` is a FIFO; leave it out")]
    Fifo(Name),
    #[error("`{0}` is of type `{1}`, which no context needs; pack files, folders and links only")]
    Other(Name, char),
    #[error("the context has more than {0} entries; name what is not needed in `.dockerignore`")]
    Entries(u64),
    #[error(
        "the context has more than {0} bytes unpacked; name what is not needed in `.dockerignore`"
    )]
    Large(u64),
    #[error("the context unpacks to more than {0} times its size")]
    Ratio(u64),
    #[error("the context has `{0}` twice, and which one counts is not defined")]
    Twice(Name),
    #[error("the context has no `{0}`; name the file with `--dockerfile`")]
    NoDockerfile(Name),
}

/// A name for messages: at most 200 bytes of it, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Box<[u8]>);

impl Name {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(200)].into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// Inspects one context.
#[derive(Debug)]
pub struct Inspector {
    limits: Limits,
    dockerfile: Vec<u8>,
    found: bool,
    entries: u64,
    unpacked: u64,
    /// Hashes of the symbolic links' names. Names themselves could take 4 GiB.
    links: HashSet<u64>,
    hasher: RandomState,
}

impl Inspector {
    /// `dockerfile`: its path in the context.
    #[must_use]
    pub fn new(dockerfile: &str, limits: Limits) -> Self {
        Self {
            limits,
            dockerfile: clean(dockerfile),
            found: false,
            entries: 0,
            unpacked: 0,
            links: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Accepts the next entry; `received` is the size so far of the archive as it was sent, in
    /// bytes. Returns the entry's name without `.` and empty parts; empty for the root itself.
    ///
    /// # Errors
    /// See [`Refusal`]. No later entry may be passed on.
    pub fn admit(&mut self, entry: &Entry<'_>, received: u64) -> Result<Vec<u8>, Refusal> {
        let (name, limits) = (Name::of(entry.name), self.limits);
        self.entries += 1;
        if self.entries > limits.entries {
            return Err(Refusal::Entries(limits.entries));
        }
        let parts = self.checked(entry.name)?;
        match entry.kind {
            Kind::File | Kind::Folder => {}
            Kind::Symlink | Kind::Hardlink => self.check_link(entry, &parts)?,
            Kind::Device => return Err(Refusal::Device(name)),
            Kind::Fifo => return Err(Refusal::Fifo(name)),
            Kind::Other(letter) => return Err(Refusal::Other(name, letter.into())),
        }
        self.unpacked = self.unpacked.saturating_add(entry.size);
        self.check_size(received)?;
        let path = joined(&parts);
        if path == self.dockerfile && std::mem::replace(&mut self.found, true) {
            return Err(Refusal::Twice(name));
        }
        if entry.kind == Kind::Symlink {
            self.links.insert(self.hasher.hash_one(&path));
        }
        Ok(path)
    }

    /// Ends the inspection of a complete archive.
    ///
    /// # Errors
    /// [`Refusal::NoDockerfile`].
    pub fn finish(&self) -> Result<(), Refusal> {
        if self.found {
            Ok(())
        } else {
            Err(Refusal::NoDockerfile(Name::of(&self.dockerfile)))
        }
    }

    /// Bytes of all admitted files.
    #[must_use]
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// Parts of an entry's name, which stays in the context.
    fn checked<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, Refusal> {
        let name = || Name::of(bytes);
        if bytes.is_empty() {
            return Err(Refusal::Nameless);
        }
        if bytes.len() > self.limits.name {
            return Err(Refusal::LongName(name(), self.limits.name));
        }
        if bytes.starts_with(b"/") {
            return Err(Refusal::Absolute(name()));
        }
        let parts = parts(bytes);
        if parts.contains(&&b".."[..]) {
            return Err(Refusal::Above(name()));
        }
        for end in 1..parts.len() {
            if self
                .links
                .contains(&self.hasher.hash_one(joined(&parts[..end])))
            {
                return Err(Refusal::ThroughLink(name()));
            }
        }
        Ok(parts)
    }

    /// A hard link's target is a name in the context. That of a symbolic link is relative to its
    /// folder, or absolute: the engine and the image take an absolute one below their own root.
    fn check_link(&self, entry: &Entry<'_>, link: &[&[u8]]) -> Result<(), Refusal> {
        let target = entry.target.unwrap_or_default();
        if target.len() > self.limits.name {
            return Err(Refusal::LongName(Name::of(target), self.limits.name));
        }
        let leaving = || Refusal::Leaving {
            link: Name::of(entry.name),
            target: Name::of(target),
        };
        let absolute = target.starts_with(b"/");
        let mut depth = match entry.kind {
            Kind::Symlink if !absolute => link.len().saturating_sub(1),
            Kind::Hardlink if absolute || target.is_empty() => return Err(leaving()),
            _ => 0,
        };
        for part in parts(target) {
            depth = match part {
                b".." => depth.checked_sub(1).ok_or_else(leaving)?,
                _ => depth + 1,
            };
        }
        Ok(())
    }

    fn check_size(&self, received: u64) -> Result<(), Refusal> {
        let limits = self.limits;
        if self.unpacked > limits.unpacked {
            return Err(Refusal::Large(limits.unpacked));
        }
        let most = received.saturating_mul(limits.ratio);
        if self.unpacked > limits.ratio_from && self.unpacked > most {
            return Err(Refusal::Ratio(limits.ratio));
        }
        Ok(())
    }
}

/// A path without empty parts and `.`, as [`Inspector::admit`] returns names.
pub(crate) fn clean(path: &str) -> Vec<u8> {
    joined(&parts(path.as_bytes()))
}

/// Parts of a path, without empty ones and `.`.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inspector(limits: Limits) -> Inspector {
        Inspector::new("Dockerfile", limits)
    }

    fn file(name: &str, size: u64) -> Entry<'_> {
        Entry {
            kind: Kind::File,
            name: name.as_bytes(),
            target: None,
            size,
        }
    }

    fn link<'a>(kind: Kind, name: &'a str, target: &'a str) -> Entry<'a> {
        Entry {
            kind,
            name: name.as_bytes(),
            target: Some(target.as_bytes()),
            size: 0,
        }
    }

    fn refusal(entry: &Entry<'_>) -> Option<Refusal> {
        inspector(Limits::default()).admit(entry, 0).err()
    }

    #[test]
    fn names_that_leave_the_context_are_refused() {
        for name in ["..", "../x", "a/../../x", "a/.."] {
            assert!(
                matches!(refusal(&file(name, 0)), Some(Refusal::Above(_))),
                "{name}"
            );
        }
        for name in ["/", "/etc/passwd", "//x"] {
            assert!(
                matches!(refusal(&file(name, 0)), Some(Refusal::Absolute(_))),
                "{name}"
            );
        }
        assert_eq!(refusal(&file("", 0)), Some(Refusal::Nameless));
        for name in ["a..b", "..a", "a/...", "./a"] {
            assert_eq!(refusal(&file(name, 0)), None, "{name}");
        }
    }

    #[test]
    fn links_that_leave_the_context_are_refused() {
        let leaves = |kind, name, target| {
            matches!(
                refusal(&link(kind, name, target)),
                Some(Refusal::Leaving { .. })
            )
        };
        assert!(leaves(Kind::Symlink, "a", ".."));
        assert!(leaves(Kind::Symlink, "a", "../etc/passwd"));
        assert!(leaves(Kind::Symlink, "a/b", "../../x"));
        assert!(leaves(Kind::Symlink, "a/b", "../c/../../x"));
        assert!(leaves(Kind::Symlink, "a", "/../x"));
        assert!(leaves(Kind::Hardlink, "a", "/etc/passwd"));
        assert!(leaves(Kind::Hardlink, "a", "../x"));
        assert!(leaves(Kind::Hardlink, "a", ""));
        assert!(!leaves(Kind::Symlink, "a/b", "../x"));
        assert!(!leaves(Kind::Symlink, "rootfs/etc/mtab", "/proc/mounts"));
        assert!(!leaves(Kind::Hardlink, "a/b", "x"));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let mut inspector = inspector(Limits::default());
        let admitted = inspector.admit(&link(Kind::Symlink, "./etc", "/etc"), 0);
        assert_eq!(admitted, Ok(b"etc".to_vec()));
        let through = inspector.admit(&file("etc/passwd", 1), 0);
        assert!(matches!(through, Err(Refusal::ThroughLink(_))));
        assert!(inspector.admit(&file("etcetera/x", 1), 0).is_ok());
    }

    #[test]
    fn types_that_no_context_needs_are_refused() {
        let of = |kind| {
            refusal(&Entry {
                kind,
                ..file("x", 0)
            })
        };
        assert!(matches!(of(Kind::Device), Some(Refusal::Device(_))));
        assert!(matches!(of(Kind::Fifo), Some(Refusal::Fifo(_))));
        assert!(matches!(
            of(Kind::Other(b'M')),
            Some(Refusal::Other(_, 'M'))
        ));
        assert_eq!(of(Kind::Folder), None);
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let limits = Limits {
            entries: 2,
            unpacked: 100,
            ratio: 3,
            ratio_from: 50,
            name: 8,
        };
        let mut all = inspector(limits);
        assert!(all.admit(&file("12345678", 0), 0).is_ok());
        assert!(all.admit(&file("b", 0), 0).is_ok());
        assert_eq!(all.admit(&file("c", 0), 0), Err(Refusal::Entries(2)));

        let one = |entry: Entry<'_>, received| inspector(limits).admit(&entry, received).err();
        let long = one(file("123456789", 0), 0);
        assert!(matches!(long, Some(Refusal::LongName(_, 8))));
        let far = one(link(Kind::Symlink, "a", "123456789"), 0);
        assert!(matches!(far, Some(Refusal::LongName(_, 8))));
        assert_eq!(one(file("a", 100), 100), None);
        assert_eq!(one(file("a", 101), 101), Some(Refusal::Large(100)));
        assert_eq!(one(file("a", u64::MAX), 101), Some(Refusal::Large(100)));
        assert_eq!(one(file("a", 50), 0), None);
        assert_eq!(one(file("a", 51), 17), None);
        assert_eq!(one(file("a", 52), 17), Some(Refusal::Ratio(3)));
        let mut sum = inspector(limits);
        assert!(sum.admit(&file("a", 60), 60).is_ok());
        assert_eq!(sum.admit(&file("b", 60), 120), Err(Refusal::Large(100)));
    }

    #[test]
    fn the_dockerfile_is_there_once() {
        let mut inspector = Inspector::new("./sub//Dockerfile", Limits::default());
        assert!(inspector.admit(&file("Dockerfile", 1), 0).is_ok());
        assert!(matches!(inspector.finish(), Err(Refusal::NoDockerfile(_))));
        assert!(inspector.admit(&file("sub/Dockerfile", 1), 0).is_ok());
        assert_eq!(inspector.finish(), Ok(()));
        let again = inspector.admit(&file("sub/./Dockerfile", 1), 0);
        assert!(matches!(again, Err(Refusal::Twice(_))));
    }

    #[test]
    fn a_refusal_names_the_entry_in_few_bytes() {
        let name = format!("../{}", "x".repeat(4000));
        let refusal = refusal(&file(&name, 0)).expect("refused").to_string();
        assert!(refusal.starts_with("`../xxx"), "{refusal}");
        assert!(refusal.len() < 300, "{refusal}");
    }

    /// Follows a path from the root; `None` if it leaves the root.
    fn resolved(parts: &[&str]) -> Option<Vec<String>> {
        let mut at = Vec::new();
        for part in parts {
            match *part {
                "" | "." => {}
                ".." => drop(at.pop()?),
                name => at.push(name.to_owned()),
            }
        }
        Some(at)
    }

    proptest! {
        /// Every admitted name, and every admitted relative target, resolves below the root.
        #[test]
        fn admitted_entries_stay_below_the_root(
            name in prop::collection::vec("(\\.\\.|\\.|[a-c]|)", 1..6),
            target in prop::collection::vec("(\\.\\.|\\.|[a-c]|)", 1..6),
            hard in any::<bool>(),
        ) {
            let (path, to) = (name.join("/"), target.join("/"));
            let kind = if hard { Kind::Hardlink } else { Kind::Symlink };
            if inspector(Limits::default()).admit(&link(kind, &path, &to), 0).is_ok() {
                let name: Vec<&str> = name.iter().map(String::as_str).collect();
                let target: Vec<&str> = target.iter().map(String::as_str).collect();
                let own = resolved(&name);
                prop_assert!(!path.starts_with('/') && own.is_some(), "{path}");
                let mut from: Vec<String> = own.unwrap_or_default();
                from.pop();
                let base: Vec<&str> = if hard || to.starts_with('/') {
                    Vec::new()
                } else {
                    from.iter().map(String::as_str).collect()
                };
                prop_assert!(resolved(&[base, target].concat()).is_some(), "{path} -> {to}");
            }
        }
    }
}
