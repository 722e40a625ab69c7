//! Paths as `docker cp` reads them: cleaned by their text alone, with what their end says.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// End of a path as it was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Plain,
    /// `/`: a folder.
    Slash,
    /// `/.`: a folder's content.
    Dot,
}

/// An absolute path without `.` and `..`, and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    end: End,
}

impl Place {
    /// A path in a container; a relative one begins at its root.
    pub(super) fn in_container(text: &str) -> Self {
        Self::below(Path::new("/"), Path::new(text))
    }

    /// A path on this machine.
    pub(super) fn here(path: &Path) -> io::Result<Self> {
        Ok(Self::below(&std::env::current_dir()?, path))
    }

    pub(super) fn below(folder: &Path, path: &Path) -> Self {
        Self {
            path: cleaned(&folder.join(path)),
            end: end(path.as_os_str().as_bytes()),
        }
    }

    /// The same end at another path, such as the target of a link.
    pub(super) fn at(&self, path: &Path) -> Self {
        Self {
            path: cleaned(path),
            end: self.end,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    /// The path with its end.
    pub(super) fn text(&self) -> PathBuf {
        let mut text = self.path.clone().into_os_string();
        let end = match self.end {
            End::Plain => "",
            End::Slash if self.path == Path::new("/") => "",
            End::Dot if self.path == Path::new("/") => ".",
            End::Slash => "/",
            End::Dot => "/.",
        };
        text.push(end);
        text.into()
    }

    /// The folder that holds the entry; of `/.`, the folder itself.
    pub(super) fn folder(&self) -> &Path {
        match self.end {
            End::Dot => &self.path,
            End::Plain | End::Slash => self.path.parent().unwrap_or(&self.path),
        }
    }

    /// Name of the entry; `None` for the root and for a folder's content.
    pub(super) fn name(&self) -> Option<&OsStr> {
        match self.end {
            End::Dot => None,
            End::Plain | End::Slash => self.path.file_name(),
        }
    }
}

fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    clean
}

fn end(text: &[u8]) -> End {
    let slashes = text.iter().rev().take_while(|byte| **byte == b'/').count();
    let rest = &text[..text.len() - slashes];
    if rest == b"." || rest.ends_with(b"/.") {
        End::Dot
    } else if slashes > 0 {
        End::Slash
    } else {
        End::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_folder_a_name_and_an_end() {
        let parts = |text: &str| {
            let place = Place::in_container(text);
            let name = place.name().map(|name| name.to_string_lossy().into_owned());
            (
                place.text().display().to_string(),
                place.folder().display().to_string(),
                name,
            )
        };
        let expect = |text: &str, folder: &str, name: Option<&str>| {
            (text.to_owned(), folder.to_owned(), name.map(str::to_owned))
        };
        assert_eq!(parts("/srv/www"), expect("/srv/www", "/srv", Some("www")));
        assert_eq!(
            parts("srv//./www//"),
            expect("/srv/www/", "/srv", Some("www"))
        );
        assert_eq!(parts("/srv/www/."), expect("/srv/www/.", "/srv/www", None));
        assert_eq!(parts("/srv/www/./"), expect("/srv/www/.", "/srv/www", None));
        assert_eq!(parts("/srv/www/../../../x"), expect("/x", "/", Some("x")));
        assert_eq!(parts("/srv/.."), expect("/", "/", None));
        assert_eq!(parts("."), expect("/.", "/", None));
        assert_eq!(parts("/a.b/.c"), expect("/a.b/.c", "/a.b", Some(".c")));
    }
}
