//! Reads lists completely, page by page, from brokers that page, that do not, and that return fewer
//! per page than requested.

use super::{
    failure::Failure,
    link::Link,
    records::{identified, items},
};
use crate::dom::Element;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Requested page size.
const PER_PAGE: usize = 1000;
/// A broker may cap its pages below the requested size. Such limits are round numbers, so a page of
/// another length is the last.
const ROUND: usize = 10;
/// Time for which a round page stays known as the last.
const BELIEVED: Duration = Duration::from_secs(600);
/// Upper bound for pages.
const MOST_PAGES: usize = 200;

/// The first page that turned out to be the whole list.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<Option<(BTreeSet<String>, Instant)>>);

impl Whole {
    /// Discards the knowledge about the last page.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is(&self, ids: &BTreeSet<String>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .is_some_and(|(known, since)| known == ids && since.elapsed() < BELIEVED)
    }

    fn found(&self, ids: BTreeSet<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((ids, Instant::now()));
    }
}

/// Reads all of `/path.xml` with elements of this name, each passed to `read` once. Returns the
/// number of pages with something new.
pub(super) async fn read_all<T>(
    link: &Link,
    path: &str,
    item: &str,
    whole: Option<&Whole>,
    read: impl Fn(String, &Element) -> T,
) -> Result<(Vec<T>, usize), Failure> {
    let (mut all, mut ids) = (Vec::new(), BTreeSet::new());
    for page in 1..=MOST_PAGES {
        let purpose = format!("list {}", path.replace('_', " "));
        let before = ids.len();
        let take = |root: &Element| {
            let elements = items(root, item)?;
            for element in &elements {
                let id = identified(element, item)?;
                if ids.insert(id.clone()) {
                    all.push(read(id, element));
                }
            }
            Ok(elements.len())
        };
        let length = link
            .read(
                format!("/{path}.xml?page={page}&per_page={PER_PAGE}"),
                &purpose,
                take,
            )
            .await?;
        let nothing_new = ids.len() == before;
        let last = nothing_new
            || length % ROUND != 0
            || (page == 1 && whole.is_some_and(|whole| whole.is(&ids)));
        if last {
            let pages = if nothing_new { page - 1 } else { page };
            if let Some(whole) = whole.filter(|_| pages == 1 && page == 2) {
                whole.found(ids);
            }
            return Ok((all, pages));
        }
    }
    Err(Failure::Lost(format!(
        "cannot list {path}: it has no end after {MOST_PAGES} pages"
    )))
}

#[cfg(test)]
mod tests;
