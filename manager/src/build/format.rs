//! Compression of an archive, by its first bytes.

use std::{
    fmt,
    io::{self, Cursor, Read},
};

/// Bytes that tell the formats apart.
const MAGIC: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// None of the others: a tar, or no archive at all.
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Format {
    fn of(begin: &[u8]) -> Self {
        match begin {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// The command that unpacks it to a plain tar on standard output.
    #[must_use]
    pub const fn unpacker(self) -> &'static str {
        match self {
            Self::Plain => "cat",
            Self::Gzip => "gzip -dc",
            Self::Bzip2 => "bzip2 -dc",
            Self::Xz => "xz -dc",
            Self::Zstd => "zstd -dc",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "tar",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Returns the format, and a reader of the whole archive.
///
/// # Errors
/// Errors of reading.
pub fn detect<R: Read>(mut from: R) -> io::Result<(Format, impl Read)> {
    let mut begin = Vec::with_capacity(MAGIC);
    from.by_ref().take(MAGIC as u64).read_to_end(&mut begin)?;
    let format = Format::of(&begin);
    Ok((format, Cursor::new(begin).chain(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_magic_and_nothing_is_lost() {
        for (begin, format) in [
            (&b"\x1f\x8b\x08\x00"[..], Format::Gzip),
            (b"BZh91AY&SY", Format::Bzip2),
            (b"\xfd7zXZ\x00\x00", Format::Xz),
            (b"\x28\xb5\x2f\xfd\x04", Format::Zstd),
            (b"Dockerfile\0\0\0", Format::Plain),
            (b"\x1f", Format::Plain),
            (b"", Format::Plain),
        ] {
            let (found, mut whole) = detect(begin).expect("read");
            let mut read = Vec::new();
            whole.read_to_end(&mut read).expect("read");
            assert_eq!((found, read.as_slice()), (format, begin));
        }
    }
}
