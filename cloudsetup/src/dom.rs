//! XML as a tree small enough to look things up in, each element with its place in the text.

use quick_xml::{Reader, escape::resolve_xml_entity, events::BytesStart, events::Event};

/// A place in a text, both counted from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// One element. Attributes are not kept, but for `nil`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// Without name space, `_` as `-`: services of this kind mix the two.
    pub(crate) name: String,
    /// Where its `<` stands.
    pub(crate) place: Place,
    /// What stands directly in it, without the blanks around.
    pub(crate) text: String,
    /// In the text's order.
    pub(crate) children: Vec<Element>,
    nil: bool,
}

/// Why a text is not XML, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) place: Place,
    pub(crate) cause: String,
}

impl Element {
    /// The first child of this name. Absent, empty and `nil` are one.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        let name = dashed(name);
        self.children.iter().find(|child| child.name == name && !child.is_empty())
    }

    /// The text of [`Self::child`].
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.nil || self.text.is_empty() && self.children.is_empty()
    }

    fn open(tag: &BytesStart<'_>, place: Place) -> Result<Self, String> {
        let mut nil = false;
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            nil |= attribute.key.local_name().as_ref() == "nil" && matches!(attribute.value.as_ref(), "true" | "1");
        }
        let name = dashed(tag.local_name().as_ref());
        Ok(Self { name, place, text: String::new(), children: Vec::new(), nil })
    }
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

/// The root of the document.
pub(crate) fn parse(text: &str) -> Result<Element, Malformed> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut tree = Tree::default();
    loop {
        let start = offset(reader.buffer_position());
        let event = match reader.read_event() {
            Err(quick_xml::Error::IllFormed(error)) => Err(error.to_string()),
            other => other.map_err(|error| error.to_string()),
        };
        let event = event.map_err(|cause| Malformed { place: Place::of(text, offset(reader.error_position())), cause })?;
        let end = matches!(event, Event::Eof);
        tree.take(event, Place::of(text, start)).map_err(|cause| Malformed { place: Place::of(text, start), cause })?;
        if end {
            let nothing = Malformed { place: Place::of(text, start), cause: "it holds no element".to_owned() };
            return tree.root.ok_or(nothing);
        }
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// The document as far as it has been read.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), String> {
        match event {
            Event::Start(tag) => {
                if self.root.is_some() {
                    return Err("a second root element begins here".to_owned());
                }
                self.open.push(Element::open(&tag, place)?);
            }
            Event::End(_) => {
                let mut closed = self.open.pop().ok_or("an element ends here that did not begin")?;
                closed.text = closed.text.trim().to_owned();
                match self.open.last_mut() {
                    Some(parent) => parent.children.push(closed),
                    None => self.root = Some(closed),
                }
            }
            Event::Text(text) => self.append(&text)?,
            Event::CData(text) => self.append(&text)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                match (character, resolve_xml_entity(&reference)) {
                    (Some(character), _) => self.append(&character.to_string())?,
                    (None, Some(text)) => self.append(text)?,
                    (None, None) => return Err(format!("`&{};` is not known: write `&amp;` for `&`", &*reference)),
                }
            }
            Event::Eof => {
                if let Some(element) = self.open.last() {
                    return Err(format!("the text ends, but <{}> of line {} is still open", element.name, element.place.line));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), String> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err("text stands outside the root element".to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
