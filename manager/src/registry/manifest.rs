//! Manifests of images: which image one describes, and its digest.

use sha2::{Digest, Sha256};

/// The digest of this manifest, if it describes the image with this id. With the containerd image
/// store, an image's id is the digest of its manifest; else it is that of its configuration.
pub(super) fn digest_of(manifest: &[u8], id: &str) -> Option<String> {
    let hash: String = Sha256::digest(manifest)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let digest = format!("sha256:{hash}");
    let parsed: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    let config = parsed.pointer("/config/digest").and_then(|it| it.as_str());
    (digest == id || config == Some(id)).then_some(digest)
}

/// The digest in the last step of an engine's push: `TAG: digest: sha256:... size: 528`.
pub(super) fn pushed_digest(step: &str) -> Option<&str> {
    let (_, rest) = step.split_once("digest: ")?;
    let digest = rest.split_ascii_whitespace().next()?;
    let hash = digest.strip_prefix("sha256:")?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_believed_only_of_its_own_image() {
        let (own, other) = (format!("sha256:{:064}", 1), format!("sha256:{:064}", 2));
        let manifest =
            format!(r#"{{"schemaVersion":2,"config":{{"digest":"{own}","size":1}},"layers":[]}}"#);
        let digest = digest_of(manifest.as_bytes(), &own).expect("its own");
        assert!(digest.starts_with("sha256:") && digest.len() == 71);
        assert_eq!(digest_of(manifest.as_bytes(), &other), None);
        assert_eq!(
            digest_of(manifest.as_bytes(), &digest),
            Some(digest.clone())
        );
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(digest_of(index, &own), None);
        for broken in ["", "{", "[]", r#"{"config":{"digest":7}}"#] {
            assert_eq!(digest_of(broken.as_bytes(), &own), None);
        }
    }

    #[test]
    fn the_digest_of_a_push_is_found() {
        let digest = format!("sha256:{:064}", 7);
        let step = format!("{:064}: digest: {digest} size: 528", 3);
        assert_eq!(pushed_digest(&step), Some(digest.as_str()));
        for other in ["Pushed", "digest: sha256:77 size: 1", "digest: "] {
            assert_eq!(pushed_digest(other), None);
        }
    }
}
