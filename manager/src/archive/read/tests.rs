//! Archives that an engine may get, and those that it may not.

use super::*;
use flate2::{Compression, write::GzEncoder};
use std::io::Cursor;
use tar::{EntryType, Header};

/// Type, name, target and content of an entry.
type Part<'a> = (EntryType, &'a str, &'a str, &'a [u8]);

const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{}}"#;

/// Digest of that configuration.
const ID: &str = "sha256:eac1a45a48dae12754d81066b79f6d4aff557bfb2c93e335ef1f55433290c98f";

/// Names are written as they are: the library's own functions refuse hostile ones.
fn packed(parts: &[Part<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name, target, content) in parts {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let fields = header.as_gnu_mut().expect("a GNU header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).expect("an entry");
    }
    tar.into_inner().expect("an archive")
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Part<'a> {
    (EntryType::Regular, name, "", content)
}

/// An image with this list, and these entries before it.
fn listed(manifest: &str, more: &[Part<'_>]) -> Vec<u8> {
    let own = [file("c.json", CONFIG), file("a/layer.tar", b"layer")];
    let last = [file("manifest.json", manifest.as_bytes())];
    packed(&[&own[..], more, &last].concat())
}

const MANIFEST: &str = r#"[{"Config":"c.json","RepoTags":["web:1"],"Layers":["a/layer.tar"]}]"#;

fn image(more: &[Part<'_>]) -> Vec<u8> {
    listed(MANIFEST, more)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain).expect("written");
    gzip.finish().expect("compressed")
}

/// Images, their facts, and what the engine gets.
type Checked = (Vec<Item>, Vec<Facts>, Vec<u8>);

fn checked_within(archive: &[u8], limits: Limits) -> Result<Checked, ArchiveError> {
    let mut stripped = Vec::new();
    let items = strip(archive, &mut stripped, limits)?;
    let facts = facts(Cursor::new(&stripped), &items, limits)?;
    Ok((items, facts, stripped))
}

fn checked(archive: &[u8]) -> Result<Checked, ArchiveError> {
    checked_within(archive, LIMITS)
}

fn refusal(archive: &[u8]) -> String {
    checked(archive).expect_err("refused").to_string()
}

fn files(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("entries");
    let read = entries.map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("text");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        (name, content)
    });
    read.collect()
}

#[test]
fn the_engine_gets_an_image_without_its_names() {
    let others = [
        (EntryType::Directory, "a/", "", &b""[..]),
        (EntryType::Symlink, "b", "a/layer.tar", b""),
        file("repositories", br#"{"micado-node":{"latest":"x"}}"#),
        file("index.json", br#"{"manifests":[]}"#),
        file("oci-layout", b"{}"),
    ];
    let plain = image(&others);
    for archive in [&plain, &gzip(&plain)] {
        let (items, facts, stripped) = checked(archive).expect("an image");
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].names, ["web:1"]);
        assert_eq!(facts[0].id, ID);
        assert_eq!(facts[0].platform.to_string(), "linux/amd64");
        let files = files(&stripped);
        let names: Vec<_> = files
            .iter()
            .map(|(name, _)| name.trim_end_matches('/'))
            .collect();
        assert_eq!(names, ["c.json", "a/layer.tar", "a", "b", "manifest.json"]);
        assert_eq!(
            files[4].1,
            r#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]}]"#
        );
    }
}

#[test]
fn hostile_entries_are_refused_by_their_name() {
    let with = |kind, name, target| refusal(&image(&[(kind, name, target, b"")]));
    for (kind, name, target, words) in [
        (EntryType::Regular, "../x", "", "`../x` has `..`"),
        (
            EntryType::Regular,
            "/etc/x",
            "",
            "`/etc/x` has an absolute name",
        ),
        (
            EntryType::Symlink,
            "x",
            "../../etc",
            "leads out of the archive, to `../../etc`",
        ),
        (
            EntryType::Symlink,
            "x",
            "/etc/shadow",
            "leads out of the archive, to `/etc/shadow`",
        ),
        (
            EntryType::Link,
            "x",
            "/etc/shadow",
            "leads out of the archive",
        ),
        (EntryType::Char, "x", "", "`x` is a device"),
        (EntryType::Block, "x", "", "`x` is a device"),
        (EntryType::Fifo, "x", "", "`x` is a FIFO"),
        (EntryType::Regular, "./c.json", "", "it has `c.json` twice"),
        (
            EntryType::Symlink,
            "a/./layer.tar",
            "x",
            "it has `a/layer.tar` twice",
        ),
        (EntryType::Symlink, "manifest.json", "x", "it is no file"),
    ] {
        let refusal = with(kind, name, target);
        assert!(refusal.contains(words), "{name}: {refusal}");
    }
    let through = [
        (EntryType::Symlink, "d", "a", &b""[..]),
        file("d/other", b""),
    ];
    assert!(refusal(&image(&through)).contains("through a link"));
    let two = [file("manifest.json", b"[]")];
    assert!(refusal(&image(&two)).contains("`manifest.json` twice"));
}

