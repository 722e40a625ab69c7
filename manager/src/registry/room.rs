//! Room on the disk of the manager's registry: new images are refused before it is full, because
//! the manager's engine and its Swarm need that disk too.

use super::Registry;
use crate::engine::{EngineError, docker::ask};
use micado_api::MemoryBytes;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Least free share of a disk, in percent.
const LEAST_SHARE: u64 = 10;
/// Free space that suffices, whatever share of the disk it is.
const ENOUGH: MemoryBytes = MemoryBytes(10 << 30);

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: MemoryBytes,
    total: MemoryBytes,
}

impl Room {
    fn is_enough(self) -> bool {
        self.free >= ENOUGH || self.free.0 >= self.total.0 / 100 * LEAST_SHARE
    }

    /// Space at a path; `None` if it cannot be examined.
    fn at(path: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(path).ok()?;
        Some(Self {
            free: MemoryBytes(found.f_bavail.saturating_mul(found.f_frsize)),
            total: MemoryBytes(found.f_blocks.saturating_mul(found.f_frsize)),
        })
    }

    fn refusal(self, of: &str) -> Option<EngineError> {
        let Self { free, total } = self;
        (!self.is_enough()).then(|| {
            EngineError::Refused(format!(
                "the disk of {of} has {free} of {total} free, which is less than {LEAST_SHARE} % and less than {ENOUGH}: remove images with `micado image prune`, or free space there"
            ))
        })
    }
}

/// Checks that the disk of a folder has room for files, by the registry's rule. If it cannot be
/// examined, it counts as having room.
///
/// # Errors
/// `Refused` with the free space.
pub fn check_folder(folder: &Path, of: &str) -> Result<(), EngineError> {
    let refusal = Room::at(folder).and_then(|room| room.refusal(of));
    refusal.map_or(Ok(()), Err)
}

impl Registry {
    /// Checks that the disk of the manager's registry has room for a new image. If the disk cannot
    /// be examined, as on another machine, it counts as having room.
    ///
    /// # Errors
    /// `Refused` with the free space.
    pub async fn check_room(&self) -> Result<(), EngineError> {
        let room = self.room().await;
        let refusal = room.and_then(|room| room.refusal("the image registry"));
        refusal.map_or(Ok(()), Err)
    }

    /// Checks that an image is in the registry, or that there is room for it.
    ///
    /// # Errors
    /// `Refused` with the free space; `Unavailable` if the image cannot be looked up.
    pub async fn check_room_for(&self, image: &str) -> Result<(), EngineError> {
        let Err(refusal) = self.check_room().await else {
            return Ok(());
        };
        let inspecting = self.docker.inspect_image(image);
        let found = match ask(|| format!("look at image `{image}`"), inspecting).await {
            // A private image that is pulled later.
            Err(EngineError::NotFound(_)) => return Err(refusal),
            found => found?,
        };
        let id = found.id.unwrap_or_default();
        let tag = id.trim_start_matches("sha256:");
        let repo = crate::images::repo_name(image);
        match self.reading.stored(&repo, tag, &id).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(refusal),
        }
    }

    async fn room(&self) -> Option<Room> {
        let own = self.keeper.as_ref()?.own();
        let root = root_of(own.socket.as_deref()?).await?;
        let name = own.container_name();
        let volume = self.docker.inspect_volume(&name);
        let volume = ask(|| "look at the registry's volume".to_owned(), volume).await;
        let path = volume.ok()?.mountpoint;
        Room::at(&root.join(path.trim_start_matches('/')))
    }
}

/// Root folder of the engine behind a socket, which may be in a container.
async fn root_of(socket: &Path) -> Option<PathBuf> {
    let stream = UnixStream::connect(socket).await.ok()?;
    let pid = stream.peer_cred().ok()?.pid()?;
    (pid > 0).then(|| PathBuf::from(format!("/proc/{pid}/root")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_a_tenth_of_the_disk_or_ten_gib() {
        let gib = |free: u64, total: u64| Room {
            free: MemoryBytes(free << 30),
            total: MemoryBytes(total << 30),
        };
        for (room, is_enough) in [
            (gib(22, 252), true),
            (gib(10, 1000), true),
            (gib(9, 252), false),
            (gib(9, 80), true),
            (gib(0, 0), true),
            (gib(0, 20), false),
        ] {
            assert_eq!(room.refusal("x").is_none(), is_enough, "{room:?}");
        }
        let refusal = gib(9, 252)
            .refusal("the image registry")
            .map(|error| error.to_string());
        let refusal = refusal.expect("too little");
        for words in [
            "disk of the image registry",
            "9 GiB of 252",
            "10 %",
            "image prune",
        ] {
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[tokio::test]
    async fn the_root_of_a_server_is_found_by_its_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("engine.sock");
        let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
        let root = root_of(&socket).await.expect("this process");
        assert_eq!(
            root,
            PathBuf::from(format!("/proc/{}/root", std::process::id()))
        );
        drop(listener);
        std::fs::remove_file(&socket).expect("removed");
        assert_eq!(root_of(&socket).await, None);
    }
}
