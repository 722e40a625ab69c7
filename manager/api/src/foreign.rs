//! Foreign text (of engines, brokers, images, machines) made safe to print and to log.

use std::borrow::Cow;

/// Replaces characters that move the cursor, start a line, ring or reorder text by their escapes,
/// such as `\n` and `\u{1b}`. All others stay.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// The same for a text of several lines: its line ends stay.
#[must_use]
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(escaped).collect();
    Cow::Owned(lines.join("\n"))
}

/// The beginning of a text, escaped, in at most this many characters.
#[must_use]
pub fn excerpt(text: &str, most: usize) -> String {
    // Escapes only lengthen a text.
    let head: String = text.chars().take(most + 1).collect();
    let head = escaped(&head);
    if head.chars().count() <= most {
        return head.into_owned();
    }
    let mut short: String = head.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Control characters, and the invisible ones that reorder text or end a line.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_are_shown() {
        assert!(matches!(escaped("größe 5 µs `x`"), Cow::Borrowed(_)));
        assert_eq!(escaped("a\u{1b}[2J\u{7}b"), r"a\u{1b}[2J\u{7}b");
        assert_eq!(escaped("one\r\ntwo\t\u{9b}1m"), r"one\r\ntwo\t\u{9b}1m");
        assert_eq!(escaped("to\u{202e}txt.exe"), r"to\u{202e}txt.exe");
        assert_eq!(escaped_lines("one\ntwo\u{8}\n"), "one\ntwo\\u{8}\n");
    }

    #[test]
    fn an_excerpt_is_bounded() {
        assert_eq!(excerpt("short\n", 100), r"short\n");
        assert_eq!(excerpt("abcdef", 6), "abcdef");
        assert_eq!(excerpt("abcdefg", 6), "abcde…");
        let long = excerpt(&"\u{1b}".repeat(1 << 20), 100);
        assert_eq!(long.chars().count(), 100);
        assert!(!long.contains('\u{1b}'));
    }
}
