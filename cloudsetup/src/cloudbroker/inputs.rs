//! The input files of a job: the order's own in one archive, and each of a person's under its own
//! name.

use crate::{Order, files::archive};
use bytes::Bytes;

/// The archive of the order's files, relative to `/etc/micado`.
pub(super) const ARCHIVE: &str = "micado-join.tar";
/// Prefix of files given by a person.
const PERSONS: &str = "files/";

/// All files to upload, in order.
///
/// # Errors
/// If one cannot be a job's input; the text is for the user.
pub(super) fn of(order: &Order) -> Result<Vec<(String, Bytes)>, String> {
    let own = order
        .files
        .iter()
        .filter(|(name, _)| !name.starts_with(PERSONS))
        .map(|(name, content)| (name.as_str(), content.as_slice()));
    let mut inputs = vec![(
        ARCHIVE.to_owned(),
        archive(own, "").map_err(|error| error.to_string())?,
    )];
    for (name, content) in order
        .files
        .iter()
        .filter_map(|(name, content)| Some((name.strip_prefix(PERSONS)?, content)))
    {
        let cause = match name {
            "" | "." | ".." => Some("is no file's name"),
            ARCHIVE => Some("is the name of micado's own file: rename it"),
            _ if name.contains('/') => {
                Some("may not stand in a folder: a job's files are all in one")
            }
            _ if name.contains(char::is_control) => {
                Some("has a control character in its name: rename it")
            }
            _ => None,
        };
        if let Some(cause) = cause {
            return Err(format!("file `{}` {cause}", name.escape_debug()));
        }
        inputs.push((name.to_owned(), Bytes::copy_from_slice(content)));
    }
    Ok(inputs)
}
