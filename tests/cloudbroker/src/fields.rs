//! A request's XML body as a set of elements. `-` and `_` are equivalent, an empty element is
//! unset, attributes and unknown elements are ignored.

use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};

/// The elements below the root, name and text. Nested ones (`tag/content`) carry their path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    root: String,
    values: Vec<(String, String)>,
}

impl Fields {
    /// Parses a body with the root `root`.
    ///
    /// # Errors
    /// The reason, if it is another document.
    pub(crate) fn read(body: &[u8], root: &str) -> Result<Self, String> {
        let text =
            std::str::from_utf8(body).map_err(|error| format!("the body is not UTF-8: {error}"))?;
        let fields = parse(text).map_err(|cause| format!("the body is not XML: {cause}"))?;
        if fields.root == root {
            Ok(fields)
        } else {
            Err(format!(
                "the body's root is `{}`, not `{root}`",
                fields.root
            ))
        }
    }

    /// Value of the element.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Value of the element as the record keeps it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// A flag; unset is false.
    ///
    /// # Errors
    /// A value that is neither true nor false, in Rails' wording.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(format!("{} is not included in the list", titled(name))),
        }
    }

    /// A whole number above zero, or `unset`.
    ///
    /// # Errors
    /// Any other value, in Rails' wording.
    pub(crate) fn count(&self, name: &str, unset: u32) -> Result<u32, String> {
        match self.get(name).map(str::parse::<u32>) {
            None => Ok(unset),
            Some(Ok(0)) => Err(format!("{} must be greater than 0", titled(name))),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(format!("{} is not a number", titled(name))),
        }
    }
}

/// `instance-type` in readable form: `Instance type`.
pub(crate) fn titled(name: &str) -> String {
    let words = name.replace('-', " ");
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn parse(text: &str) -> Result<Fields, String> {
    let mut reader = Reader::from_str(text);
    let mut fields = Fields::default();
    let mut path: Vec<(String, String)> = Vec::new();
    let mut roots = 0;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) => {
                roots += usize::from(path.is_empty());
                path.push((plain(tag.local_name().as_ref()), String::new()));
            }
            Event::Empty(tag) => {
                roots += usize::from(path.is_empty());
                path.push((plain(tag.local_name().as_ref()), String::new()));
                close(&mut fields, &mut path);
            }
            Event::End(_) => close(&mut fields, &mut path),
            Event::Text(piece) => append(&mut path, &piece)?,
            Event::CData(piece) => append(&mut path, &piece)?,
            Event::GeneralRef(reference) => {
                let character = reference
                    .resolve_char_ref()
                    .map_err(|error| error.to_string())?;
                let known = character
                    .map(String::from)
                    .or_else(|| resolve_xml_entity(&reference).map(str::to_owned));
                append(
                    &mut path,
                    &known.ok_or("an entity that nobody has declared")?,
                )?;
            }
            Event::Eof => break,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match (path.last(), roots) {
        (None, 1) => Ok(fields),
        (Some((open, _)), _) => Err(format!("`{open}` is not closed")),
        (None, 0) => Err("it is empty".to_owned()),
        (None, _) => Err("it has more than one root".to_owned()),
    }
}

fn append(path: &mut [(String, String)], text: &str) -> Result<(), String> {
    match path.last_mut() {
        Some((_, value)) => value.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("there is text outside of the root".to_owned()),
    }
    Ok(())
}

fn close(fields: &mut Fields, path: &mut Vec<(String, String)>) {
    let Some((name, value)) = path.pop() else {
        return;
    };
    if path.is_empty() {
        fields.root = name;
        return;
    }
    let outer = path.iter().skip(1).map(|(name, _)| name.as_str());
    let key = outer.chain([name.as_str()]).collect::<Vec<_>>().join("/");
    fields.values.push((key, value.trim().to_owned()));
}

fn plain(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Fields {
        Fields::read(text.as_bytes(), "job").expect("a good body")
    }

    #[test]
    fn both_spellings_of_a_name_are_one() {
        let fields = job(
            "<?xml version='1.0' encoding='utf8'?><job><software_name>a &amp; b&#33;</software_name><executable-name><![CDATA[<x>]]></executable-name></job>",
        );
        assert_eq!(fields.get("software-name"), Some("a & b!"));
        assert_eq!(fields.get("executable-name"), Some("<x>"));
    }

    #[test]
    fn empty_is_unset_and_nested_is_apart() {
        let fields = job(
            "<job><id></id><name/><nodes> 2 </nodes><tag><id></id><content>L</content></tag><fees/></job>\n",
        );
        assert_eq!(
            (fields.get("id"), fields.get("name"), fields.get("content")),
            (None, None, None)
        );
        assert_eq!(
            (fields.count("nodes", 1), fields.get("tag/content")),
            (Ok(2), Some("L"))
        );
    }

    #[test]
    fn what_is_no_number_or_flag_is_refused_in_the_broker_s_words() {
        let fields = job("<job><nodes>many</nodes><no-execution>perhaps</no-execution></job>");
        assert_eq!(
            fields.count("nodes", 1),
            Err("Nodes is not a number".to_owned())
        );
        assert_eq!(
            fields.flag("no-execution"),
            Err("No execution is not included in the list".to_owned())
        );
        assert_eq!(fields.flag("isolated"), Ok(false));
    }

    #[test]
    fn what_is_no_document_says_why() {
        for (text, words) in [
            ("", "empty"),
            ("<job>", "not closed"),
            ("<job/><job/>", "more than one"),
            ("<jobs/>", "`jobs`, not `job`"),
            ("x<job/>", "outside"),
        ] {
            let error = Fields::read(text.as_bytes(), "job").expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
