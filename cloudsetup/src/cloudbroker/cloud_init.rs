//! User data of an instance: a `#cloud-config` that writes the order's files and the node's scripts
//! and runs them.

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write};

/// Upper bound for user data at the clouds behind a broker.
const MOST_BYTES: usize = 16 << 10;
/// Folder of the scripts on a machine.
const SCRIPTS_HOME: &str = "/opt/micado/node";
/// Folder of an order's files.
const FILES_HOME: &str = "/etc/micado";

/// The node's scripts, and the units that run them at boot, each with its mode, as an administrator
/// loads them into the broker.
const SCRIPTS: [(&str, &str, &str); 6] = [
    (
        "deploy.sh",
        "0755",
        include_str!("../../../scripts/packages/node/deploy.sh"),
    ),
    (
        "init.sh",
        "0755",
        include_str!("../../../scripts/packages/node/init.sh"),
    ),
    (
        "fetch-agent",
        "0755",
        include_str!("../../../scripts/packages/node/fetch-agent"),
    ),
    (
        "keep-agent",
        "0755",
        include_str!("../../../scripts/packages/node/keep-agent"),
    ),
    (
        "micado-agent.service",
        "0644",
        include_str!("../../../scripts/packages/node/micado-agent.service"),
    ),
    (
        "micado-node.service",
        "0644",
        include_str!("../../../scripts/packages/node/micado-node.service"),
    ),
];

/// The user data of a machine with these files.
///
/// # Errors
/// If it is too large for a machine; the text is for the user.
pub(super) fn user_data(files: &BTreeMap<String, Vec<u8>>) -> Result<String, String> {
    let scripts = SCRIPTS.map(|(name, mode, content)| {
        file(&format!("{SCRIPTS_HOME}/{name}"), content.as_bytes(), mode)
    });
    let files = files
        .iter()
        .map(|(name, content)| file(&format!("{FILES_HOME}/{name}"), content, "0600"));
    let config = json!({
        "write_files": files.chain(scripts).collect::<Vec<_>>(),
        "runcmd": [
            ["find", FILES_HOME, "-type", "d", "-exec", "chmod", "0700", "{}", "+"],
            ["sh", "-c", format!("{SCRIPTS_HOME}/deploy.sh && {SCRIPTS_HOME}/init.sh")],
        ],
    });
    // JSON is YAML with the right quotes.
    let text = format!("#cloud-config\n{config}\n");
    if text.len() > MOST_BYTES {
        return Err(format!(
            "what the machine would be given at its start is {} bytes, and clouds take {MOST_BYTES} at most: start it with fewer or smaller files, or rent the application as jobs",
            text.len()
        ));
    }
    Ok(text)
}

fn file(path: &str, content: &[u8], mode: &str) -> Value {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let packed = packed
        .write_all(content)
        .and_then(|()| packed.finish())
        .unwrap_or_default();
    json!({ "path": path, "encoding": "gz+b64", "content": BASE64_STANDARD.encode(packed), "permissions": mode, "owner": "root:root" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_user_data_lays_out_the_files_and_runs_the_scripts() {
        let files = [
            ("labels".to_owned(), b"micado.tag=x\n".to_vec()),
            ("files/a \"b\".txt".to_owned(), vec![0, 255]),
        ];
        let text = user_data(&files.into()).expect("it is small");
        let json = text
            .strip_prefix("#cloud-config\n")
            .expect("cloud-init's mark");
        let config: Value = serde_json::from_str(json).expect("JSON");
        let written: Vec<_> = config["write_files"]
            .as_array()
            .expect("files")
            .iter()
            .map(unpacked)
            .collect();
        let mut expected = vec![
            (
                "/etc/micado/files/a \"b\".txt".to_owned(),
                vec![0, 255],
                "0600".to_owned(),
            ),
            (
                "/etc/micado/labels".to_owned(),
                b"micado.tag=x\n".to_vec(),
                "0600".to_owned(),
            ),
        ];
        expected.extend(SCRIPTS.map(|(name, mode, content)| {
            (
                format!("/opt/micado/node/{name}"),
                content.as_bytes().to_vec(),
                mode.to_owned(),
            )
        }));
        assert_eq!(written, expected);
        assert_eq!(
            config["runcmd"][1][2],
            "/opt/micado/node/deploy.sh && /opt/micado/node/init.sh"
        );
    }

    fn unpacked(file: &Value) -> (String, Vec<u8>, String) {
        let text = |key: &str| file[key].as_str().expect(key).to_owned();
        assert_eq!(
            (text("encoding").as_str(), text("owner").as_str()),
            ("gz+b64", "root:root")
        );
        let packed = BASE64_STANDARD.decode(text("content")).expect("base64");
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut content)
            .expect("gzip");
        (text("path"), content, text("permissions"))
    }

    #[test]
    fn what_is_too_much_for_a_machine_is_refused() {
        // From a linear congruential generator, so it cannot be compressed.
        let random = std::iter::successors(Some(1_u64), |last| {
            Some(
                last.wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407),
            )
        });
        let noise: Vec<_> = random
            .take(3000)
            .flat_map(|number| (number >> 32).to_le_bytes()[..4].to_vec())
            .collect();
        let error = user_data(&[("files/noise".to_owned(), noise)].into()).expect_err("too much");
        assert!(error.contains("16384 at most"), "{error}");
    }
}
