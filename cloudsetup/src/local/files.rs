//! The order's files as the archive that the engine unpacks into the container.

use crate::BrokerError;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Where a machine finds them, without the leading `/`.
const HOME: &str = "etc/micado";

/// A tar of `/etc/micado`, to be unpacked at `/`: folders 0700, files 0600, owned by root.
///
/// # Errors
/// A name that leads out of the folder is refused.
pub(super) fn archive(files: &BTreeMap<String, Vec<u8>>) -> Result<Bytes, BrokerError> {
    let home = Path::new(HOME);
    let folders: BTreeSet<_> = files.keys().flat_map(|name| Path::new(name).ancestors().skip(1)).map(|folder| home.join(folder)).chain([home.into()]).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for folder in folders {
        append(&mut tar, &folder, tar::EntryType::Directory, 0o700, &[])?;
    }
    for (name, content) in files {
        append(&mut tar, &home.join(name), tar::EntryType::Regular, 0o600, content)?;
    }
    tar.into_inner().map(Bytes::from).map_err(|error| refuse(home, &error))
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &Path, kind: tar::EntryType, mode: u32, content: &[u8]) -> Result<(), BrokerError> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    if !path.starts_with(HOME) {
        return Err(refuse(path, &"it is not a relative path"));
    }
    tar.append_data(&mut header, path, content).map_err(|error| refuse(path, &error))
}

fn refuse(path: &Path, why: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Refused(format!("file `{}` cannot be put on the machine: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files_and_all_is_for_root_alone() {
        let files = [("join.json", "{}"), ("certs/registry:5000/ca.crt", "pem")].map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let tar = archive(&files.into()).expect("good names");
        let mut archive = tar::Archive::new(tar.as_ref());
        let entries = archive.entries().expect("a tar").map(|entry| {
            let entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            format!("{path} {:o}", entry.header().mode().expect("a mode"))
        });
        let expected = [
            "etc/micado 700",
            "etc/micado/certs 700",
            "etc/micado/certs/registry:5000 700",
            "etc/micado/certs/registry:5000/ca.crt 600",
            "etc/micado/join.json 600",
        ];
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_name_leads_out() {
        for name in ["../passwd", "/etc/passwd", "a/../../b"] {
            let error = archive(&[(name.to_owned(), Vec::new())].into()).expect_err(name);
            assert!(matches!(error, BrokerError::Refused(_)), "{error}");
        }
    }
}
