//! The file in which jobs and machines survive the program.

use crate::{SimulatorError, world::Records};
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Content of the file; empty records if it is absent.
pub(crate) fn load(path: &Path) -> Result<Records, SimulatorError> {
    let failed = |cause| SimulatorError::File {
        path: path.to_owned(),
        cause,
    };
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Records::default()),
        Err(error) => Err(failed(error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into())),
    }
}

/// Replaces the file as a whole, readable by its owner only.
pub(crate) fn save(path: &Path, records: &Records) -> Result<(), SimulatorError> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let written = serde_json::to_vec(records)
        .map_err(std::io::Error::from)
        .and_then(|bytes| {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&part)?;
            file.write_all(&bytes)?;
            fs::rename(&part, path)
        });
    written.map_err(|cause| SimulatorError::File {
        path: path.to_owned(),
        cause,
    })
}
