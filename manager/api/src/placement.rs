//! Terms of a service's placement: processor platforms and the distance between its containers.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An operating system and a processor architecture, in the names that images use.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct Platform {
    /// `linux`, in practice.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
}

impl Platform {
    /// A platform in the names that images use: kernels and engines say `x86_64` and `aarch64`.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" | "arm64/v8" => "arm64",
            "armv7l" | "armhf" | "arm/v7" => "arm",
            "i386" | "i686" => "386",
            other => other,
        };
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform such as `linux/amd64`")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        match text.split_once('/') {
            Some((os, architecture)) if !os.is_empty() && !architecture.is_empty() => {
                Ok(Self::new(os, architecture))
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

/// Distance between the containers of one service.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AntiAffinity {
    /// Different machines, as far as that rents none.
    #[default]
    Prefer,
    /// Never two on one machine.
    Require,
}

impl fmt::Display for AntiAffinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefer => "prefer",
            Self::Require => "require",
        })
    }
}

impl FromStr for AntiAffinity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            _ => Err("expected `prefer` or `require`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_in_the_names_of_images() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            let platform: Platform = text.parse().expect("a platform");
            assert_eq!(platform.to_string(), shown);
        }
        assert_eq!(
            "amd64".parse::<Platform>().map_err(|e| e.to_string()),
            Err("`amd64` is not a platform such as `linux/amd64`".to_owned())
        );
    }
}
