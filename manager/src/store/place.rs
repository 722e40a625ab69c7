//! Location of a store as a person names it: a file, or the URL of a MongoDB. Passwords are never
//! shown.

use super::StoreError;
use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// Prefixes of a `mongodb` URL.
const SCHEMES: [&str; 2] = ["mongodb://", "mongodb+srv://"];

/// Location of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    /// A database of a MongoDB server.
    MongoDb(Url),
    /// Location in the content of this file (`@FILE`), so that no password is on a command line.
    Written(PathBuf),
}

/// A `mongodb` URL. Shown without user and password, and without its options.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl FromStr for Place {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = text.trim();
        Ok(match text.strip_prefix('@') {
            Some(file) => Self::Written(file.into()),
            None if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) => {
                Self::MongoDb(Url(text.to_owned()))
            }
            None => Self::File(text.into()),
        })
    }
}

impl Place {
    /// Reads the file that it names, if any.
    ///
    /// # Errors
    /// `Failed` if that file cannot be read, or names another file.
    pub fn resolve(self) -> Result<Self, StoreError> {
        let Self::Written(file) = self else {
            return Ok(self);
        };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            StoreError::Failed(format!(
                "cannot read where the store is from `{}`: {error}",
                file.display()
            ))
        })?;
        match text.parse() {
            Ok(Self::Written(_)) => Err(StoreError::Failed(format!(
                "`{}` must hold a `mongodb://` URL or a path, not the name of another file",
                file.display()
            ))),
            Ok(place) => Ok(place),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Written(path) => path.display().fmt(f),
            Self::MongoDb(url) => url.fmt(f),
        }
    }
}

impl Url {
    /// The whole URL with its password: for the driver only.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns true if it contains a user or a password, so that messages about it may contain them
    /// too.
    pub(super) fn has_secret(&self) -> bool {
        self.0.contains('@')
    }
}

/// A password may contain `@` or `/` by mistake, so only the part after the last `@` is shown.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("mongodb", &self.0));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, shown)| shown);
        let rest = rest.split_once('?').map_or(rest, |(shown, _)| shown);
        write!(f, "{scheme}://{rest}")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap_or_else(|never| match never {})
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "mongodb://ann:s3cret@a,b:2/db?replicaSet=rs0&x=s3cret",
            "mongodb+srv://ann:s3cret@a,b:2/db",
            "mongodb://ann:s3cret@/s3cret@a,b:2/db",
        ] {
            let place = place(url);
            assert!(
                matches!(&place, Place::MongoDb(shown) if shown.expose() == url),
                "{place:?}"
            );
            for shown in [place.to_string(), format!("{place:?}")] {
                assert!(
                    !shown.contains("s3cret")
                        && !shown.contains("ann")
                        && shown.contains("://a,b:2/db"),
                    "{shown}"
                );
            }
        }
        assert_eq!(place("mongodb://a/db").to_string(), "mongodb://a/db");
    }

    #[test]
    fn what_is_no_url_is_a_file_and_a_file_may_hold_the_url() {
        assert_eq!(
            place("/var/lib/micado/store.redb"),
            Place::File("/var/lib/micado/store.redb".into())
        );
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("url");
        let written = || place(&format!("@{}", file.display())).resolve();
        assert!(matches!(written(), Err(StoreError::Failed(words)) if words.contains("url")));
        std::fs::write(&file, "mongodb://ann:s3cret@a/db\n").expect("written");
        assert_eq!(written(), Ok(place("mongodb://ann:s3cret@a/db")));
        std::fs::write(&file, "@other").expect("written");
        assert!(written().is_err());
    }
}
