use super::*;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tar::{EntryType, Header};

/// Entries of an archive, in the order of its fields: type, name, target, content.
type Parts<'a> = (EntryType, &'a str, &'a str, &'a [u8]);

/// Names are written as they are: the library's own functions refuse hostile ones.
fn archive(entries: &[Parts<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name, target, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000);
        header.set_size(content.len() as u64);
        let fields = header.as_gnu_mut().expect("a GNU header");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).expect("an entry");
    }
    tar.into_inner().expect("an archive")
}

const DOCKERFILE: Parts<'static> = (EntryType::Regular, "Dockerfile", "", b"FROM scratch\n");

fn with(entry: Parts<'_>) -> Vec<u8> {
    archive(&[DOCKERFILE, entry])
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain).expect("written");
    gzip.finish().expect("compressed")
}

fn repacked_within(packed: impl Read, limits: Limits) -> Result<Vec<u8>, RepackError> {
    let mut to = Vec::new();
    repack(packed, &mut to, "Dockerfile", limits).map(|_| to)
}

fn repacked(packed: &[u8]) -> Result<Vec<u8>, RepackError> {
    repacked_within(packed, Limits::default())
}

fn refusal(packed: &[u8]) -> String {
    repacked(packed).expect_err("hostile").to_string()
}

/// Name, content and mode of each entry.
fn listed(packed: &[u8]) -> Vec<(String, Vec<u8>, u32)> {
    let mut archive = tar::Archive::new(packed);
    let entries = archive.entries().expect("entries");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            (name, content, entry.header().mode().expect("a mode"))
        })
        .collect()
}

#[test]
fn a_context_arrives_as_it_was_sent_plain_or_compressed() {
    let plain = archive(&[
        (EntryType::Directory, "./", "", b""),
        (EntryType::Regular, "./Dockerfile", "", b"FROM scratch\n"),
        (EntryType::Directory, "./a/", "", b""),
        (EntryType::Regular, "./a/tool", "", &[7; 100_000]),
        (EntryType::Symlink, "./a/link", "tool", b""),
        (EntryType::Link, "./a/same", "./a/tool", b""),
    ]);
    let out = repacked(&plain).expect("good");
    assert_eq!(out, repacked(&gzip(&plain)).expect("good"));
    let names: Vec<_> = listed(&out).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["Dockerfile", "a", "a/tool", "a/link", "a/same"]);
    let mut read = tar::Archive::new(out.as_slice());
    for entry in read.entries().expect("entries") {
        let entry = entry.expect("an entry");
        let header = entry.header();
        let owner = (header.uid().ok(), header.gid().ok(), header.mtime().ok());
        assert_eq!(owner, (Some(7), Some(8), Some(1_000)));
        let target = entry.link_name_bytes().map(|target| target.into_owned());
        match header.entry_type() {
            EntryType::Symlink => assert_eq!(target.as_deref(), Some(&b"tool"[..])),
            EntryType::Link => assert_eq!(target.as_deref(), Some(&b"./a/tool"[..])),
            _ => assert_eq!(target, None),
        }
    }
}

#[test]
fn one_hostile_archive_of_each_kind_is_refused() {
    let of = |kind, name, target| refusal(&with((kind, name, target, b"")));
    let file = EntryType::Regular;
    assert!(of(file, "../x", "").contains("`..`"));
    assert!(of(file, "/etc/passwd", "").contains("absolute"));
    assert!(of(file, "Dockerfile", "").contains("twice"));
    assert!(of(EntryType::Symlink, "x", "../../etc").contains("leads out"));
    assert!(of(EntryType::Link, "x", "/etc/passwd").contains("leads out"));
    assert!(of(EntryType::Char, "null", "").contains("device"));
    assert!(of(EntryType::Block, "sda", "").contains("device"));
    assert!(of(EntryType::Fifo, "pipe", "").contains("FIFO"));
    assert!(of(EntryType::new(b'M'), "x", "").contains("type `M`"));
    let through = archive(&[
        DOCKERFILE,
        (EntryType::Symlink, "etc", "/etc", b""),
        (file, "etc/passwd", "", b"root::0:0"),
    ]);
    assert!(refusal(&through).contains("through a link"));
    assert!(refusal(&archive(&[])).contains("no `Dockerfile`"));
    assert!(refusal(b"\x28\xb5\x2f\xfd and so on").contains("zstd"));
    assert!(refusal(&[b'x'; 2_000]).contains("no valid tar"));
}

#[test]
fn a_long_name_arrives_whole_and_a_longer_one_is_refused() {
    let named = |length: usize| {
        let mut tar = tar::Builder::new(archive(&[DOCKERFILE]));
        // Overwrites the end of the archive.
        let end = tar.get_ref().len() - 1024;
        tar.get_mut().truncate(end);
        let (folder, mut header) = ("d".repeat(200), Header::new_gnu());
        header.set_size(0);
        header.set_mode(0o644);
        let name = [folder.as_str(); 25].join("/");
        tar.append_data(&mut header, &name[..length], io::empty())
            .expect("an entry");
        tar.into_inner().expect("an archive")
    };
    let out = repacked(&named(4096)).expect("good");
    assert_eq!(listed(&out)[1].0.len(), 4096);
    assert!(refusal(&named(4098)).contains("more than 4096 bytes"));
}

