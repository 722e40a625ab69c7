//! The sampler on trees of files as kernels show them: both versions of cgroups, both of the
//! engine's drivers, real machines and machines that are containers.

mod version_1;
mod version_2;

use std::path::Path;

/// Copies the content of one folder into another, which may already hold some of it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
    {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else if !from.is_symlink() {
            // Overwrites the existing file: the sampler has it open.
            std::fs::write(to, std::fs::read(from).expect("read")).expect("written");
        } else if !to.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(from).expect("a link"), to)
                .expect("a link");
        }
    }
}

/// The folder of a tree.
fn tree(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/trees")
        .join(name)
}
