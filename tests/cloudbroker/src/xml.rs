//! Writes answers as XML, in the chosen spelling.

use crate::{
    random::Dice,
    spelling::{Nulls, Spelling},
};
use quick_xml::escape::escape;
use std::fmt::Write;

/// An element with children. Names are given with hyphens; those with underscores keep them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    name: &'static str,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Name, value, and the `type` attribute if any. `None` is a null.
    Value(&'static str, Option<String>, Option<&'static str>),
    Nested(Record),
}

impl Record {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            parts: Vec::new(),
        }
    }

    /// Text, present even if empty.
    pub(crate) fn text(self, name: &'static str, value: impl Into<String>) -> Self {
        self.part(name, Some(value.into()), None)
    }

    /// Text, or a null.
    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.part(name, value.map(Into::into), None)
    }

    pub(crate) fn flag(self, name: &'static str, value: bool) -> Self {
        self.part(name, Some(value.to_string()), Some("boolean"))
    }

    pub(crate) fn integer(self, name: &'static str, value: impl Into<i64>) -> Self {
        self.part(name, Some(value.into().to_string()), Some("integer"))
    }

    /// A typed value, or a null of that type.
    pub(crate) fn typed(
        self,
        name: &'static str,
        kind: &'static str,
        value: Option<String>,
    ) -> Self {
        self.part(name, value, Some(kind))
    }

    pub(crate) fn nest(mut self, record: Self) -> Self {
        self.parts.push(Part::Nested(record));
        self
    }

    fn part(
        mut self,
        name: &'static str,
        value: Option<String>,
        kind: Option<&'static str>,
    ) -> Self {
        self.parts.push(Part::Value(name, value, kind));
        self
    }
}

/// Writes documents.
pub(crate) struct Writer<'a> {
    pub(crate) spelling: &'a Spelling,
    pub(crate) dice: &'a mut Dice,
}

impl Writer<'_> {
    pub(crate) fn document(&mut self, record: &Record) -> String {
        let mut text = prolog();
        self.record(&mut text, record, 0);
        text
    }

    /// A list with the collection's name as wrapper (or the name that old versions use for an empty
    /// one).
    pub(crate) fn list(&mut self, name: &str, records: &[Record]) -> String {
        let mut text = prolog();
        if records.is_empty() {
            let name = if self.spelling.nil_classes {
                "nil-classes"
            } else {
                name
            };
            let _ = writeln!(text, "<{} type=\"array\"/>", self.spelt(name));
            return text;
        }
        let name = self.spelt(name);
        let _ = writeln!(text, "<{name} type=\"array\">");
        for record in records {
            self.record(&mut text, record, 1);
        }
        let _ = writeln!(text, "</{name}>");
        text
    }

    fn record(&mut self, text: &mut String, record: &Record, depth: usize) {
        let (name, indent) = (self.spelt(record.name), "  ".repeat(depth));
        let _ = writeln!(text, "{indent}<{name}>");
        for part in &record.parts {
            match part {
                Part::Nested(record) => self.record(text, record, depth + 1),
                Part::Value(name, value, kind) => {
                    self.value(text, name, value.as_deref(), *kind, depth + 1)
                }
            }
        }
        let _ = writeln!(text, "{indent}</{name}>");
    }

    fn value(
        &mut self,
        text: &mut String,
        name: &str,
        value: Option<&str>,
        kind: Option<&str>,
        depth: usize,
    ) {
        let (name, indent) = (self.spelt(name), "  ".repeat(depth));
        let kind = kind
            .map(|kind| format!(" type=\"{kind}\""))
            .unwrap_or_default();
        let _ = match (value, self.nulls()) {
            (Some(value), _) => writeln!(text, "{indent}<{name}{kind}>{}</{name}>", escape(value)),
            (None, Nulls::Empty) => writeln!(text, "{indent}<{name}></{name}>"),
            (None, Nulls::Absent) => Ok(()),
            (None, _) => writeln!(text, "{indent}<{name}{kind} nil=\"true\"/>"),
        };
    }

    fn nulls(&mut self) -> Nulls {
        match self.spelling.nulls {
            Nulls::Random => [Nulls::Attribute, Nulls::Empty, Nulls::Absent][self.dice.below(3)],
            other => other,
        }
    }

    fn spelt(&self, name: &str) -> String {
        if self.spelling.underscores {
            name.replace('-', "_")
        } else {
            name.to_owned()
        }
    }
}

/// The document of a refusal.
pub(crate) fn errors(messages: &[String], kind: Option<&str>) -> String {
    let mut text = prolog() + "<errors>\n";
    for message in messages {
        let _ = writeln!(text, "  <error>{}</error>", escape(message.as_str()));
    }
    if let Some(kind) = kind {
        let _ = writeln!(text, "  <type>{kind}</type>");
    }
    text + "</errors>\n"
}

fn prolog() -> String {
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(spelling: &Spelling) -> String {
        let inner = Record::new("tag").text("id", "2");
        let record = Record::new("job")
            .text("name", "a & b")
            .maybe("deployment-id", None::<String>)
            .integer("nodes", 1)
            .nest(inner);
        Writer {
            spelling,
            dice: &mut Dice::new(1),
        }
        .list("jobs", &[record])
    }

    #[test]
    fn the_likely_spelling_is_that_of_rails() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<jobs type=\"array\">\n  <job>\n    <name>a &amp; b</name>\n    <deployment-id nil=\"true\"/>\n    \
            <nodes type=\"integer\">1</nodes>\n    <tag>\n      <id>2</id>\n    </tag>\n  </job>\n</jobs>\n";
        assert_eq!(written(&Spelling::default()), expected);
    }

    #[test]
    fn nulls_and_hyphens_can_be_otherwise() {
        let empty = written(&Spelling {
            underscores: true,
            nulls: Nulls::Empty,
            ..Spelling::default()
        });
        assert!(empty.contains("<deployment_id></deployment_id>"), "{empty}");
        let absent = written(&Spelling {
            nulls: Nulls::Absent,
            ..Spelling::default()
        });
        assert!(!absent.contains("deployment"), "{absent}");
    }

    #[test]
    fn an_empty_list_has_two_names() {
        let list = |nil_classes| {
            Writer {
                spelling: &Spelling {
                    nil_classes,
                    ..Spelling::default()
                },
                dice: &mut Dice::new(1),
            }
            .list("jobs", &[])
        };
        assert!(
            list(false).ends_with("<jobs type=\"array\"/>\n")
                && list(true).ends_with("<nil-classes type=\"array\"/>\n")
        );
    }

    #[test]
    fn errors_carry_their_type() {
        let text = errors(&["Name can't be blank".to_owned()], Some("wrong status"));
        assert!(text.ends_with("<errors>\n  <error>Name can&apos;t be blank</error>\n  <type>wrong status</type>\n</errors>\n"), "{text}");
    }
}
