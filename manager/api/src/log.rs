//! Lines of logs, as JSON.

use crate::ContainerName;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Response header with the number of containers whose log is sent.
pub const LOG_CONTAINERS: &str = "micado-containers";

/// A line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogEntry {
    /// The container that wrote it.
    pub container: ContainerName,
    /// Time with nanoseconds; absent of what was kept after the container's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Output that it was written to.
    pub stream: LogStream,
    /// Content without its line end. Bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Content in base64, if it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// True if the line has no end yet: it is the last one of a run, or too long for one entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unended: bool,
}

/// Output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogEntry {
    /// A line of this content, with its line end.
    #[must_use]
    pub fn new(
        container: ContainerName,
        at: Option<String>,
        stream: LogStream,
        content: &[u8],
    ) -> Self {
        let ended = content.strip_suffix(b"\n");
        let line = ended.unwrap_or(content);
        let is_text = std::str::from_utf8(line).is_ok();
        Self {
            container,
            at,
            stream,
            text: String::from_utf8_lossy(line).into_owned(),
            raw: (!is_text).then(|| BASE64_STANDARD.encode(line)),
            unended: ended.is_none(),
        }
    }

    /// Content with its line end, byte for byte.
    #[must_use]
    pub fn content(&self) -> Bytes {
        let raw = self.raw.as_ref();
        let raw = raw.and_then(|raw| BASE64_STANDARD.decode(raw).ok());
        let mut content = raw.unwrap_or_else(|| self.text.clone().into_bytes());
        if !self.unended {
            content.push(b'\n');
        }
        content.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_back_byte_for_byte() {
        for content in [
            &b"one\n"[..],
            b"",
            b"\n",
            b"no end",
            b"\xff\xfe\n",
            b"\x1b[31m\r\n",
        ] {
            let name = ContainerName::trusted("acme_web.1");
            let entry = LogEntry::new(name, None, LogStream::Stderr, content);
            let json = serde_json::to_string(&entry).expect("JSON");
            assert_eq!(json.lines().count(), 1, "{json}");
            let entry: LogEntry = serde_json::from_str(&json).expect("an entry");
            assert_eq!(entry.content(), content, "{json}");
        }
    }
}
