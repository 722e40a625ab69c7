//! Building an image: the request, and the steps as they run.

use crate::{ErrorBody, ErrorCode};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Start of the names of built images, as in the original.
pub const PREFIX: &str = "container-";
/// Upper bound for the part of the name after the prefix, in bytes.
const NAME_MAX: usize = 63;
/// Upper bound for a name that need not have the prefix, in bytes.
const ANY_NAME_MAX: usize = 128;

/// The part of an engine that builds images.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Builder {
    /// The engine's first builder. It lacks `RUN --mount`, heredocs, `COPY --link` and
    /// `COPY --chmod`.
    Classic,
    /// BuildKit, within the engine.
    Buildkit,
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Classic => "classic",
            Self::Buildkit => "buildkit",
        })
    }
}

impl FromStr for Builder {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "classic" => Ok(Self::Classic),
            "buildkit" => Ok(Self::Buildkit),
            _ => Err(format!("`{text}` is neither `classic` nor `buildkit`")),
        }
    }
}

/// The builders of the manager's engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BuilderView {
    /// The engine's version.
    pub engine: String,
    /// The builder that is used unless another is requested.
    pub default: Builder,
    /// All builders that can be used.
    pub builders: Vec<Builder>,
    /// Builds that run or wait now.
    pub builds: usize,
}

/// Settings of a build. The context is the request's body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildRequest {
    /// Name of the image, without tag.
    pub name: String,
    /// Accept a name without the prefix `container-`.
    pub any_name: bool,
    /// Path of the Dockerfile in the context. Default: `Dockerfile`.
    pub dockerfile: Option<String>,
    /// Build arguments, as `KEY=VALUE`.
    pub arguments: Vec<String>,
    /// Stage to build. Default: the last one.
    pub target: Option<String>,
    /// Use no cached step.
    pub no_cache: bool,
    /// Platform to build for, as `linux/arm64`. Default: the engine's own.
    pub platform: Option<String>,
    /// Images whose steps may be reused.
    pub cache_from: Vec<String>,
    /// Builder to use. Default: the engine's.
    pub builder: Option<Builder>,
}

impl BuildRequest {
    /// Path of the Dockerfile in the context.
    #[must_use]
    pub fn dockerfile(&self) -> &str {
        self.dockerfile.as_deref().unwrap_or("Dockerfile")
    }

    /// The query parameters of this request, in any order.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let flags = [("any_name", self.any_name), ("no_cache", self.no_cache)];
        let words = [
            ("dockerfile", self.dockerfile.clone()),
            ("target", self.target.clone()),
            ("platform", self.platform.clone()),
            ("builder", self.builder.map(|builder| builder.to_string())),
        ];
        let lists = [
            ("argument", &self.arguments),
            ("cache_from", &self.cache_from),
        ];
        let flags = flags.into_iter().filter(|(_, set)| *set);
        let lists = lists
            .into_iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (key, value.clone())));
        std::iter::once(("name", self.name.clone()))
            .chain(flags.map(|(key, set)| (key, set.to_string())))
            .chain(
                words
                    .into_iter()
                    .filter_map(|(key, word)| Some((key, word?))),
            )
            .chain(lists)
            .collect()
    }

    /// Parses query parameters.
    ///
    /// # Errors
    /// `BadRequest` for an unknown parameter, a malformed value, or no name.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ErrorBody> {
        let refuse = |message: String| ErrorBody::new(ErrorCode::BadRequest, message);
        let mut request = Self::default();
        for (key, value) in pairs {
            let flag = || {
                value
                    .parse()
                    .map_err(|_| refuse(format!("`{key}` must be `true` or `false`")))
            };
            match key.as_str() {
                "name" => request.name = value,
                "any_name" => request.any_name = flag()?,
                "dockerfile" => request.dockerfile = Some(value),
                "argument" => request.arguments.push(value),
                "target" => request.target = Some(value),
                "no_cache" => request.no_cache = flag()?,
                "platform" => request.platform = Some(value),
                "cache_from" => request.cache_from.push(value),
                "builder" => request.builder = Some(value.parse().map_err(refuse)?),
                _ => return Err(refuse(format!("a build takes no parameter `{key}`"))),
            }
        }
        if request.name.is_empty() {
            return Err(refuse("a build needs a `name`".to_owned()));
        }
        Ok(request)
    }
}

