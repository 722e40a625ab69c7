//! Files as a tar stream in pieces: packed from local files, or unpacked to them. On threads of
//! their own, because both block.

use crate::pieces::{Inlet, Outlet, PIECE, WAITING};
use bytes::Bytes;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Packs a file or folder under this name. The thread's result tells if the tar is complete.
pub(super) fn pack(
    source: PathBuf,
    name: String,
) -> (mpsc::Receiver<Bytes>, JoinHandle<io::Result<()>>) {
    let (to, pieces) = mpsc::channel(WAITING);
    let packing = tokio::task::spawn_blocking(move || {
        let mut tar = tar::Builder::new(io::BufWriter::with_capacity(PIECE, Outlet::plain(to)));
        tar.follow_symlinks(false);
        // Engines do not support sparse files: holes are sent as zeros.
        tar.sparse(false);
        if source.symlink_metadata()?.is_dir() {
            tar.append_dir_all(name, &source)?;
        } else {
            tar.append_path_with_name(&source, name)?;
        }
        tar.into_inner()?.flush()
    });
    (pieces, packing)
}

/// Unpacks a tar into a folder, with owners (for root) and modes, but for setuid and setgid. The thread ends at the end of the
/// tar or when the sender is dropped.
pub(super) fn unpack(folder: PathBuf) -> (mpsc::Sender<Bytes>, JoinHandle<io::Result<()>>) {
    let (to, pieces) = mpsc::channel(WAITING);
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut inlet = Inlet::plain(pieces);
        let mut tar = tar::Archive::new(&mut inlet);
        tar.set_preserve_permissions(true);
        tar.set_mask(0o6000);
        tar.set_preserve_ownerships(rustix::process::geteuid().is_root());
        tar.unpack(&folder)?;
        // Drain the padding at the end of a tar, which its reader ignores.
        io::copy(&mut inlet, &mut io::sink()).map(drop)
    });
    (to, unpacking)
}

/// Total size of a file or of a folder's files, in bytes.
pub(super) fn size(source: &Path) -> io::Result<u64> {
    let meta = source.symlink_metadata()?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    std::fs::read_dir(source)?.try_fold(0, |sum, entry| Ok(sum + size(&entry?.path())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_with_holes_is_packed_as_a_plain_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let sparse = folder.path().join("sparse");
        std::fs::File::create(&sparse)
            .and_then(|file| file.set_len(1 << 20))
            .expect("made");
        let (mut pieces, packing) = pack(sparse, "sparse".to_owned());
        let mut packed = Vec::new();
        while let Some(piece) = pieces.recv().await {
            packed.extend_from_slice(&piece);
        }
        packing.await.expect("it ends").expect("it is whole");
        let mut archive = tar::Archive::new(packed.as_slice());
        let entry = archive
            .entries()
            .expect("entries")
            .next()
            .expect("one")
            .expect("readable");
        assert_eq!(
            (entry.header().entry_type(), entry.size()),
            (tar::EntryType::Regular, 1 << 20)
        );
    }
}
