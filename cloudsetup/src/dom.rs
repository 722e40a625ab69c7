//! XML as a small tree for look-ups, each element with its place in the text.

use quick_xml::{Reader, escape::resolve_xml_entity, events::BytesStart, events::Event};

/// Maximum nesting of elements. A deeper document is foreign; dropping the tree must not exhaust
/// the stack.
const DEEPEST: usize = 64;

/// A place in a text, both numbers from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One element. Attributes are dropped, except `nil`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// Name as spelled, without name space; compare with [`Self::is`].
    pub(crate) name: String,
    /// Place of its `<`.
    pub(crate) place: Place,
    /// Text directly inside, trimmed.
    pub(crate) text: String,
    /// Children in the text's order.
    pub(crate) children: Vec<Element>,
    nil: bool,
}

/// A text that is not XML, with the place of the mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) place: Place,
    pub(crate) cause: String,
}

impl Element {
    /// Compares the name. `_` and `-` are equivalent: services of this kind mix the two.
    pub(crate) fn is(&self, name: &str) -> bool {
        same_name(&self.name, name)
    }

    /// The first child of this name. Absent, empty and `nil` are equivalent.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children
            .iter()
            .find(|child| child.is(name) && !child.is_empty())
    }

    /// The text of [`Self::child`].
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name)
            .map(|child| child.text.as_str())
            .filter(|text| !text.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.nil || self.text.is_empty() && self.children.is_empty()
    }

    fn open(tag: &BytesStart<'_>, place: Place) -> Result<Self, String> {
        let mut nil = false;
        // Unchecked: looking for duplicate attributes is not our task, and takes long when there
        // are many.
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            nil |= attribute.key.local_name().as_ref() == "nil"
                && matches!(attribute.value.as_ref(), "true" | "1");
        }
        Ok(Self {
            name: tag.local_name().as_ref().to_owned(),
            place,
            text: String::new(),
            children: Vec::new(),
            nil,
        })
    }
}

/// Compares two element names; `_` and `-` are equivalent.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(dashed).eq(other.bytes().map(dashed))
}

/// Parses a document to its root element. A leading byte order mark is skipped.
pub(crate) fn parse(text: &str) -> Result<Element, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut tree = Tree::default();
    let mut cursor = Cursor::new(text);
    loop {
        let place = cursor.advance(reader.buffer_position());
        let event = match reader.read_event() {
            Err(quick_xml::Error::IllFormed(error)) => Err(error.to_string()),
            other => other.map_err(|error| error.to_string()),
        };
        let event = event.map_err(|cause| Malformed {
            place: Cursor::new(text).advance(reader.error_position()),
            cause,
        })?;
        let end = matches!(event, Event::Eof);
        tree.take(event, place)
            .map_err(|cause| Malformed { place, cause })?;
        if end {
            let nothing = Malformed {
                place,
                cause: "it holds no element".to_owned(),
            };
            return tree.root.ok_or(nothing);
        }
    }
}

/// Position of the reader. It only moves forward, so a text is counted once.
struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    place: Place,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            place: Place { line: 1, column: 1 },
        }
    }

    fn advance(&mut self, offset: u64) -> Place {
        let offset = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.text.len());
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        if let Some(newline) = passed.rfind('\n') {
            self.place.line += passed.matches('\n').count();
            self.place.column = 1 + passed[newline + 1..].chars().count();
        } else {
            self.place.column += passed.chars().count();
        }
        self.offset = offset.max(self.offset);
        self.place
    }
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
            Event::Start(_) if self.root.is_some() => {
                return Err("a second root element begins here".to_owned());
            }
            Event::Start(_) if self.open.len() == DEEPEST => {
                return Err(format!(
                    "elements stand in each other more than {DEEPEST} deep"
                ));
            }
            Event::Start(tag) => self.open.push(Element::open(&tag, place)?),
            Event::End(_) => {
                let mut closed = self
                    .open
                    .pop()
                    .ok_or("an element ends here that did not begin")?;
                closed.text = closed.text.trim().to_owned();
                match self.open.last_mut() {
                    Some(parent) => parent.children.push(closed),
                    None => self.root = Some(closed),
                }
            }
            Event::Text(text) => self.append(&text)?,
            Event::CData(text) => self.append(&text)?,
            Event::GeneralRef(reference) => {
                let character = reference
                    .resolve_char_ref()
                    .map_err(|error| error.to_string())?;
                match (character, resolve_xml_entity(&reference)) {
                    (Some(character), _) => self.append(character.encode_utf8(&mut [0; 4]))?,
                    (None, Some(text)) => self.append(text)?,
                    (None, None) => {
                        return Err(format!(
                            "`&{};` is not known: write `&amp;` for `&`",
                            &*reference
                        ));
                    }
                }
            }
            Event::Eof => {
                if let Some(element) = self.open.last() {
                    return Err(format!(
                        "the text ends, but <{}> of line {} is still open",
                        element.name, element.place.line
                    ));
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