/// Checks the name of an image to build: `container-` and up to 63 characters; with `any`, any
/// repository name.
///
/// # Errors
/// `BadRequest` with the rule.
pub fn check_name(name: &str, any: bool) -> Result<(), ErrorBody> {
    let refuse = |message: String, hint: &str| {
        Err(ErrorBody::new(ErrorCode::BadRequest, message).hint(hint))
    };
    let part = |text: &str, most: usize| {
        let begins = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let follows = |c: char| begins(c) || matches!(c, '.' | '_' | '-');
        text.len() <= most && text.starts_with(begins) && text.chars().all(follows)
    };
    match name.strip_prefix(PREFIX) {
        Some(rest) if part(rest, NAME_MAX) => Ok(()),
        _ if any && name.len() <= ANY_NAME_MAX && name.split('/').all(|it| part(it, NAME_MAX)) => {
            Ok(())
        }
        _ if any => refuse(
            format!("image name `{name}` does not match `[a-z0-9][a-z0-9._-]{{0,62}}`"),
            "use lower-case letters, digits, `.`, `_`, `-`, and `/` between parts; no tag",
        ),
        _ => refuse(
            format!("image name `{name}` does not match `container-[a-z0-9][a-z0-9._-]{{0,62}}`"),
            "`--any-name` accepts a name without the prefix",
        ),
    }
}

/// One event of a build. The stream ends after `built` or `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum BuildEvent {
    /// Other builds run on the engine first. Repeated while it waits.
    Queued {
        /// Builds ahead.
        ahead: usize,
    },
    /// The engine takes the context.
    Started {
        /// The builder in use.
        builder: Builder,
        /// The engine's version.
        engine: String,
    },
    /// A step begins. BuildKit runs several at a time.
    Step {
        /// Number of the step, from 1.
        step: u32,
        /// Number of all steps, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<u32>,
        /// The instruction.
        text: String,
    },
    /// A step was not run, because its result was there.
    Cached {
        /// Number of the step.
        step: u32,
    },
    /// A line that a step printed.
    Output {
        /// Number of the step; 0 for none.
        step: u32,
        /// The line.
        text: String,
    },
    /// The image goes to the registry.
    Pushing {
        /// The image, with its tag.
        image: String,
    },
    /// The image is built, tagged and in the registry.
    Built(BuiltView),
    /// There is no image.
    Failed {
        /// Cause and next step.
        error: ErrorBody,
        /// The instruction that failed, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// The last lines that it printed, at most 20.
        #[serde(default)]
        output: Vec<String>,
    },
}

/// A built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BuiltView {
    /// Name for `launch`. Its tag `latest` is this image now.
    pub image: String,
    /// Name and tag of this image, which never become another one.
    pub tag: String,
    /// Id of the image: the digest of its configuration.
    pub id: String,
    /// The reference that nodes pull, by digest.
    pub pull: String,
    /// The builder that built it.
    pub builder: Builder,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let full = BuildRequest {
            name: "container-web".to_owned(),
            any_name: true,
            dockerfile: Some("sub/Dockerfile".to_owned()),
            arguments: vec!["A=1".to_owned(), "B=x=y".to_owned()],
            target: Some("last".to_owned()),
            no_cache: true,
            platform: Some("linux/arm64".to_owned()),
            cache_from: vec!["container-web:latest".to_owned()],
            builder: Some(Builder::Buildkit),
        };
        let named = BuildRequest {
            name: "container-web".to_owned(),
            ..BuildRequest::default()
        };
        for request in [full, named] {
            let pairs = request.pairs().into_iter();
            let read = BuildRequest::from_pairs(pairs.map(|(key, value)| (key.to_owned(), value)));
            assert_eq!(read, Ok(request));
        }
    }

    #[test]
    fn malformed_requests_are_refused_by_their_parameter() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().copied();
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
            BuildRequest::from_pairs(pairs)
                .expect_err("malformed")
                .message
        };
        assert_eq!(read(&[]), "a build needs a `name`");
        assert_eq!(read(&[("x", "1")]), "a build takes no parameter `x`");
        assert_eq!(
            read(&[("no_cache", "maybe")]),
            "`no_cache` must be `true` or `false`"
        );
        assert_eq!(
            read(&[("builder", "kaniko")]),
            "`kaniko` is neither `classic` nor `buildkit`"
        );
    }

    #[test]
    fn names_have_the_prefix_unless_any_is_accepted() {
        let longest = format!("container-{}", "a".repeat(63));
        for good in ["container-web", "container-0.9_x-y", &longest] {
            assert_eq!(check_name(good, false), Ok(()), "{good}");
        }
        let long = format!("container-{}", "a".repeat(64));
        for bad in [
            "web",
            "container-",
            "container--web",
            "container-Web",
            "container-web:1",
            "container-a/b",
            &long,
        ] {
            let refusal = check_name(bad, false).expect_err(bad);
            assert!(refusal.message.contains("container-[a-z0-9]"), "{refusal}");
        }
        for good in ["web", "team/web", "container-web"] {
            assert_eq!(check_name(good, true), Ok(()), "{good}");
        }
        for bad in ["", "web:1", "Web", "team//web", "../web", "web@sha256:0"] {
            assert!(check_name(bad, true).is_err(), "{bad}");
        }
    }
}
