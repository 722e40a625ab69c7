//! `.dockerignore`: patterns and their precedence, by the rules of Docker's own matcher.

use std::fmt;

/// Patterns of a `.dockerignore`, in order. The last one that matches counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

/// A malformed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    line: usize,
    text: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}` is no pattern", self.line, self.text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Begins with `!`: paths that match are kept.
    keeps: bool,
    tokens: Vec<Token>,
}

/// A part of a pattern, read as a state machine: each takes one character, or is passed by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`: a character except `/`.
    One,
    /// `*`: any characters except `/`.
    Some,
    /// Begin of `**/`: the next token is [`Token::Folders`], or is left out.
    Maybe,
    /// Any characters up to a `/`.
    Folders,
    /// Any characters.
    All,
    /// `[a-z]`, or `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Ignore {
    /// Parses the lines of a file.
    pub(super) fn parse(text: &str) -> Result<Self, BadLine> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (trimmed, is_comment) = (line.trim(), line.starts_with('#'));
            if trimmed.is_empty() || is_comment {
                continue;
            }
            let bad = || BadLine {
                line: number + 1,
                text: trimmed.to_owned(),
            };
            let pattern = Pattern::parse(trimmed).ok_or_else(bad)?;
            patterns.push(pattern);
        }
        Ok(Self { patterns })
    }

    /// Keeps this path, whatever the patterns before say.
    pub(super) fn keep(&mut self, path: &str) {
        let tokens = path.chars().map(Token::Literal).collect();
        let keeps = true;
        self.patterns.push(Pattern { keeps, tokens });
    }

    /// Returns true if a path is left out. It is relative to the context.
    pub(super) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for pattern in &self.patterns {
            if pattern.keeps == excluded && pattern.covers(path) {
                excluded = !pattern.keeps;
            }
        }
        excluded
    }

    /// Returns true if something below an excluded folder may be kept.
    pub(super) fn keeps_below(&self, folder: &str) -> bool {
        let inside = format!("{folder}/");
        let mut keeping = self.patterns.iter().filter(|pattern| pattern.keeps);
        keeping.any(|pattern| pattern.states(&inside).contains(&true))
    }
}

impl Pattern {
    /// Parses a line without white space around it; `None` if it is malformed.
    fn parse(line: &str) -> Option<Self> {
        let (keeps, text) = match line.strip_prefix('!') {
            Some(rest) if rest.trim().is_empty() => return None,
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let tokens = tokens(&cleaned(text))?;
        Some(Self { keeps, tokens })
    }

    /// Returns true if the pattern matches the path, or a folder above it.
    fn covers(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        folders.chain([path]).any(|path| self.matches(path))
    }

    fn matches(&self, path: &str) -> bool {
        self.states(path).last() == Some(&true)
    }

    /// Live states after this text; state `n` is the one before token `n`.
    fn states(&self, text: &str) -> Vec<bool> {
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        self.pass_by(&mut states);
        for c in text.chars() {
            let mut next = vec![false; states.len()];
            for (at, token) in self.tokens.iter().enumerate() {
                if states[at] {
                    next[at] |= token.stays(c);
                    next[at + 1] |= token.takes(c);
                }
            }
            self.pass_by(&mut next);
            states = next;
        }
        states
    }

    /// Passes tokens by that may match nothing.
    fn pass_by(&self, states: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            if states[at] {
                states[at + 1] |= matches!(token, Token::Some | Token::All | Token::Maybe);
                if *token == Token::Maybe {
                    states[at + 2] = true;
                }
            }
        }
    }
}

impl Token {
    /// Returns true if the token takes this character and may take more.
    fn stays(&self, c: char) -> bool {
        match self {
            Self::Some => c != '/',
            Self::Folders | Self::All => true,
            _ => false,
        }
    }

    /// Returns true if this character ends the token.
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One => c != '/',
            Self::Folders => c == '/',
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
            Self::Some | Self::Maybe | Self::All => false,
        }
    }
}

