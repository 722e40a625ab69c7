//! Files of the kernel, opened once and kept open if every sweep reads them (opening costs eight
//! times as much as reading).

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Upper bound for reading one file, in bytes.
const MOST: usize = 64 << 10;
/// The kernel returns such files by the page: a read that leaves more room than one line in its
/// page was the last.
const PAGE: usize = 4096;
const LONGEST_LINE: usize = 512;

/// Folder above `/proc` and `/sys`: `/`, except for recorded trees.
#[derive(Debug, Clone)]
pub struct Kernel(PathBuf);

impl Kernel {
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Resolves an absolute path below that folder.
    #[must_use]
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.0.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, absolute: impl AsRef<Path>) -> io::Result<String> {
        std::fs::read_to_string(self.path(absolute))
    }
}

/// A buffer that all files are read into in turn.
#[derive(Debug)]
pub struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; PAGE])
    }
}

/// A file that is read repeatedly.
#[derive(Debug)]
pub struct Kept(File);

impl Kept {
    /// Opens a file of a folder; `None` if this kernel lacks it.
    #[must_use]
    pub fn open(folder: Option<&Path>, name: &str) -> Option<Self> {
        File::open(folder?.join(name)).ok().map(Self)
    }

    /// As [`Kept::open`], for a file that is reset by writing to it.
    #[must_use]
    pub fn open_to_reset(folder: Option<&Path>, name: &str) -> Option<Self> {
        let path = folder?.join(name);
        // The mode shows if the kernel accepts a reset. Outside the kernel's own file system, as in
        // a recorded tree, root may open files without write permission.
        let takes_orders = path.metadata().ok()?.permissions().mode() & 0o200 != 0;
        takes_orders
            .then(|| File::options().read(true).write(true).open(path).ok())?
            .map(Self)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read: `ENODEV` once its cgroup is gone.
    pub fn read<'a>(&self, scratch: &'a mut Scratch) -> io::Result<&'a str> {
        let buffer = &mut scratch.0;
        let mut length = 0;
        loop {
            let read = self.0.read_at(&mut buffer[length..], length as u64)?;
            length += read;
            if read + LONGEST_LINE < PAGE && length < buffer.len() || length >= MOST {
                break;
            }
            buffer.resize(buffer.len().max(length + PAGE), 0);
        }
        std::str::from_utf8(&buffer[..length])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads the file as one number.
    #[must_use]
    pub fn number(&self, scratch: &mut Scratch) -> Option<u64> {
        number(self.read(scratch).ok()?)
    }

    /// Resets the file's value.
    ///
    /// # Errors
    /// If the file accepts no reset.
    pub fn reset(&self) -> io::Result<()> {
        self.0.write_all_at(b"0", 0)
    }
}

/// Parses a file that holds one number.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    text.trim_ascii_end().parse().ok()
}

/// The number after this word, at the start of a line.
#[must_use]
pub fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        number(
            line.strip_prefix(name)?
                .strip_prefix(' ')?
                .trim_ascii_start(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut scratch = Scratch::default();
        for lines in [0, 1, 70, 73, 100, 2000] {
            let text: String = (0..lines)
                .map(|line| format!("line {line} {:45}\n", ""))
                .collect();
            std::fs::write(folder.path().join("file"), &text).expect("written");
            let kept = Kept::open(Some(folder.path()), "file").expect("open");
            let read = kept.read(&mut scratch).expect("read");
            assert!(
                read == text || lines == 2000 && read.len() >= MOST && text.starts_with(read),
                "{lines} lines: {} of {} bytes",
                read.len(),
                text.len()
            );
        }
    }

    #[test]
    fn a_field_is_a_whole_word() {
        let text = "cache 5\ninactive_file_x 1\ntotal_inactive_file 7\ninactive_file 12\nMemTotal:       9 kB\n";
        assert_eq!(field(text, "inactive_file"), Some(12));
        assert_eq!(field(text, "file"), None);
        assert_eq!(number("42\n"), Some(42));
        assert_eq!(number("max\n"), None);
    }
}
