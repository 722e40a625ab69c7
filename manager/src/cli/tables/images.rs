//! Images as tables.

use super::{
    super::page::Page,
    text,
    usage::{critical, footprint, span},
};
use comfy_table::Table;
use micado_api::{ImageView, MemoryBytes, RemovalView, RevisionView, ServiceName};
use std::time::Duration;

/// Length of a shortened digest, sufficient to distinguish it.
const DIGEST: usize = 12;

/// Images, by name. Columns about the registry appear only if it has any.
pub(in crate::cli) fn images(views: &[ImageView]) -> Table {
    let stored = views
        .iter()
        .any(|view| !view.revisions.is_empty() || !view.services.is_empty());
    let mut header = vec!["IMAGE", "DIGEST"];
    if stored {
        header.extend(["SIZE", "SERVICES", "REVISIONS"]);
    }
    header.extend(["FOOTPRINT", "CRITICAL USAGE", "MEASURED"]);
    let mut table = Page::table(&header);
    for view in views {
        let mut row = vec![view.image.clone(), text(view.digest.as_deref().map(short))];
        if stored {
            row.extend([text(size(view)), listed(&view.services), revisions(view)]);
        }
        row.extend([
            text(view.footprint.as_ref()),
            critical(view),
            span(Duration::from_millis(view.measured_ms)),
        ]);
        table.add_row(row);
    }
    table
}

/// An image with its revisions.
pub(in crate::cli) fn image(view: &ImageView) -> Page {
    let mut table = Page::table(&[]);
    for (name, value) in [
        ("image", view.image.clone()),
        ("digest", text(view.digest.as_ref())),
        ("size", text(size(view))),
        ("services", listed(&view.services)),
        ("footprint", footprint(view)),
        ("critical usage", critical(view)),
    ] {
        if !value.is_empty() {
            table.add_row([name, &value]);
        }
    }
    let page = Page::default().with(table);
    if view.revisions.is_empty() {
        return page;
    }
    let mut table = Page::table(&["REVISION", "SIZE", "NAMES", "SERVICES"]);
    for revision in &view.revisions {
        table.add_row([
            short(&revision.digest),
            revision.size.to_string(),
            revision.names.join(" "),
            listed(&revision.services),
        ]);
    }
    page.line("").with(table)
}

/// Images that were removed, or would be.
pub(in crate::cli) fn removed_images(view: &RemovalView) -> Table {
    let mut table = Page::table(&["IMAGE", "DIGEST", "SIZE"]);
    for image in &view.images {
        let size = image.size.to_string();
        table.add_row([image.image.clone(), short(&image.digest), size]);
    }
    table
}

/// Size of the revision that new services get.
fn size(view: &ImageView) -> Option<MemoryBytes> {
    let is_present = |it: &&RevisionView| Some(&it.digest) == view.digest.as_ref();
    view.revisions.iter().find(is_present).map(|it| it.size)
}

/// Count of revisions, and of the earlier ones that services keep.
fn revisions(view: &ImageView) -> String {
    let earlier = view.revisions.iter();
    let earlier = earlier.filter(|it| Some(&it.digest) != view.digest.as_ref());
    let pinned = earlier.filter(|it| !it.services.is_empty()).count();
    match (view.revisions.len(), pinned) {
        (0, _) => String::new(),
        (count, 0) => count.to_string(),
        (count, pinned) => format!("{count}, {pinned} pinned"),
    }
}

fn listed(services: &[ServiceName]) -> String {
    let services: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
    services.join(" ")
}

fn short(digest: &str) -> String {
    let hex = digest.rsplit_once(':').map_or(digest, |(_, hex)| hex);
    hex.chars().take(DIGEST).collect()
}
