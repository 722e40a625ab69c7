//! Manifests of images: which image one describes, and its digest.

use crate::images::Stored;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A manifest of one platform, or an index of several.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: u64,
}

/// The image that a manifest under this tag describes. A manifest that cannot be read has no blobs.
pub(super) fn stored(repo: &str, tag: &str, manifest: &[u8]) -> Stored {
    let digest = digest(manifest);
    let parsed: Manifest = serde_json::from_slice(manifest).unwrap_or_default();
    let pushed = format!("sha256:{tag}");
    let config = parsed.config.as_ref().map(|config| config.digest.clone());
    let id = match digest_of(manifest, &pushed) {
        Some(_) => pushed,
        None => config.unwrap_or_else(|| digest.clone()),
    };
    let blobs = parsed.config.into_iter().chain(parsed.layers);
    let children = parsed.manifests.into_iter().map(|child| child.digest);
    Stored {
        repo: repo.to_owned(),
        digest,
        id,
        blobs: blobs.map(|blob| (blob.digest, blob.size)).collect(),
        children: children.collect(),
    }
}

fn digest(manifest: &[u8]) -> String {
    let hash: String = Sha256::digest(manifest)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hash}")
}

/// The digest of this manifest, if it describes the image with this id. With the containerd image
/// store, an image's id is the digest of its manifest; else it is that of its configuration.
pub(super) fn digest_of(manifest: &[u8], id: &str) -> Option<String> {
    let digest = digest(manifest);
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
    fn sizes_and_platforms_are_read() {
        let hex = |digit: u8| format!("{digit:064}");
        let manifest = format!(
            r#"{{"config":{{"digest":"sha256:{}","size":5}},"layers":[{{"digest":"a","size":7}},{{"digest":"a","size":7}}]}}"#,
            hex(1)
        );
        let image = stored("web", &hex(1), manifest.as_bytes());
        assert_eq!(image.id, format!("sha256:{}", hex(1)));
        assert_eq!(image.blobs.values().sum::<u64>(), 12);
        // A tag that somebody moved says nothing of the image.
        let moved = stored("web", &hex(2), manifest.as_bytes());
        assert_eq!(moved, image);
        let index = br#"{"manifests":[{"digest":"x","size":1},{"digest":"y"}]}"#;
        let index = stored("web", "latest", index);
        assert_eq!((index.children.len(), &index.id), (2, &index.digest));
        assert_eq!(stored("web", "1", b"{").blobs.len(), 0);
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
