//! Names of metrics in the documentation, the dashboard and the alert rules are those of a scrape.

use super::{counters, scrape};
use crate::monitor::Format;
use std::{collections::BTreeSet, fs, path::Path};

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words that look like a metric of ours.
fn words(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c)).map(str::to_owned);
    words
        .filter(|word| word.starts_with("micado_") || word.starts_with("process_"))
        .collect()
}

/// Families of a scrape, and all names of their series.
fn exposed() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = scrape().text(&counters(), Format::Prometheus);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families = families.filter_map(|line| line.split(' ').next());
    let families = families.map(str::to_owned).collect();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let series = series.filter_map(|line| line.split(['{', ' ']).next());
    (families, series.map(str::to_owned).collect())
}

#[test]
fn the_dashboard_and_the_rules_ask_for_series_that_exist() {
    let (_, series) = exposed();
    for (file, at_least) in [
        ("monitoring/grafana.json", 20),
        ("monitoring/alerts.yml", 10),
    ] {
        let used = words(&text(file));
        let unknown: Vec<_> = used.difference(&series).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(used.len() >= at_least, "{file} uses {used:?}");
    }
}

#[test]
fn the_documentation_lists_exactly_the_metrics_that_exist() {
    let (families, series) = exposed();
    let page = text("monitoring.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = rows.filter_map(|row| row.split(['`', '{']).next());
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    let listed = listed.intersection(&words(&page)).cloned().collect();
    assert_eq!(
        families, listed,
        "metrics, and rows of tables in docs/monitoring.md"
    );
    let named = words(&page);
    let unknown = named
        .iter()
        .filter(|name| !series.contains(*name) && !families.contains(*name));
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
