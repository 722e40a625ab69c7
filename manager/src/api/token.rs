//! The token: made on first start, kept for its owner only, asked of everybody who comes over
//! HTTPS.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use subtle::ConstantTimeEq;

/// What is shorter was not made by us, and can be guessed.
const LENGTH_MIN: usize = 32;

/// The secret that callers over HTTPS send. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("token file `{path}`: {cause}")]
    File { path: PathBuf, cause: io::Error },
    /// What the file holds is no token of ours. Remove the file to get a new one.
    #[error("token file `{0}` holds no token (remove it, and the manager makes a new one)")]
    Unusable(PathBuf),
}

impl Token {
    /// The token in the file `token` of the state folder; made if there is none.
    ///
    /// # Errors
    /// When the file cannot be read, written or protected, or holds no token.
    pub fn load_or_make(state: &Path) -> Result<Self, TokenError> {
        Self::of_file(state.join("token"))
    }

    /// The token in the file `consul-token` of the state folder, which may read the catalogue of
    /// services; made if there is none.
    ///
    /// # Errors
    /// As of [`Self::load_or_make`].
    pub fn of_readers(state: &Path) -> Result<Self, TokenError> {
        Self::of_file(state.join("consul-token"))
    }

    fn of_file(path: PathBuf) -> Result<Self, TokenError> {
        let failed = |cause| TokenError::File {
            path: path.clone(),
            cause,
        };
        match fs::read_to_string(&path) {
            Ok(text) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                let token = text.trim();
                if token.len() < LENGTH_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(TokenError::Unusable(path));
                }
                Ok(Self(token.to_owned()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => make(&path).map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(super) fn is(&self, sent: &str) -> bool {
        self.0.as_bytes().ct_eq(sent.as_bytes()).into()
    }
}

/// Writes aside and renames, so that a crash leaves a whole token or none.
fn make(path: &Path) -> io::Result<Token> {
    let token: String = rand::random::<[u8; 32]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let aside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_for_its_owner_only() {
        let state = tempfile::tempdir().expect("a folder");
        let made = Token::load_or_make(state.path()).expect("made");
        assert_eq!(made.0.len(), 64);
        let path = state.path().join("token");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
        assert_eq!(Token::load_or_make(state.path()).expect("read"), made);
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(format!("{made:?}"), "Token(..)");
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        let state = tempfile::tempdir().expect("a folder");
        fs::write(state.path().join("token"), "\n").expect("written");
        assert!(matches!(
            Token::load_or_make(state.path()),
            Err(TokenError::Unusable(_))
        ));
    }

    #[test]
    fn only_the_whole_token_will_do() {
        let token = Token("a".repeat(64));
        assert!(token.is(&"a".repeat(64)));
        assert!(!token.is(&"a".repeat(63)));
        assert!(!token.is(""));
    }
}
