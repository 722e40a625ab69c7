//! Parts of a Dockerfile that only BuildKit builds.

/// The first instruction that the classic builder would refuse or misread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    /// Line of the instruction, from 1.
    pub(super) line: usize,
    /// The part that needs BuildKit, such as `RUN --mount`.
    pub(super) part: String,
}

/// Flags by instruction.
const FLAGS: [(&str, &[&str]); 3] = [
    ("RUN", &["--mount", "--network", "--security"]),
    ("COPY", &["--link", "--chmod", "--parents", "--exclude"]),
    (
        "ADD",
        &[
            "--link",
            "--chmod",
            "--checksum",
            "--keep-git-dir",
            "--exclude",
        ],
    ),
];

/// Returns the first need for BuildKit, if any.
pub(super) fn needs_buildkit(text: &str) -> Option<Needs> {
    let escape = escape(text);
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let whole = continued(line, escape, &mut lines);
        if let Some(part) = part(&whole) {
            let line = number + 1;
            return Some(Needs { line, part });
        }
    }
    None
}

/// The instruction of a line, with those that continue it. Comments and empty lines between them are
/// left out.
fn continued<'a>(
    line: &str,
    escape: char,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> String {
    let mut whole = line.to_owned();
    while let Some(begin) = whole.strip_suffix(escape) {
        whole.truncate(begin.len());
        let next = lines
            .by_ref()
            .map(|(_, line)| line.trim())
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        match next {
            Some(next) => {
                whole.push(' ');
                whole.push_str(next);
            }
            None => break,
        }
    }
    whole
}

/// The part of an instruction that needs BuildKit.
fn part(instruction: &str) -> Option<String> {
    let (name, rest) = instruction.split_once(char::is_whitespace)?;
    let name = name.to_ascii_uppercase();
    let (_, flags) = FLAGS.iter().find(|(instruction, _)| *instruction == name)?;
    let words = || rest.split_whitespace();
    let flag = words()
        .take_while(|word| word.starts_with("--"))
        .map(|word| word.split_once('=').map_or(word, |(flag, _)| flag))
        .find(|word| flags.contains(word));
    if let Some(flag) = flag {
        return Some(format!("{name} {flag}"));
    }
    let heredoc = words().find(|word| is_heredoc(word))?;
    Some(format!("{name} {heredoc}"))
}

/// Returns true for `<<EOF`, `<<-"EOF"` and the like.
fn is_heredoc(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    word.strip_prefix("<<").is_some_and(|end| {
        let end = end.strip_prefix('-').unwrap_or(end);
        let end = end.trim_matches(['"', '\'']);
        end.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    })
}

/// The character that continues a line, which a directive at the begin may change.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| {
        let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
        Some((key.trim().to_ascii_lowercase(), value.trim()))
    });
    let mut escapes = directives.filter(|(key, _)| key == "escape");
    match escapes.next() {
        Some((_, "`")) => '`',
        _ => '\\',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(usize, String)> {
        needs_buildkit(text).map(|needs| (needs.line, needs.part))
    }

    fn at(line: usize, part: &str) -> Option<(usize, String)> {
        Some((line, part.to_owned()))
    }

    #[test]
    fn needs_are_found_with_their_line() {
        assert_eq!(
            found("FROM a\n\nRUN --mount=type=cache,target=/x make\n"),
            at(3, "RUN --mount")
        );
        assert_eq!(found("FROM a\ncopy --link a b"), at(2, "COPY --link"));
        assert_eq!(
            found("FROM a\nCOPY --chown=1 --chmod=755 a b"),
            at(2, "COPY --chmod")
        );
        assert_eq!(
            found("FROM a\nADD --checksum=sha256:0 http://x /x"),
            at(2, "ADD --checksum")
        );
        assert_eq!(
            found("FROM a\nRUN <<EOF\necho a\nEOF\n"),
            at(2, "RUN <<EOF")
        );
        assert_eq!(
            found("FROM a\nCOPY <<-\"END\" /x\n"),
            at(2, "COPY <<-\"END\"")
        );
    }

    #[test]
    fn continued_instructions_are_read_whole() {
        let text = "FROM a\nRUN \\\n# a comment\n\n  --mount=type=tmpfs,target=/t \\\n  make\n";
        assert_eq!(found(text), at(2, "RUN --mount"));
        let text = "# escape=`\nFROM a\nRUN `\n--mount=type=tmpfs,target=/t make\n";
        assert_eq!(found(text), at(3, "RUN --mount"));
    }

    #[test]
    fn a_plain_file_needs_nothing() {
        let text = "# syntax=docker/dockerfile:1\n# RUN --mount=x\nFROM a AS b\nARG X=1\n\
            COPY --from=b --chown=1:1 x y\nRUN make --mount=x\nRUN echo $((1<<2)) && cat <<< x\n\
            RUN echo '--link' \\\n && true\nENTRYPOINT [\"/x\", \"--chmod\"]\n";
        assert_eq!(found(text), None);
        assert_eq!(found(""), None);
        assert_eq!(found("RUN x \\"), None);
    }
}
