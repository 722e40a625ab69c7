//! Judges an answer: yes, a clear no, or unclear. An `errors` element decides before the status.

use super::http::Answer;
use crate::{
    BrokerError,
    dom::{self, Element},
};
use std::fmt;

/// Characters shown of an answer that is not an error document.
const SHOWN: usize = 200;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The broker refused, or was not asked for a lasting reason.
    No(No, String),
    /// No answer, or one that leaves the effect open.
    Lost(String),
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum No {
    /// No such record.
    Absent,
    /// The record's status does not allow it.
    WrongStatus,
    /// User or password are wrong.
    Credentials,
    /// Any other.
    Other,
}

impl Failure {
    pub(super) fn is(&self, no: No) -> bool {
        matches!(self, Self::No(kind, _) if *kind == no)
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::No(_, words) | Self::Lost(words) => words,
        }
    }

    /// Prefixes the purpose of the call.
    pub(super) fn doing(self, purpose: &str) -> Self {
        match self {
            Self::No(kind, words) => Self::No(kind, format!("cannot {purpose}: {words}")),
            Self::Lost(words) => Self::Lost(format!("cannot {purpose}: {words}")),
        }
    }

    /// A refusal of our own.
    pub(super) fn no(words: impl Into<String>) -> Self {
        Self::No(No::Other, words.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl From<Failure> for BrokerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::No(_, words) => Self::Refused(words),
            Failure::Lost(words) => Self::Unknown(words),
        }
    }
}

/// Verdict on an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// A refusal with the broker's message.
    No(No, String),
    /// Rate limit or overload: pause all calls.
    Overrun(String),
    /// The effect is unknown.
    Unclear(String),
}

pub(super) fn judge(answer: &Answer) -> Verdict {
    let (status, document) = (answer.status, ErrorDocument::read(&answer.body));
    let text = document
        .as_ref()
        .map_or_else(|| bare(answer), |document| document.text.clone());
    if matches!(status, 429 | 503) {
        return Verdict::Overrun(text);
    }
    match (document, status) {
        // Whatever the text says: a call that came too slowly may have been executed.
        (_, 408) => Verdict::Unclear(text),
        (Some(document), _) => Verdict::No(document.kind(status), text),
        // The API never answers with a page: a sign-in form or a proxy stands in front of it.
        (None, 200..=299) if is_page(&answer.body) => {
            Verdict::Unclear(format!("it answered {status} with a web page"))
        }
        (None, 200..=299) => Verdict::Yes,
        (None, 401) => Verdict::No(No::Credentials, text),
        (None, 404) => Verdict::No(No::Absent, text),
        (None, 400..=499) => Verdict::No(No::Other, text),
        (None, _) => Verdict::Unclear(text),
    }
}

struct ErrorDocument {
    text: String,
    kind: String,
}

impl ErrorDocument {
    fn read(body: &str) -> Option<Self> {
        // Parsing long lists is slow, and errors are rare.
        let document = body.contains("errors").then(|| dom::parse(body).ok())??;
        let errors = first(&document, "errors")?;
        let texts: Vec<_> = errors
            .children
            .iter()
            .filter(|child| child.is("error"))
            .map(everything)
            .filter(|text| !text.is_empty())
            .collect();
        let kind = errors
            .text_of("type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let text = if texts.is_empty() {
            "an error without a message".to_owned()
        } else {
            texts.join("; ")
        };
        Some(Self { text, kind })
    }

    fn kind(&self, status: u16) -> No {
        match self.kind.as_str() {
            "authentication" => No::Credentials,
            "wrong status" => No::WrongStatus,
            _ if status == 401 => No::Credentials,
            _ if status == 404 || self.text.eq_ignore_ascii_case("404: record not found") => {
                No::Absent
            }
            _ => No::Other,
        }
    }
}

/// The first element of this name in document order, at any depth: good records hold no `errors`,
/// and the vendor's client takes them wherever they stand.
fn first<'e>(element: &'e Element, name: &str) -> Option<&'e Element> {
    if element.is(name) {
        return Some(element);
    }
    element.children.iter().find_map(|child| first(child, name))
}

/// Distinguishes a web page from an answer of the API.
fn is_page(body: &str) -> bool {
    let start = body.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    ["<!doctype html", "<html"].iter().any(|opening| {
        start
            .get(..opening.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(opening))
    })
}

/// The text of an element and of everything in it.
fn everything(element: &Element) -> String {
    let parts =
        std::iter::once(element.text.clone()).chain(element.children.iter().map(everything));
    parts
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Excerpt of an answer that is not an error document.
fn bare(answer: &Answer) -> String {
    let status = answer.status;
    if let (300..=399, Some(location)) = (status, &answer.location) {
        return format!(
            "it answered {status} and points to `{location}`, where nothing is sent: correct the endpoint in cloudsetup.xml"
        );
    }
    let text: String = answer
        .body
        .trim()
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.is_empty() || text.starts_with('<') {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {text}")
    }
}

#[cfg(test)]
mod tests;
