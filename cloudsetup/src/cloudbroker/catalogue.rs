//! The broker's catalogue. Names in `cloudsetup.xml` are looked up in it and must match exactly
//! once.

use super::{failure::Failure, link::Link, pages::read_all};
use crate::dom::Element;
use std::sync::Arc;

/// Upper bound for names in an error.
const LISTED: usize = 10;

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Software,
    Executable,
    Resource,
    Region,
    InstanceType,
    Deployment,
    DataType,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Software,
        Self::Executable,
        Self::Resource,
        Self::Region,
        Self::InstanceType,
        Self::Deployment,
        Self::DataType,
    ];

    /// Its collection, and the name of its elements.
    fn wire(self) -> (&'static str, &'static str) {
        match self {
            Self::Software => ("softwares", "software"),
            Self::Executable => ("executables", "executable"),
            Self::Resource => ("resources", "resource"),
            Self::Region => ("regions", "region"),
            Self::InstanceType => ("instance_types", "instance-type"),
            Self::Deployment => ("deployments", "deployment"),
            Self::DataType => ("data_types", "data-type"),
        }
    }

    /// Returns true if the platform's pages show a shorter name than its lists.
    fn has_short_names(self) -> bool {
        matches!(self, Self::Resource | Self::Region | Self::InstanceType)
    }

    fn word(self) -> &'static str {
        match self {
            Self::InstanceType => "instance type",
            Self::DataType => "data type",
            other => other.wire().1,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) active: bool,
    version: Option<String>,
    /// Number of a deployment: several of one software may be active.
    release: Option<u64>,
    binary: Option<String>,
    /// Name of a region at its cloud's own interface.
    api_name: Option<String>,
    pub(super) software: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) region: Option<String>,
}

impl Entry {
    fn read(id: String, element: &Element) -> Self {
        let text = |name: &str| element.text_of(name).map(str::to_owned);
        // Softwares and deployments have a status word, others a flag, some neither.
        let inactive = text("status").is_some_and(|status| !status.eq_ignore_ascii_case("active"))
            || text("active").is_some_and(|flag| flag == "false");
        Self {
            id,
            name: text("name").unwrap_or_default(),
            active: !inactive,
            version: text("version"),
            release: text("release").and_then(|number| number.trim().parse().ok()),
            binary: text("binary"),
            api_name: text("api-name"),
            software: text("software-id"),
            resource: text("resource-id"),
            region: text("region-id"),
        }
    }

    /// Distinguishes it from others of its name.
    fn candidate(&self) -> String {
        self.version.as_ref().map_or_else(
            || self.id.clone(),
            |version| format!("{} version {version}", self.id),
        )
    }
}

/// The parts of the catalogue read so far. Read again after a refused order, because it may have
/// changed.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// By kind.
    read: [tokio::sync::Mutex<Option<Arc<Vec<Entry>>>>; Kind::ALL.len()],
}

impl Catalogue {
    pub(super) async fn entries(
        &self,
        link: &Link,
        kind: Kind,
    ) -> Result<Arc<Vec<Entry>>, Failure> {
        let mut known = self.read[kind as usize].lock().await;
        if let Some(entries) = &*known {
            return Ok(entries.clone());
        }
        let (path, item) = kind.wire();
        let (entries, _) = read_all(link, path, item, None, Entry::read).await?;
        Ok(known.insert(Arc::new(entries)).clone())
    }

    pub(super) async fn forget(&self) {
        for known in &self.read {
            *known.lock().await = None;
        }
    }

