//! The state folder.

use super::STORE;
use anyhow::{Context, Result, bail};
use std::{
    fs::Permissions,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Opens the state folder, made if it is missing, and restricts it to its owner. One that is open
/// to others and holds other files is refused.
pub(crate) fn private_folder(path: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot make the state folder `{}`", path.display());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(cannot)?;
    let open = std::fs::metadata(path)
        .with_context(cannot)?
        .permissions()
        .mode()
        & 0o077
        != 0;
    let known = [STORE, "cloudsetup.xml", "store.key"]
        .iter()
        .any(|file| path.join(file).exists());
    if open
        && !known
        && std::fs::read_dir(path)
            .with_context(cannot)?
            .next()
            .is_some()
    {
        bail!(
            "the state folder `{}` is open to others and holds other things: give the manager a folder of its own with --state",
            path.display()
        );
    }
    let private = || {
        format!(
            "cannot keep others out of the state folder `{}`; give it to the user that runs the manager",
            path.display()
        )
    };
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).with_context(private)?;
    path.canonicalize().with_context(cannot)
}

/// Writes a file that is readable for everyone with access to the state folder.
pub(super) fn write_public(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_that_was_open_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        std::fs::create_dir(&state).expect("made");
        std::fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("opened");
        private_folder(&state).expect("it is ours");
        assert_eq!(
            std::fs::metadata(&state)
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
    }

    #[test]
    fn an_open_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("theirs"), "").expect("written");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("opened");
        assert!(
            private_folder(folder.path())
                .expect_err("a refusal")
                .to_string()
                .contains("--state")
        );
        assert_eq!(
            std::fs::metadata(folder.path())
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
    }
}
