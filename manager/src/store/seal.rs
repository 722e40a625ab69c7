//! The key that records are sealed with in every store. The lock on its file also proves that no
//! other manager of this machine uses this state folder.

use super::{StoreError, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::{
    fmt,
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// File in a state folder.
const FILE: &str = "store.key";
/// Subject and text of a proof.
const PROOF: &str = "micado";
/// Bytes of a key.
const KEY_LEN: usize = 32;

/// A key, from a file that is locked while this lives.
pub struct KeyFile {
    path: PathBuf,
    key: LessSafeKey,
    owner: String,
    _locked: File,
}

impl KeyFile {
    /// Opens the key of a state folder (mode 0600), made if it is missing.
    ///
    /// # Errors
    /// `InUse` if another manager has it open, `Failed` if it cannot be read or made.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(FILE);
        let failed = |error: io::Error| {
            StoreError::Failed(format!(
                "the key `{}` cannot be read or made: {error}",
                path.display()
            ))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse(format!(
                    "the state folder `{}` is in use by another manager: stop that one, or give this one a state folder of its own",
                    state.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let key = read_or_make(&mut file, state).map_err(failed)?;
        let owner = identity(&file).map_err(failed)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| {
            StoreError::Failed(format!(
                "`{}` is no key: put the right file there",
                path.display()
            ))
        })?;
        Ok(Self {
            path,
            key: LessSafeKey::new(key),
            owner,
            _locked: file,
        })
    }

    /// Unique name of this lock. A lease that was taken under it belongs to a manager that has
    /// ended, because the lock is ours now.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// Seals a text, so that it opens only for the same subject. Nonces are random: good for 2^32
    /// writes with one key.
    ///
    /// # Errors
    /// `Failed` for a text of many gigabytes.
    fn seal(&self, about: &str, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let length = NONCE_LEN + text.len() + self.key.algorithm().tag_len();
        let mut sealed = Vec::with_capacity(length);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(|_| StoreError::Failed(format!("{about} is too large to be sealed")))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Seals a record, so that it opens under no other name and as no other version.
    ///
    /// # Errors
    /// `Failed` for one of many gigabytes.
    pub(super) fn seal_record(
        &self,
        kind: &str,
        id: &str,
        version: Version,
        json: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.seal(&format!("{kind} {version} {id}"), json)
    }

    /// Opens a sealed record; `None` if it was sealed as another one or with another key.
    pub(super) fn unseal_record(
        &self,
        kind: &str,
        id: &str,
        version: Version,
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        self.unseal(&format!("{kind} {version} {id}"), sealed)
    }

    /// Makes a proof that its holder is sealed with this key.
    ///
    /// # Errors
    /// None known.
    pub(super) fn proof(&self) -> Result<Vec<u8>, StoreError> {
        self.seal(PROOF, PROOF.as_bytes())
    }

    /// Returns true for a proof of this key.
    pub(super) fn is_proof(&self, sealed: &[u8]) -> bool {
        self.unseal(PROOF, sealed).as_deref() == Some(PROOF.as_bytes())
    }

    /// Error for a store with another key's proof.
    pub(super) fn another(&self, store: &dyn fmt::Display) -> StoreError {
        StoreError::Schema(format!(
            "the records of the store {store} were sealed with another key than `{}`: put the file there that it was made with, or name another store",
            self.path.display()
        ))
    }

    /// Opens a text that was sealed for this subject; `None` for another subject or key.
    fn unseal(&self, about: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let length = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(about),
                &mut text,
            )
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads or makes the key. In an empty file the first writer was killed, and nothing was sealed
/// yet.
fn read_or_make(file: &mut File, folder: &Path) -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    file.read_to_end(&mut key)?;
    if key.is_empty() {
        key = rand::random::<[u8; KEY_LEN]>().to_vec();
        file.write_all(&key)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(key)
}

/// Identity of the file on this machine since it started. A copy of the file, or the same path in
/// another container or on another machine, has another one.
fn identity(file: &File) -> io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let metadata = file.metadata()?;
    Ok(format!(
        "{}:{}:{}",
        boot.trim(),
        metadata.dev(),
        metadata.ino()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_what_was_sealed_and_only_as_the_same_thing() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = tempfile::tempdir().expect("a folder");
        let keys = KeyFile::open(folder.path()).expect("made");
        let sealed = keys.seal("setting a 1", b"s3cret").expect("sealed");
        assert!(!sealed.windows(6).any(|bytes| bytes == b"s3cret"));
        assert_ne!(
            sealed,
            keys.seal("setting a 1", b"s3cret").expect("sealed"),
            "every nonce is new"
        );
        assert_eq!(
            keys.unseal("setting a 1", &sealed).as_deref(),
            Some(b"s3cret".as_slice())
        );
        assert_eq!(keys.unseal("setting a 2", &sealed), None);
        assert_eq!(
            keys.unseal("setting a 1", &sealed[..sealed.len() - 1]),
            None
        );
        assert_eq!(keys.unseal("setting a 1", b""), None);
        assert_eq!(
            KeyFile::open(other.path())
                .expect("made")
                .unseal("setting a 1", &sealed),
            None
        );
        drop(keys);
        let again = KeyFile::open(folder.path()).expect("opened again");
        assert_eq!(
            again.unseal("setting a 1", &sealed).as_deref(),
            Some(b"s3cret".as_slice())
        );
    }

    #[test]
    fn one_manager_at_a_time_and_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = KeyFile::open(folder.path()).expect("made");
        assert!(matches!(
            KeyFile::open(folder.path()),
            Err(StoreError::InUse(_))
        ));
        let owner = first.owner().to_owned();
        drop(first);
        assert_eq!(KeyFile::open(folder.path()).expect("opened").owner(), owner);
        assert_eq!(
            std::fs::metadata(folder.path().join(FILE))
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o600
        );

        let copy = tempfile::tempdir().expect("a folder");
        std::fs::copy(folder.path().join(FILE), copy.path().join(FILE)).expect("copied");
        assert_ne!(
            KeyFile::open(copy.path()).expect("opened").owner(),
            owner,
            "a copy is somebody else"
        );
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "short").expect("written");
        assert!(matches!(
            KeyFile::open(folder.path()),
            Err(StoreError::Failed(_))
        ));
        assert_eq!(
            std::fs::read(folder.path().join(FILE)).expect("there"),
            b"short"
        );
    }
}
