//! Values of environment variables taken out of the engine's messages: they are often secrets, and
//! a message is logged, listed and explained.

/// Shorter values are hidden only behind their key: elsewhere they may be part of any word.
const SHORTEST: usize = 4;
/// A value is found by its beginning, because an engine may shorten it.
const HEAD: usize = 16;

/// The message without the values of these `KEY=VALUE` pairs, as they are or quoted by Go.
pub(super) fn without_values(message: &str, environment: &[String]) -> String {
    let mut hidden = message.to_owned();
    for (key, value) in environment.iter().filter_map(|pair| pair.split_once('=')) {
        let replacement = format!("(value of {key})");
        for form in [value.to_owned(), quoted(value)] {
            if form.chars().count() >= SHORTEST {
                hidden = without(&hidden, "", &form, &replacement);
            } else if !form.is_empty() {
                hidden = without(&hidden, &format!("{key}="), &form, &replacement);
            }
        }
    }
    hidden
}

/// Replaces every beginning of `value` in a text that follows `lead`.
fn without(text: &str, lead: &str, value: &str, replacement: &str) -> String {
    let head: String = lead.chars().chain(value.chars().take(HEAD)).collect();
    let (mut output, mut rest) = (String::new(), text);
    while let Some((before, _)) = rest.split_once(&head) {
        let found = &rest[before.len() + lead.len()..];
        let same = found
            .char_indices()
            .zip(value.chars())
            .take_while(|((_, one), other)| one == other)
            .last()
            .map_or(0, |((at, last), _)| at + last.len_utf8());
        output.extend([before, lead, replacement]);
        rest = &found[same..];
    }
    output + rest
}

/// As Go's `%q` writes it, without the quotes.
fn quoted(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => output.extend(['\\', character]),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            other if other.is_ascii_control() => {
                output.push_str(&format!("\\x{:02x}", u32::from(other)));
            }
            other => output.push(other),
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(message: &str, environment: &[&str]) -> String {
        let environment: Vec<String> = environment.iter().map(|pair| (*pair).to_owned()).collect();
        without_values(message, &environment)
    }

    #[test]
    fn values_are_hidden_however_they_are_quoted() {
        let refusal = r#"expanding env failed: expanding template "pa\"ss\nword" for pa"ss"#;
        let shown = hidden(refusal, &["PASSWORD=pa\"ss\nword", "MODE=live"]);
        assert!(
            !shown.contains("word") && shown.contains("(value of PASSWORD)"),
            "{shown}"
        );
        assert_eq!(
            hidden("invalid environment variable: PIN=12", &["PIN=12", "N=1"]),
            "invalid environment variable: PIN=(value of PIN)"
        );
        assert_eq!(
            hidden("exit code 12", &["PIN=12", "EMPTY="]),
            "exit code 12"
        );
    }

    #[test]
    fn a_long_value_is_hidden_also_where_it_was_cut() {
        let secret = "s3cr3t-".repeat(20_000);
        let pair = format!("KEY={secret}");
        let message = format!("too large: {} and {}... more", secret, &secret[..50]);
        assert_eq!(
            hidden(&message, &[&pair]),
            "too large: (value of KEY) and (value of KEY)... more"
        );
    }
}
