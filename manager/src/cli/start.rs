//! `micado start`: rent a machine.

use super::{args::StartArgs, failure::Failure, follow::follow, page::Page, printer::Printer};
use micado_api::{Client, ErrorBody, ErrorCode, StartRequest};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Upper bound for the size of all files together, in bytes: they travel in one request.
const FILES_MAX: usize = 2 << 20;

pub(super) async fn start(
    args: StartArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
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
    let now = client
        .instances(true)
        .await?
        .into_iter()
        .rfind(|it| it.id == started.id)
        .unwrap_or(started);
    printer.data(&now, || Page::default().line(tag))?;
    Ok(())
}

/// Reads the files, by their own names without folders.
fn read(paths: &[PathBuf]) -> Result<BTreeMap<String, Vec<u8>>, ErrorBody> {
    let refuse = |message| ErrorBody::new(ErrorCode::BadRequest, message);
    let mut files = BTreeMap::new();
    let mut room = FILES_MAX;
    for path in paths {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| refuse(format!("`{}` has no plain file name", path.display())))?;
        let content = read_up_to(path, room + 1).map_err(|error| {
            refuse(format!("file `{}` cannot be read: {error}", path.display()))
        })?;
        room = room.checked_sub(content.len()).ok_or_else(|| {
            refuse(format!(
                "the files are too large: {} MiB at most, together",
                FILES_MAX >> 20
            ))
        })?;
        if files.insert(name.to_owned(), content).is_some() {
            return Err(refuse(format!("two files are called `{name}`")));
        }
    }
    Ok(files)
}

/// Reads at most this much: a named file may be endless.
fn read_up_to(path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(bytes as u64)
        .read_to_end(&mut content)?;
    Ok(content)
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
        assert_eq!(
            read(std::slice::from_ref(&one)),
            Ok([("a.txt".to_owned(), b"A".to_vec())].into())
        );
        assert_eq!(
            read(&[one, other.join("a.txt")]).map_err(|error| error.message),
            Err("two files are called `a.txt`".to_owned())
        );
        let words = |path: &Path| read(&[path.to_owned()]).expect_err("a refusal").message;
        assert_eq!(
            words(&other),
            format!(
                "file `{}` cannot be read: Is a directory (os error 21)",
                other.display()
            )
        );
        let absent = folder.path().join("absent");
        assert_eq!(
            words(&absent),
            format!(
                "file `{}` cannot be read: No such file or directory (os error 2)",
                absent.display()
            )
        );
    }

    #[test]
    fn files_are_read_no_further_than_they_may_be_large() {
        let folder = tempfile::tempdir().expect("a folder");
        let (half, rest) = (folder.path().join("half"), folder.path().join("rest"));
        fs::write(&half, vec![255; FILES_MAX / 2]).expect("written");
        fs::write(&rest, vec![255; FILES_MAX / 2]).expect("written");
        let files = read(&[half.clone(), rest]).expect("as much as may be");
        let sent = serde_json::to_vec(&files).expect("JSON").len();
        assert!(
            sent < 9 << 20,
            "the manager takes no request of {sent} bytes"
        );
        let too_large = Err("the files are too large: 2 MiB at most, together".to_owned());
        assert_eq!(
            read(&[half, "/dev/zero".into()]).map_err(|error| error.message),
            too_large
        );
    }
}
