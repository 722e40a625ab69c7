//! Parameters of a request, and times in Go's form. Pure.

use super::{DATACENTER, Refused};
use crate::catalogue::Selection;
use axum::http::StatusCode;
use std::time::Duration;

/// Wait of a blocking query without one, and the longest one.
const WAIT: Duration = Duration::from_secs(300);
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Upper bound for selections by tags and metadata together.
const SELECTED_MAX: usize = 64;

/// Parameters of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Index that the caller knows; 0 for none.
    pub(super) index: u64,
    pub(super) wait: Duration,
    pub(super) selection: Selection,
}

impl Query {
    /// Reads a query string. Parameters that change nothing here are ignored; one that would
    /// select, and does not, is refused.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut query = Self {
            index: 0,
            wait: WAIT,
            selection: Selection::default(),
        };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match name.as_ref() {
                "index" if !value.is_empty() => {
                    let index = value.parse();
                    query.index = index.map_err(|_| Refused::bad("Invalid index"))?;
                }
                "wait" if !value.is_empty() => {
                    let wait = duration(&value).ok_or_else(|| Refused::bad("Invalid wait time"))?;
                    let wait = if wait.is_zero() { WAIT } else { wait };
                    query.wait = wait.min(WAIT_MAX);
                }
                "passing" => query.selection.passing = flag(&value)?,
                "tag" => query.selection.tags.push(value.into_owned()),
                "node-meta" => {
                    let (key, value) = value.split_once(':').unwrap_or((&value, ""));
                    let meta = (key.to_owned(), value.to_owned());
                    query.selection.node_meta.push(meta);
                }
                "filter" if !value.is_empty() => {
                    return Err(Refused::bad(
                        "`filter` is not served: without it there would be more than was asked for; use `tag`, `passing` or `node-meta`",
                    ));
                }
                "dc" if !value.is_empty() && value != DATACENTER => {
                    let text = format!("No path to datacenter: this is `{DATACENTER}`");
                    return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, text));
                }
                "ns" | "partition" if !value.is_empty() && value != "default" => {
                    return Err(Refused::bad(format!("there is no {name} `{value}`")));
                }
                _ => {}
            }
        }
        let selected = query.selection.tags.len() + query.selection.node_meta.len();
        if selected > SELECTED_MAX {
            return Err(Refused::bad(format!("more than {SELECTED_MAX} selections")));
        }
        Ok(query)
    }
}

/// Value of the first parameter of this name.
pub(super) fn parameter(text: &str, name: &str) -> Option<String> {
    let mut parameters = form_urlencoded::parse(text.as_bytes());
    let (_, value) = parameters.find(|(key, _)| key == name)?;
    Some(value.into_owned())
}

fn flag(value: &str) -> Result<bool, Refused> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Refused::bad("Invalid value for ?passing")),
    }
}

/// A time in Go's form: `525s`, `60000ms`, `1m30s`, `1.5h`. At most ten digits a number.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, unit) = rest.split_at(end);
        let end = unit.find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, after) = unit.split_at(end.unwrap_or(unit.len()));
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        if number.len() > 10 {
            return None;
        }
        seconds += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    (!text.is_empty() && seconds.is_finite()).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prop_assert, proptest};

    proptest! {
        #[test]
        fn no_query_does_harm(text in ".{0,200}") {
            drop(Query::parse(&text));
            drop(parameter(&text, "token"));
        }

        #[test]
        fn any_wait_is_bounded(text in "([0-9.]{1,12}(ns|us|ms|s|m|h)){0,20}") {
            if let Ok(query) = Query::parse(&format!("index=1&wait={text}")) {
                prop_assert!(query.wait <= WAIT_MAX && !query.wait.is_zero());
            }
        }
    }

    fn parsed(text: &str) -> Query {
        Query::parse(text).expect("it is fine")
    }

    fn refused(text: &str) -> (u16, String) {
        let Refused(status, text) = Query::parse(text).expect_err("it is refused");
        (status.as_u16(), text)
    }

    #[test]
    fn times_are_read_in_go_s_form() {
        let millis = |text| duration(text).map(|time| time.as_millis());
        assert_eq!(millis("525s"), Some(525_000));
        assert_eq!(millis("60000ms"), Some(60_000));
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("1.5h"), Some(5_400_000));
        assert_eq!(millis("0s"), Some(0));
        for wrong in [
            "",
            "5",
            "s",
            "5x",
            "-5s",
            "1e9s",
            "99999999999s",
            "..s",
            "5s ",
        ] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_wait_has_a_default_and_a_bound() {
        assert_eq!(parsed("index=7").wait, WAIT);
        assert_eq!(parsed("index=7&wait=0s").wait, WAIT);
        assert_eq!(parsed("wait=525s").wait, Duration::from_secs(525));
        assert_eq!(parsed("wait=24h").wait, WAIT_MAX);
        assert_eq!(refused("wait=soon"), (400, "Invalid wait time".to_owned()));
        assert_eq!(refused("index=-1"), (400, "Invalid index".to_owned()));
    }

    #[test]
    fn selections_of_one_kind_all_count() {
        let query = parsed("tag=a%3Db&tag=c&passing&node-meta=location:x&near=_agent&stale&cached");
        let node_meta = vec![("location".to_owned(), "x".to_owned())];
        let selection = Selection {
            passing: true,
            tags: vec!["a=b".to_owned(), "c".to_owned()],
            node_meta,
        };
        assert_eq!(query.selection, selection);
        assert!(!parsed("passing=false").selection.passing);
        assert!(parsed("passing=1").selection.passing);
    }

    #[test]
    fn what_would_select_and_does_not_is_refused() {
        assert_eq!(refused("filter=Name%3D%3Dx").0, 400);
        assert_eq!(refused("dc=other").0, 500);
        assert_eq!(refused("ns=team").0, 400);
        assert_eq!(refused("partition=team").0, 400);
        assert_eq!(parsed("dc=micado&ns=default&filter="), parsed(""));
        assert_eq!(refused(&"tag=x&".repeat(65)).0, 400);
    }
}