/// The path without `.`, `..`, repeated and outer slashes, as far as they can be resolved.
fn cleaned(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `None` for a pattern with an incomplete class or escape.
fn tokens(path: &str) -> Option<Vec<Token>> {
    // `**x` without further wildcards is a suffix, also within a name.
    if let Some(suffix) = path.strip_prefix("**")
        && !suffix.starts_with('/')
        && !suffix.contains(['*', '?', '[', ']', '\\'])
    {
        let literals = suffix.chars().map(Token::Literal);
        return Some([Token::All].into_iter().chain(literals).collect());
    }
    let (mut tokens, mut rest) = (Vec::new(), path.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                match rest.peek() {
                    None => tokens.push(Token::All),
                    Some(_) => tokens.extend([Token::Maybe, Token::Folders]),
                }
            }
            '*' => tokens.push(Token::Some),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut rest)?),
            '\\' => tokens.push(Token::Literal(rest.next()?)),
            literal => tokens.push(Token::Literal(literal)),
        }
    }
    Some(tokens)
}

/// Parses a class after its `[`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let character = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| match rest.next()? {
        '\\' => rest.next(),
        ']' | '-' => None,
        literal => Some(literal),
    };
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges });
        }
        let low = character(rest)?;
        let high = match rest.next_if_eq(&'-') {
            Some(_) => character(rest)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn excludes(text: &str, path: &str) -> bool {
        Ignore::parse(text).expect("patterns").excludes(path)
    }

    /// Checks the paths that patterns leave out, and those that they do not.
    fn check(text: &str, out: &[&str], kept: &[&str]) {
        for path in out {
            assert!(excludes(text, path), "`{path}` is left out by {text:?}");
        }
        for path in kept {
            assert!(!excludes(text, path), "`{path}` is kept by {text:?}");
        }
    }

    #[test]
    fn a_name_covers_what_is_below_it() {
        check("a", &["a", "a/b", "a/b/c"], &["ab", "b/a", "A"]);
        check("a/b", &["a/b", "a/b/c"], &["a", "b"]);
        check("/a", &["a", "a/b"], &["b/a"]);
        check("a/", &["a", "a/b"], &["b"]);
        check("./a//b/../c", &["a/c"], &["a/b", "a"]);
        check("../a", &[], &["a"]);
    }

    #[test]
    fn wildcards_stay_within_a_name() {
        check("*.c", &["a.c", ".c"], &["d/a.c", "a.cc", "a"]);
        check("*/*.c", &["d/a.c"], &["a.c", "d/e/a.c"]);
        check("a?c", &["abc", "a-c"], &["ac", "a/c", "abbc"]);
        check("a.c", &["a.c"], &["abc"]);
        check("a+(b)$", &["a+(b)$"], &["aab"]);
        check("*", &["a", "a/b", ".x"], &[]);
    }

    #[test]
    fn two_stars_cross_folders() {
        check("**/a", &["a", "b/a", "b/c/a", "b/a/c"], &["ba", "b/ca"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "ab"]);
        check("a/**/b", &["a/b", "a/c/b", "a/c/d/b"], &["a/cb", "ab"]);
        check("**", &["a", "a/b"], &[]);
        check("**/*.c", &["a.c", "b/a.c", "b/c/a.c"], &["a.h", "b/a.h"]);
        check("**/a/**", &["a/b", "c/a/b"], &["a", "c/a"]);
        check("**a", &["a", "ba", "b/a", "b/ca"], &["ab"]);
        check("a**", &["a", "ab", "a/b", "ab/c"], &["b"]);
        check("**a*", &["ab", "b/ac"], &["ba", "b/ba"]);
    }

    #[test]
    fn classes_and_escapes() {
        check("[a-c]x", &["ax", "cx"], &["dx", "-x"]);
        check("[^a-c]x", &["dx"], &["ax"]);
        check("[ab]", &["a", "b"], &["c", "ab"]);
        check(r"a\*", &["a*"], &["ab"]);
        check(r"\!a", &["!a"], &["a"]);
        check(r"[\]\-]", &["]", "-"], &["a"]);
        for bad in ["[a", "[]", "[]a]", "[a-]", r"a\", "!", "! "] {
            let refused = Ignore::parse(&format!("ok\n{bad}\n")).expect_err(bad);
            assert_eq!(
                refused.to_string(),
                format!("line 2: `{}` is no pattern", bad.trim())
            );
        }
    }

    #[test]
    fn the_last_pattern_that_matches_counts() {
        check("*.md\n!README.md", &["a.md"], &["README.md", "a/b.md"]);
        check(
            "*.md\n!README*.md\nREADME-x.md",
            &["README-x.md"],
            &["README.md"],
        );
        check(
            "*.md\nREADME-x.md\n!README*.md",
            &["a.md"],
            &["README-x.md"],
        );
        check("a\n!a/b", &["a", "a/c"], &["a/b", "a/b/c"]);
        check("!a/b\na", &["a", "a/b"], &[]);
        check("*\n! src \n", &["a"], &["src", "src/a"]);
    }

    #[test]
    fn comments_blank_lines_and_white_space() {
        let text = "\u{feff}# a comment\n\n  b  \r\n\t\n #c\n.\n/\n";
        check(text, &["b", "#c"], &["a", "# a comment", "c"]);
    }

    #[test]
    fn what_is_kept_explicitly_is_never_left_out() {
        let mut ignore = Ignore::parse("**").expect("a pattern");
        ignore.keep("sub/Docker*file");
        assert!(!ignore.excludes("sub/Docker*file"));
        assert!(ignore.excludes("sub/Dockerfile"));
        assert!(ignore.keeps_below("sub") && !ignore.keeps_below("other"));
    }

    #[test]
    fn only_folders_that_may_hold_something_kept_are_entered() {
        let below =
            |text: &str, folder: &str| Ignore::parse(text).expect("patterns").keeps_below(folder);
        assert!(!below("a", "a"));
        assert!(below("a\n!a/b/c", "a") && below("a\n!a/b/c", "a/b"));
        assert!(!below("a\n!a/b/c", "a/d"));
        assert!(below("*\n!**/keep", "a/b/c"));
        assert!(below("a\n!*/x", "a") && !below("a\n!*/x", "a/b"));
    }

    /// The rules again, as slow and as plain as possible: tries every split of the path.
    fn slow(pattern: &str, path: &str) -> bool {
        let rest = |at: usize| pattern.get(at..).unwrap_or_default();
        match pattern.chars().next() {
            None => path.is_empty(),
            Some('*') if pattern == "**" => true,
            Some('*') if pattern.starts_with("**/") => {
                let ends = path.match_indices('/').map(|(end, _)| end + 1);
                ends.chain([0]).any(|end| slow(rest(3), &path[end..]))
            }
            Some('*') => {
                let most = path.find('/').unwrap_or(path.len());
                (0..=most).any(|end| slow(rest(1), &path[end..]))
            }
            Some('?') => path
                .chars()
                .next()
                .is_some_and(|c| c != '/' && slow(rest(1), &path[1..])),
            Some(c) => path.starts_with(c) && slow(rest(1), &path[1..]),
        }
    }

    proptest! {
        /// The state machine agrees with the slow rules, for patterns of whole parts.
        #[test]
        fn the_machine_agrees_with_the_rules(
            pattern in prop::collection::vec("(\\*\\*|[ab*?]{1,3})", 1..4),
            path in prop::collection::vec("[ab]{1,3}", 1..4),
        ) {
            let bare = pattern.iter().all(|part| part == "**" || !part.contains("**"));
            prop_assume!(bare);
            let (pattern, path) = (pattern.join("/"), path.join("/"));
            let tokens = tokens(&pattern).expect("a pattern");
            let machine = Pattern { keeps: false, tokens }.matches(&path);
            prop_assert_eq!(machine, slow(&pattern, &path), "{} on {}", pattern, path);
        }

        /// No file panics or hangs.
        #[test]
        fn any_text_is_read(text in "\\PC{0,60}", path in "\\PC{1,60}") {
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.excludes(&path);
            }
        }
    }
}
