//! A software's image, made as on the platform: `deploy.sh` runs once on a fresh machine, and all
//! machines of the software boot the result.

use bollard::{Docker, body_full, query_parameters::BuildImageOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fs, path::Path};

/// Repository of the images.
const REPOSITORY: &str = "micado-cloudbroker-software";
/// Lines of `deploy.sh` to report when it fails.
const LAST_WORDS: usize = 20;

/// The image of the package in this folder on this base; built unless one of the same inputs
/// exists.
pub(super) async fn image(
    engine: &Docker,
    base: &str,
    name: &str,
    folder: &Path,
) -> Result<String, String> {
    let base_id = engine
        .inspect_image(base)
        .await
        .map_err(|error| {
            format!("image `{base}`: {error}: build it with scripts/cloudbroker-image/build")
        })?
        .id;
    let files = package(folder)
        .map_err(|error| format!("software `{name}`: `{}`: {error}", folder.display()))?;
    let dockerfile = format!(
        "FROM {base}\nCOPY . /opt/cloudbroker/software/\nRUN cd /opt/cloudbroker/software && bash ./deploy.sh && rm -r /opt/cloudbroker/software\n"
    );
    let image = format!(
        "{REPOSITORY}:{}",
        hash(&base_id.unwrap_or_default(), &dockerfile, &files)
    );
    if engine.inspect_image(&image).await.is_ok() {
        return Ok(image);
    }
    tracing::info!(software = name, image, "running deploy.sh");
    let context =
        context(&dockerfile, &files).map_err(|error| format!("software `{name}`: {error}"))?;
    let labels: HashMap<_, _> = [("cloudbroker.software", name)].into();
    let options = BuildImageOptionsBuilder::new()
        .t(&image)
        .labels(&labels)
        .rm(true)
        .forcerm(true)
        .build();
    let mut steps = std::pin::pin!(engine.build_image(options, None, Some(body_full(context))));
    let mut said = Vec::new();
    while let Some(step) = steps.next().await {
        let step = step.map_err(|error| error.to_string());
        let error = match step {
            Ok(step) => {
                let text = step.stream.unwrap_or_default();
                tracing::debug!(software = name, "{}", text.trim_end());
                said.extend(
                    text.lines()
                        .map(str::to_owned)
                        .filter(|line| !line.is_empty()),
                );
                step.error_detail
                    .map(|detail| detail.message.unwrap_or_default())
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let words = said
                .split_off(said.len().saturating_sub(LAST_WORDS))
                .join("\n    ");
            return Err(format!(
                "software `{name}`: deploy.sh has failed: {error}; its last words:\n    {words}"
            ));
        }
    }
    Ok(image)
}

/// The package's files, by name.
fn package(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        if path.is_file() {
            files.push((name, fs::read(&path).map_err(|error| error.to_string())?));
        }
    }
    files.sort();
    if files.iter().any(|(name, _)| name == "deploy.sh") {
        Ok(files)
    } else {
        Err("there is no deploy.sh in it".to_owned())
    }
}

fn hash(base: &str, dockerfile: &str, files: &[(String, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    hash.update(base);
    hash.update(dockerfile);
    for (name, content) in files {
        hash.update(name);
        hash.update(Sha256::digest(content));
    }
    hash.finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn context(dockerfile: &str, files: &[(String, Vec<u8>)]) -> std::io::Result<Bytes> {
    let description = [
        ("Dockerfile".to_owned(), dockerfile.as_bytes().to_vec()),
        (
            ".dockerignore".to_owned(),
            b"Dockerfile\n.dockerignore\n".to_vec(),
        ),
    ];
    super::docker::archive(&[&description, files].concat(), 0o755).map(Bytes::from)
}
