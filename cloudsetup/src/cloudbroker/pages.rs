//! Lists, read whole: page by page, from brokers that page, that do not, and that give fewer per
//! page than they are asked for.

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

/// What is asked for.
const PER_PAGE: usize = 1000;
/// A page may be as long as it is because the broker gives no more at once. Such limits are round
/// numbers, so other pages are known to be the last.
const ROUND: usize = 10;
/// For so long a round page is believed to be the last that was found to be.
const BELIEVED: Duration = Duration::from_secs(600);
/// No account has more.
const MOST_PAGES: usize = 200;

/// The first page that was found to be the whole list.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<Option<(BTreeSet<String>, Instant)>>);

impl Whole {
    /// What was found is not to be relied on any more.
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

/// All of `/path.xml`, whose elements are of this name, each given to `read` once. Tells how many
/// pages it took that had something new.
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