#[test]
fn archives_beyond_the_limits_are_refused() {
    let archive = image(&[file("x", &[7; 3_000])]);
    let within = |limits| {
        checked_within(&archive, limits)
            .map(|_| ())
            .map_err(|it| it.to_string())
    };
    let entries = within(Limits {
        entries: 3,
        ..LIMITS
    });
    assert!(entries.is_err_and(|it| it.contains("more than 3 entries")));
    let large = Limits {
        unpacked: 3_000,
        ..LIMITS
    };
    assert!(within(large).is_err_and(|it| it.contains("more than 3000 bytes")));
    assert!(within(LIMITS).is_ok());

    // A layer is counted as it unpacks, also one that hides behind a link.
    let bomb = gzip(&vec![0; 100_000]);
    let archive = image(&[file("x", &bomb)]);
    let large = Limits {
        unpacked: 50_000,
        ..LIMITS
    };
    let refused = checked_within(&archive, large).expect_err("large");
    assert!(refused.to_string().contains("50000 bytes"), "{refused}");
    let flat = Limits {
        ratio_from: 50_000,
        ratio: 100,
        ..LIMITS
    };
    let refused = checked_within(&archive, flat).expect_err("it grows");
    assert!(refused.to_string().contains("100 times"), "{refused}");
    let other = image(&[file("x", b"BZh91AY&SY")]);
    assert!(refusal(&other).contains("`x` of the archive is compressed with bzip2"));
}

#[test]
fn what_is_no_archive_of_images_is_told_with_the_next_step() {
    let told = |archive: &[u8]| {
        let body = ErrorBody::from(checked(archive).expect_err("refused"));
        format!("{} {}", body.message, body.hint.unwrap_or_default())
    };
    let oci = packed(&[file("oci-layout", b"{}"), file("index.json", b"{}")]);
    let words = told(&oci);
    assert!(words.contains("skopeo copy oci-archive:FILE docker-archive:FILE2:NAME:TAG"));
    assert!(told(&packed(&[file("etc/passwd", b"x")])).contains("`docker save NAME:TAG -o FILE`"));
    assert!(told(&[]).contains("no `manifest.json`"));
    assert!(told(&[b'x'; 2_000]).contains("no valid tar"));
    let zstd = told(b"\x28\xb5\x2f\xfd\x04\x00\x00");
    assert!(
        zstd.contains("zstd -dc FILE | micado image import -f -"),
        "{zstd}"
    );
    let cut = image(&[]);
    assert!(told(&cut[..700]).contains("no valid tar"));
}

#[test]
fn a_list_that_does_not_fit_the_files_is_refused() {
    let many = format!("[{}]", [r#"{"Config":"c.json"}"#; 65].join(","));
    for (manifest, words) in [
        ("{}", "is refused"),
        ("[]", "lists 0 images"),
        (
            r#"[{"Config":"other.json","Layers":null}]"#,
            "no file `other.json`",
        ),
        (
            r#"[{"Config":"../c.json","Layers":[]}]"#,
            "no file `../c.json`",
        ),
        (r#"[{"Config":"c.json","Layers":["b"]}]"#, "no file `b`"),
        (
            r#"[{"Config":"a/layer.tar","Layers":[]}]"#,
            "no configuration",
        ),
        (many.as_str(), "lists 65 images"),
    ] {
        let refusal = refusal(&listed(manifest, &[]));
        assert!(refusal.contains(words), "{manifest}: {refusal}");
    }
    let link = [(EntryType::Symlink, "l", "c.json", &b""[..])];
    let manifest = r#"[{"Config":"l","Layers":[]}]"#;
    assert!(refusal(&listed(manifest, &link)).contains("no file `l`"));
}
