//! Environment of a launch: files, then flags; a variable without a value takes that of this
//! process.

use micado_api::{ErrorBody, ErrorCode};
use std::path::{Path, PathBuf};

/// Variables of these files and flags, as `KEY=VALUE`. A flag takes the place of a file's variable,
/// and a later file that of an earlier one.
///
/// # Errors
/// `BadRequest` that names the file and its line, or the variable.
pub(super) fn environment(
    files: &[PathBuf],
    flags: Vec<String>,
    own: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ErrorBody> {
    let mut all: Vec<String> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let name = file.display();
            ErrorBody::new(
                ErrorCode::BadRequest,
                format!("cannot read `{name}`: {error}"),
            )
            .hint("name a text file with `KEY=VALUE` in each line")
        })?;
        for pair in lines(file, &text, &own)? {
            replace(&mut all, pair);
        }
    }
    let of_files = all.len();
    for flag in flags {
        let pair = valued(flag, &own)?;
        // Two flags for one variable are refused with the request.
        let (files, _) = all.split_at_mut(of_files);
        match files.iter_mut().find(|other| key(other) == key(&pair)) {
            Some(other) => *other = pair,
            None => all.push(pair),
        }
    }
    Ok(all)
}

fn key(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(key, _)| key)
}

fn replace(all: &mut Vec<String>, pair: String) {
    match all.iter_mut().find(|other| key(other) == key(&pair)) {
        Some(other) => *other = pair,
        None => all.push(pair),
    }
}

/// Variables of a file: empty lines and those that begin with `#` are none, and a variable that this
/// process does not have is left out, as `docker run` does.
fn lines(
    file: &Path,
    text: &str,
    own: &impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ErrorBody> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = key(line);
        if name.is_empty() || name.contains(char::is_whitespace) {
            let what = format!(
                "{}, line {}: `{name}` is no name of a variable",
                file.display(),
                at + 1
            );
            return Err(ErrorBody::new(ErrorCode::BadRequest, what)
                .hint("write `KEY=VALUE`, without spaces before `=`"));
        }
        match line.contains('=') {
            true => found.push(line.to_owned()),
            false => found.extend(own(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(found)
}

fn valued(flag: String, own: &impl Fn(&str) -> Option<String>) -> Result<String, ErrorBody> {
    if flag.contains('=') {
        return Ok(flag);
    }
    let value = own(&flag).ok_or_else(|| {
        let what = format!("environment variable `{flag}` has no value here");
        ErrorBody::new(ErrorCode::BadRequest, what).hint("name it as `KEY=VALUE`, or export it")
    })?;
    Ok(format!("{flag}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn flags_come_before_files_and_names_take_the_own_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("env");
        let text = "# a comment\n\nA=1\n  B=two words \nHOME\nNOWHERE\nC=x=y\nA=2\n";
        std::fs::write(&file, text).expect("written");
        let flags = ["B=3", "HOME", "D="].map(str::to_owned).to_vec();
        let all = environment(&[file], flags, own).expect("all good");
        assert_eq!(all, ["A=2", "B=3", "HOME=/root", "C=x=y", "D="]);
    }

    #[test]
    fn faults_name_the_line_or_the_variable() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("env");
        std::fs::write(&file, "A=1\nB C=2\n").expect("written");
        let said = |files: &[PathBuf], flags: &[&str]| {
            let flags = flags.iter().map(|it| (*it).to_owned()).collect();
            environment(files, flags, own).expect_err("a fault").message
        };
        let line = said(std::slice::from_ref(&file), &[]);
        assert!(
            line.ends_with("env, line 2: `B C` is no name of a variable"),
            "{line}"
        );
        assert_eq!(
            said(&[], &["NOWHERE"]),
            "environment variable `NOWHERE` has no value here"
        );
        assert!(said(&[folder.path().join("none")], &[]).starts_with("cannot read `"));
    }

    #[test]
    fn a_variable_that_two_flags_set_is_left_to_the_check() {
        let flags = ["A=1", "A=2"].map(str::to_owned).to_vec();
        assert_eq!(environment(&[], flags, own).expect("both"), ["A=1", "A=2"]);
    }
}