#[test]
fn an_archive_that_unpacks_to_far_more_is_refused_before_it_is_written() {
    let limits = Limits {
        ratio_from: 1 << 20,
        ..Limits::default()
    };
    let bomb = gzip(&with((EntryType::Regular, "zeros", "", &vec![0; 16 << 20])));
    assert!(bomb.len() < 40_000, "it is compressed well");
    let mut to = Vec::new();
    let refused = repack(bomb.as_slice(), &mut to, "Dockerfile", limits);
    assert!(
        matches!(refused, Err(RepackError::Refused(Refusal::Ratio(200)))),
        "{refused:?}"
    );
    assert!(to.len() < 2_048, "{}", to.len());
}

#[test]
fn a_header_without_end_does_not_fill_the_memory() {
    for letter in [b'L', b'K', b'x', b'g'] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(letter));
        header.set_size(8 << 30);
        header.set_cksum();
        let endless = header.as_bytes().chain(io::repeat(b'x'));
        let refused = repacked_within(endless, Limits::default());
        let refused = refused.expect_err("endless").to_string();
        assert!(refused.contains("more than 1 MiB"), "{refused}");
    }
}

/// A sender that breaks off after this.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into) {
            Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
            read => read,
        }
    }
}

#[test]
fn an_incomplete_context_is_never_taken_for_a_complete_one() {
    let whole = with((EntryType::Regular, "file", "", &[1; 10_000]));
    for length in [0, 100, 512, 1_500, 2_048, whole.len() - 1] {
        let cut = repacked_within(Broken(&whole[..length]), Limits::default());
        assert!(matches!(cut, Err(RepackError::Cut(_))), "{length}: {cut:?}");
    }
    let short = repacked(&whole[..5_000]);
    assert!(matches!(short, Err(RepackError::Malformed(_))), "{short:?}");
}

/// An engine that reads this many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(data.len())
            .ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_engine_that_stops_reading_is_told_from_a_bad_context() {
    let whole = with((EntryType::Regular, "file", "", &[1; 100_000]));
    for room in [0, 600, 20_000] {
        let closed = repack(
            whole.as_slice(),
            Full(room),
            "Dockerfile",
            Limits::default(),
        );
        assert!(matches!(closed, Err(RepackError::Closed)), "{closed:?}");
    }
}

#[test]
fn a_sparse_file_becomes_a_plain_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sparse");
    let file = std::fs::File::create(&path).expect("made");
    file.set_len(1 << 20).expect("set");
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(&path, "sparse").expect("packed");
    std::fs::write(&path, "FROM scratch\n").expect("written");
    tar.append_path_with_name(&path, "Dockerfile")
        .expect("packed");
    let packed = tar.into_inner().expect("an archive");
    assert!(packed.len() < 100_000, "it is sparse");
    let out = repacked(&packed).expect("good");
    assert_eq!(listed(&out)[0].1, vec![0; 1 << 20]);
}

#[test]
fn file_capabilities_arrive() {
    let mut tar = tar::Builder::new(Vec::new());
    let append = |tar: &mut tar::Builder<Vec<u8>>, name| {
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, io::empty())
            .expect("an entry");
    };
    append(&mut tar, "Dockerfile");
    let capability = [("SCHILY.xattr.security.capability", &b"\x01\x00\x00\x02"[..])];
    tar.append_pax_extensions(capability).expect("attributes");
    append(&mut tar, "ping");
    let out = repacked(&tar.into_inner().expect("an archive")).expect("good");
    let mut read = tar::Archive::new(out.as_slice());
    let mut entries = read.entries().expect("entries");
    let mut ping = entries.nth(1).expect("two").expect("an entry");
    let extensions = ping.pax_extensions().expect("read").expect("some");
    let pairs: Vec<_> = extensions
        .map(|it| it.expect("one"))
        .map(|it| (it.key_bytes().to_vec(), it.value_bytes().to_vec()))
        .collect();
    let kept = capability.map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec()));
    assert_eq!(pairs, kept);
}

proptest! {
    /// Any honest archive arrives entry by entry, in any chunks of input.
    #[test]
    fn honest_archives_arrive_whole(
        files in prop::collection::btree_map("[a-z]{1,8}(/[a-z]{1,8}){0,2}", prop::collection::vec(any::<u8>(), 0..2_000), 0..8),
    ) {
        let entries: Vec<Parts<'_>> = std::iter::once(DOCKERFILE)
            .chain(files.iter().map(|(name, content)| (EntryType::Regular, name.as_str(), "", content.as_slice())))
            .collect();
        let out = repacked(&archive(&entries)).expect("good");
        let expected: Vec<_> = entries
            .iter()
            .map(|(_, name, _, content)| ((*name).to_owned(), content.to_vec(), 0o640))
            .collect();
        prop_assert_eq!(listed(&out), expected);
    }

    /// No input panics, and nothing that is no archive passes.
    #[test]
    fn garbage_is_refused(garbage in prop::collection::vec(any::<u8>(), 0..4_000)) {
        prop_assert!(repacked(&garbage).is_err());
    }
}

#[test]
fn a_refused_context_has_no_end_that_an_engine_could_take_for_one() {
    let mut to = Vec::new();
    let hostile = with((EntryType::Regular, "../x", "", b""));
    repack(hostile.as_slice(), &mut to, "Dockerfile", Limits::default()).expect_err("hostile");
    assert_eq!(to.len(), 1024, "the Dockerfile alone");
    assert!(!to.ends_with(&[0; 1024]));
}
