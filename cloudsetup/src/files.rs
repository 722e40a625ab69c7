//! Packs an order's files as an archive that a machine unpacks.

use crate::BrokerError;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

/// A tar of the files for unpacking at `/`: folders 0700, files 0600, owned by root. `home` is
/// their folder without the leading `/`; if it is empty, unpack inside the folder itself.
///
/// # Errors
/// A name that leads out of the folder is refused.
pub(crate) fn archive<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    home: &str,
) -> Result<Bytes, BrokerError> {
    let (home, files) = (
        Path::new(home),
        files.into_iter().collect::<BTreeMap<_, _>>(),
    );
    let within = files
        .keys()
        .flat_map(|name| Path::new(name).ancestors().skip(1))
        .map(|folder| home.join(folder));
    let folders: BTreeSet<_> = within
        .chain([home.into()])
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect();
    if let Some(astray) = files.keys().find(|name| !stays(Path::new(name))) {
        return Err(refuse(
            Path::new(astray),
            &"it is not a relative path that stays in its folder",
        ));
    }
    let mut tar = tar::Builder::new(Vec::new());
    for folder in folders {
        append(&mut tar, &folder, tar::EntryType::Directory, 0o700, &[])?;
    }
    for (name, content) in files {
        append(
            &mut tar,
            &home.join(name),
            tar::EntryType::Regular,
            0o600,
            content,
        )?;
    }
    tar.into_inner()
        .map(Bytes::from)
        .map_err(|error| refuse(home, &error))
}

fn stays(name: &Path) -> bool {
    name.file_name().is_some()
        && name
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &Path,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> Result<(), BrokerError> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, content)
        .map_err(|error| refuse(path, &error))
}

fn refuse(path: &Path, why: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Refused(format!(
        "file `{}` cannot be put on the machine: {why}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(tar: &Bytes) -> Vec<String> {
        let mut archive = tar::Archive::new(tar.as_ref());
        let entries = archive.entries().expect("a tar").map(|entry| {
            let entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            format!("{path} {:o}", entry.header().mode().expect("a mode"))
        });
        entries.collect()
    }

    #[test]
    fn folders_come_before_their_files_and_all_is_for_root_alone() {
        let files = [
            ("credential", b"{}".as_slice()),
            ("files/certs/one", b"pem"),
        ];
        let expected = [
            "etc/micado 700",
            "etc/micado/files 700",
            "etc/micado/files/certs 700",
            "etc/micado/credential 600",
            "etc/micado/files/certs/one 600",
        ];
        assert_eq!(
            entries(&archive(files, "etc/micado").expect("good names")),
            expected
        );
        let here = expected.map(|entry| {
            entry
                .trim_start_matches("etc/micado")
                .trim_start_matches('/')
        });
        assert_eq!(entries(&archive(files, "").expect("good names")), here[1..]);
    }

    #[test]
    fn no_name_leads_out() {
        for (name, home) in ["../passwd", "/etc/passwd", "a/../../b", ""]
            .into_iter()
            .flat_map(|name| [(name, "etc/micado"), (name, "")])
        {
            let error = archive([(name, b"".as_slice())], home).expect_err(name);
            assert!(matches!(error, BrokerError::Refused(_)), "{error}");
        }
    }
}
