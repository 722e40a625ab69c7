//! `micado start`: rent a machine.

use super::{args::StartArgs, failure::Failure, follow::follow, page::Page, printer::Printer};
use micado_api::{Client, ErrorBody, ErrorCode, StartRequest};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// All files of a start together, in bytes: they travel in one request.
const FILES_MAX: usize = 2 << 20;

pub(super) async fn start(args: StartArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let request = StartRequest {
        cloud: args.cloud,
        application: args.application,
        flavour: args.flavour,
        tag: args.tag,
        location: args.name,
        first: args.first,
        files: read(&args.files)?,
    };
    crate::api::validate::start(&request)?;
    let started = client.start(&request).await?;
    let tag = started.tag.to_string();
    follow(std::slice::from_ref(&tag), client, printer).await?;
    let now = client.instances(true).await?.into_iter().rfind(|it| it.id == started.id).unwrap_or(started);
    printer.data(&now, || Page::default().line(tag))?;
    Ok(())
}

/// The files by their own names, without the folders they lie in.
fn read(paths: &[PathBuf]) -> Result<BTreeMap<String, Vec<u8>>, ErrorBody> {
    let refuse = |message| ErrorBody::new(ErrorCode::BadRequest, message);
    let mut files = BTreeMap::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| refuse(format!("`{}` has no plain file name", path.display())))?;
        let content = fs::read(path).map_err(|error| refuse(format!("file `{}`: {error}", path.display())))?;
        if files.insert(name.to_owned(), content).is_some() {
            return Err(refuse(format!("two files are called `{name}`")));
        }
    }
    if files.values().map(Vec::len).sum::<usize>() > FILES_MAX {
        return Err(refuse(format!("the files are too large: {} MiB at most, together", FILES_MAX >> 20)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_by_their_own_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (folder.path().join("a.txt"), folder.path().join("b"));
        fs::write(&one, "A").expect("written");
        fs::create_dir(&other).expect("made");
        fs::write(other.join("a.txt"), "B").expect("written");
        assert_eq!(read(std::slice::from_ref(&one)), Ok([("a.txt".to_owned(), b"A".to_vec())].into()));
        assert_eq!(read(&[one, other.join("a.txt")]).map_err(|error| error.message), Err("two files are called `a.txt`".to_owned()));
        assert!(read(&[other]).is_err());
        let large = folder.path().join("large");
        fs::write(&large, vec![0; FILES_MAX + 1]).expect("written");
        assert_eq!(read(&[large]).map_err(|error| error.message), Err("the files are too large: 2 MiB at most, together".to_owned()));
    }
}
