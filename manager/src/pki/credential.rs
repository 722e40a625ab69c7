//! Credentials of ordered machines: derived from one secret and the instance's id, so that none is
//! stored and a repeated order carries the same one.

use super::{Found, Pki, PkiError, read, write};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use micado_api::InstanceId;
use ring::hmac;
use std::fmt;

/// Secret that all credentials of a cluster are derived from. Never shown.
pub struct CredentialKey(hmac::Key);

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialKey(..)")
    }
}

impl Pki {
    /// Returns the key of this cluster's credentials, made on the first start. A damaged one is
    /// replaced; machines that are booting then do not join.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn credential_key(&self) -> Result<CredentialKey, PkiError> {
        let path = self.folder.join("credentials.json");
        let secret = match read::<[u8; 32]>(&path)? {
            Found::Whole(secret) => secret,
            Found::Damaged | Found::Nothing => {
                let made = rand::random::<[u8; 32]>();
                write(&path, &made)?;
                made
            }
        };
        Ok(CredentialKey(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }
}

impl CredentialKey {
    /// Credential of the machine of this instance. Secret.
    #[must_use]
    pub fn credential(&self, instance: &InstanceId) -> String {
        let tag = hmac::sign(&self.0, instance.as_str().as_bytes());
        format!("{instance}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Returns the instance that a credential was made for; `None` if it is not one of ours.
    /// Compared in constant time.
    #[must_use]
    pub fn instance(&self, credential: &str) -> Option<InstanceId> {
        let (instance, tag) = credential.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, instance.as_bytes(), &tag).ok()?;
        instance.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key(folder: &std::path::Path) -> CredentialKey {
        Pki::open(folder)
            .expect("an authority")
            .credential_key()
            .expect("a key")
    }

    #[test]
    fn it_is_the_same_after_a_restart_and_another_in_another_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = InstanceId::trusted("0123abcd");
        let credential = key(folder.path()).credential(&id);
        assert_eq!(key(folder.path()).credential(&id), credential);
        assert_eq!(key(folder.path()).instance(&credential), Some(id));
        assert_eq!(
            key(&folder.path().join("other")).instance(&credential),
            None
        );
        assert!(
            credential.starts_with("0123abcd.") && credential.len() == 9 + 43,
            "32 bytes in base64 without padding: {credential}"
        );
    }

    #[test]
    fn what_was_forged_is_good_for_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = key(folder.path());
        let good = key.credential(&InstanceId::trusted("0123abcd"));
        let other = key.credential(&InstanceId::trusted("0123abce"));
        let (_, tag) = good.split_once('.').expect("two parts");
        assert!(key.instance(&good).is_some());
        for forged in [
            "",
            ".",
            "0123abcd",
            "0123abcd.",
            &format!("0123abce.{tag}"),
            &format!(".{tag}"),
            &format!("{good}="),
            &good[..good.len() - 1],
            &format!("{good} "),
        ] {
            assert_eq!(key.instance(forged), None, "{forged}");
        }
        assert_ne!(good, other);
    }

    #[test]
    fn the_secret_is_the_owners_only_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(format!("{:?}", key(folder.path())), "CredentialKey(..)");
        let mode = std::fs::metadata(folder.path().join("credentials.json"))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_secret_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = InstanceId::trusted("0123abcd");
        let before = key(folder.path()).credential(&id);
        std::fs::write(folder.path().join("credentials.json"), "[1,2]").expect("a file");
        let after = key(folder.path()).credential(&id);
        assert_ne!(before, after);
        assert_eq!(key(folder.path()).credential(&id), after);
    }
}