    /// The one active entry of this name that fits; an executable may also be named by its file.
    /// `where_` describes the condition for an error.
    pub(super) async fn find(
        &self,
        link: &Link,
        kind: Kind,
        name: &str,
        where_: &str,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, Failure> {
        let entries = self.entries(link, kind).await?;
        pick(kind, &entries, name, where_, fits)
            .cloned()
            .map_err(Failure::no)
    }

    /// The active deployment of a software in a region, of several the highest release; deployments
    /// have no meaningful names.
    pub(super) async fn deployment(
        &self,
        link: &Link,
        software: &Entry,
        resource: &Entry,
        region: &Entry,
    ) -> Result<Entry, Failure> {
        let entries = self.entries(link, Kind::Deployment).await?;
        let is = |field: &Option<String>, entry: &Entry| field.as_deref() == Some(&entry.id);
        let fitting: Vec<_> = entries
            .iter()
            .filter(|entry| {
                is(&entry.software, software)
                    && is(&entry.resource, resource)
                    && is(&entry.region, region)
            })
            .collect();
        let what = format!(
            "deployment of software `{}` in region `{}` of resource `{}`",
            software.name, region.name, resource.name
        );
        let mut active: Vec<_> = fitting.iter().filter(|entry| entry.active).collect();
        let latest = active.iter().filter_map(|entry| entry.release).max();
        active.retain(|entry| entry.release == latest);
        match (active.as_slice(), fitting.as_slice()) {
            ([one], _) => Ok((**one).clone()),
            ([], []) => Err(Failure::no(format!(
                "the broker has no {what}: have it deployed there"
            ))),
            ([], _) => Err(Failure::no(format!(
                "the broker's {what} is not active: have it activated"
            ))),
            (several, _) => Err(Failure::no(format!(
                "the broker has {} active {what}s: {}: leave one active",
                several.len(),
                candidates(several.iter().map(|entry| **entry))
            ))),
        }
    }
}

/// The one active entry of this name that fits, or the reason why there is none.
fn pick<'e>(
    kind: Kind,
    entries: &'e [Entry],
    name: &str,
    where_: &str,
    fits: impl Fn(&Entry) -> bool,
) -> Result<&'e Entry, String> {
    let by_binary =
        |entry: &Entry| kind == Kind::Executable && entry.binary.as_deref() == Some(name);
    let by_api_name = |entry: &Entry| entry.api_name.as_deref() == Some(name);
    let by_part = |entry: &Entry| kind.has_short_names() && has_part(&entry.name, name);
    let fitting: Vec<_> = entries.iter().filter(|entry| fits(entry)).collect();
    // The first way that any entry is found by.
    let ways: [&dyn Fn(&Entry) -> bool; 4] = [
        &|entry| entry.name == name,
        &by_binary,
        &by_api_name,
        &by_part,
    ];
    let found = ways.iter().map(|is_named| {
        let named = fitting.iter().copied().filter(|entry| is_named(entry));
        named.collect::<Vec<_>>()
    });
    let named = found.into_iter().find(|named| !named.is_empty());
    let named = named.unwrap_or_default();
    let active: Vec<_> = named.iter().copied().filter(|entry| entry.active).collect();
    let what = format!("{} `{name}`{where_}", kind.word());
    match (active.as_slice(), named.as_slice()) {
        ([one], _) => Ok(one),
        ([], []) => {
            let known = fitting
                .iter()
                .filter(|entry| entry.active)
                .map(|entry| entry.name.as_str())
                .collect::<Vec<_>>();
            Err(format!(
                "the broker has no {what} ({}): correct cloudsetup.xml",
                listed(&known)
            ))
        }
        ([], _) => Err(format!(
            "the broker's {what} is not active: have it activated, or name another in cloudsetup.xml"
        )),
        (several, _) if several.iter().all(|entry| entry.name != name) => {
            let names: Vec<&str> = several.iter().map(|entry| entry.name.as_str()).collect();
            Err(format!(
                "the broker has {} active {what}: {}: name one in full in cloudsetup.xml",
                several.len(),
                names.join(", ")
            ))
        }
        (several, _) => Err(format!(
            "the broker has {} active {what}: {}: leave one active",
            several.len(),
            candidates(several.iter().copied())
        )),
    }
}

/// Returns true if whole words of a name, at its begin or end, are the short one. The platform
/// prefixes the names of regions and types with the resource's, which its pages leave out.
fn has_part(long: &str, short: &str) -> bool {
    let is_word_end = |rest: &str, next: Option<char>| {
        !rest.is_empty() && next.is_some_and(|next| !next.is_alphanumeric())
    };
    let begins = |rest: &str| is_word_end(rest, rest.chars().next());
    let ends = |rest: &str| is_word_end(rest, rest.chars().next_back());
    !short.is_empty()
        && (long.strip_prefix(short).is_some_and(begins)
            || long.strip_suffix(short).is_some_and(ends))
}

fn candidates<'e>(entries: impl Iterator<Item = &'e Entry>) -> String {
    entries.map(Entry::candidate).collect::<Vec<_>>().join(", ")
}

fn listed(names: &[&str]) -> String {
    match names.split_at_checked(LISTED) {
        _ if names.is_empty() => "it has none".to_owned(),
        Some((shown, rest)) if !rest.is_empty() => {
            format!("it has: {} and {} more", shown.join(", "), rest.len())
        }
        _ => format!("it has: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
