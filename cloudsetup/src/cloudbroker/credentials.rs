//! The account's user and password, in the original's file: the user in line 1, the password in
//! line 2.

use std::{
    fmt, fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Upper bound for the file; a longer one holds something else.
const LONGEST: u64 = 4096;

/// Sent with every call. `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The file. Read again for every call, so that a new password takes effect at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CredentialsFile(pub(super) PathBuf);

impl fmt::Display for CredentialsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.display())
    }
}

impl CredentialsFile {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is absent, others may read it, or it does not hold the two lines; the text is for the
    /// user.
    pub(super) fn read(&self) -> Result<Credentials, String> {
        let text =
            text_for_owner(&self.0).map_err(|cause| format!("credentials file {self}: {cause}"))?;
        let mut lines = text.lines();
        let user = lines.next().map(str::trim).filter(|user| !user.is_empty());
        let password = lines.next().filter(|password| !password.is_empty());
        match (user, password) {
            (Some(user), Some(password)) => Ok(Credentials {
                user: user.to_owned(),
                password: password.to_owned(),
            }),
            _ => Err(format!(
                "credentials file {self} must hold two lines: the account's user (its e-mail address), and the password"
            )),
        }
    }
}

fn text_for_owner(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| {
        format!(
            "cannot be read: {error}: write the account's user in its first line and the password in its second"
        )
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "is open to others (mode {mode:04o}): do `chmod 600 {}`",
            path.display()
        ));
    }
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, CredentialsFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cbcredentials");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our file");
        (folder, CredentialsFile(path))
    }

    #[test]
    fn the_first_two_lines_are_read_and_the_rest_is_not() {
        for text in [
            "me@example.net\n  secret \n",
            "me@example.net \r\n  secret \r\nmore",
            "me@example.net\n  secret ",
        ] {
            let (_folder, file) = file(text, 0o400);
            let credentials = file.read().expect(text);
            assert_eq!(
                (credentials.user.as_str(), credentials.password.as_str()),
                ("me@example.net", "  secret ")
            );
            assert_eq!(format!("{credentials:?}"), "Credentials(..)");
        }
    }

    #[test]
    fn a_file_that_will_not_do_is_refused_without_its_content() {
        let refusal = |text, mode| {
            let (_folder, file) = file(text, mode);
            let error = file.read().expect_err(text);
            assert!(
                error.contains(&file.to_string()) && !error.contains("secret"),
                "{error}"
            );
            error
        };
        for mode in [0o640, 0o604, 0o620, 0o610] {
            assert!(refusal("me\nsecret", mode).contains(&format!(
                "is open to others (mode {mode:04o}): do `chmod 600 "
            )));
        }
        for text in ["", "me", "me\n", "\nsecret", "  \nsecret"] {
            assert!(refusal(text, 0o600).contains("must hold two lines"));
        }
    }
}
