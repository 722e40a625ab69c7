//! The rules of `docker cp`: where an entry goes, by its kind and what is at the target.

use super::place::{End, Place};

/// Entry at a target, once links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Missing,
    Folder,
    /// A file, or anything else that a copy replaces.
    File,
    Device,
}

/// Destination of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// Into the target, under its own name; a folder's content, into the target.
    Into,
    /// Under the target's name, in the target's folder.
    As,
}

/// Reason why a copy cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    FolderOntoFile,
    NoFolder,
    Device,
}

impl Conflict {
    /// The reason, for the target of this name.
    pub(super) fn reason(self, target: &str) -> String {
        match self {
            Self::FolderOntoFile => {
                format!("`{target}` is not a folder, so that no folder can be copied onto it")
            }
            Self::NoFolder => format!("there is no folder `{target}`"),
            Self::Device => {
                format!("`{target}` is a device: a target is a folder or a regular file")
            }
        }
    }
}

/// Decides where an entry goes.
pub(super) fn put(
    source_is_folder: bool,
    target: &Place,
    existing: Existing,
) -> Result<Put, Conflict> {
    match existing {
        Existing::Device => Err(Conflict::Device),
        Existing::Folder => Ok(Put::Into),
        Existing::File if source_is_folder => Err(Conflict::FolderOntoFile),
        // `FILE/` and `FILE/.` are no files, and a folder's content has no name to go under.
        Existing::File | Existing::Missing if target.name().is_none() => Err(Conflict::NoFolder),
        Existing::Missing if target.end() == End::Slash && !source_is_folder => {
            Err(Conflict::NoFolder)
        }
        Existing::File | Existing::Missing => Ok(Put::As),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_goes_where_docker_puts_it() {
        use Existing::{Device, File, Folder, Missing};
        let rule = |is_folder, target: &str, existing| {
            put(is_folder, &Place::in_container(target), existing)
        };
        for (is_folder, target, existing, result) in [
            (false, "/t", Missing, Ok(Put::As)),
            (false, "/t/", Missing, Err(Conflict::NoFolder)),
            (false, "/t/.", Missing, Err(Conflict::NoFolder)),
            (true, "/t", Missing, Ok(Put::As)),
            (true, "/t/", Missing, Ok(Put::As)),
            (true, "/t/.", Missing, Err(Conflict::NoFolder)),
            (false, "/t", File, Ok(Put::As)),
            (true, "/t", File, Err(Conflict::FolderOntoFile)),
            (false, "/t", Folder, Ok(Put::Into)),
            (true, "/t/.", Folder, Ok(Put::Into)),
            (false, "/t", Device, Err(Conflict::Device)),
            (true, "/t", Device, Err(Conflict::Device)),
        ] {
            assert_eq!(rule(is_folder, target, existing), result, "{target}");
        }
    }
}
