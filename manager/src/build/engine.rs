//! The engine's build API.

use super::{
    Events, JOB_MAX,
    steps::{Buildkit, Classic, Steps},
};
use crate::{
    engine::{
        EngineError,
        docker::{ask, explain, words},
    },
    pieces::Piece,
};
use bollard::{
    Docker,
    auth::DockerCredentials,
    errors::Error,
    query_parameters::{BuildImageOptions, BuilderVersion},
};
use futures_util::StreamExt;
use micado_api::{BuildEvent, BuildRequest, Builder, ErrorBody, ErrorCode};
use std::{collections::HashMap, fmt, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Upper bound until the engine answers: it does so once it has the whole context.
const ANSWER: Duration = JOB_MAX;
/// Parts of messages about a base image that could not be pulled.
const NO_BASE: [&str; 9] = [
    "no basic auth credentials",
    "nauthorized",
    "pull access denied",
    "manifest unknown",
    "failed to resolve",
    "failed to do request",
    "no such host",
    "dial tcp",
    "Client.Timeout",
];

const NO_BASE_HINT: &str = "base images are on the manager's engine, or in a registry that it reaches; `micado registry login HOST` keeps a login for private ones";

/// The builders of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) version: String,
    pub(super) default: Builder,
    pub(super) builders: Vec<Builder>,
}

impl Found {
    /// The requested builder, or the default one.
    pub(super) fn choose(&self, wanted: Option<Builder>) -> Result<Builder, ErrorBody> {
        match wanted {
            Some(builder) if !self.builders.contains(&builder) => Err(ErrorBody::new(
                ErrorCode::Unsatisfiable,
                format!("engine {} has no builder `{builder}`", self.version),
            )
            .hint("leave `--builder` out")),
            Some(builder) => Ok(builder),
            None => Ok(self.default),
        }
    }
}

/// Oldest version of the API with BuildKit.
const BUILDKIT: (u32, u32) = (1, 39);

impl Found {
    /// The builders of an engine with this version of the API.
    fn of(version: String, api: &str, os: &str) -> Self {
        let api = api
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let has_buildkit = os == "linux" && api.is_some_and(|api: (u32, u32)| api >= BUILDKIT);
        let builders = if has_buildkit {
            vec![Builder::Buildkit, Builder::Classic]
        } else {
            vec![Builder::Classic]
        };
        Self {
            version,
            default: builders[0],
            builders,
        }
    }
}

/// Asks the engine for its builders.
pub(super) async fn builders(docker: &Docker) -> Result<Found, EngineError> {
    let version = ask(
        || "ask the engine for its version".to_owned(),
        docker.version(),
    )
    .await?;
    Ok(Found::of(
        version.version.unwrap_or_else(|| "unknown".to_owned()),
        version.api_version.as_deref().unwrap_or_default(),
        version.os.as_deref().unwrap_or_default(),
    ))
}

/// A failed build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    error: ErrorBody,
    /// The instruction that failed, and the last lines that it printed.
    step: Option<(String, Vec<String>)>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Fault {
    pub(super) fn of(error: ErrorBody) -> Self {
        Self { error, step: None }
    }

    pub(super) fn event(self) -> BuildEvent {
        let (step, output) = self.step.unzip();
        BuildEvent::Failed {
            error: self.error,
            step,
            output: output.unwrap_or_default(),
        }
    }
}

/// Logins to registries of base images, by the registry's address.
pub(super) type Logins = HashMap<String, DockerCredentials>;

/// Builds, and returns the image's id. The context is a plain tar; an error in it breaks off the
/// request. Dropping the future cancels the build.
///
/// It has a runtime of its own, on a thread: the Docker library leaves the connection of a BuildKit
/// session to a task that does not end with the build, and the end of the runtime ends it.
pub(super) async fn build(
    docker: &Docker,
    request: &BuildRequest,
    builder: Builder,
    logins: Logins,
    context: mpsc::Receiver<Piece>,
    events: &Events<BuildEvent>,
) -> Result<String, Fault> {
    let (docker, request, events) = (docker.clone(), request.clone(), events.clone());
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let failed = |error: &dyn fmt::Display| {
        Fault::of(ErrorBody::new(
            ErrorCode::Internal,
            format!("the build cannot run: {error}"),
        ))
    };
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        runtime.block_on(async {
            tokio::select! {
                built = run(docker, &request, builder, logins, context, &events) => built,
                () = stop.cancelled() => Err(failed(&"it was cancelled")),
            }
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(failed(&panic)))
}

async fn run(
    docker: Docker,
    request: &BuildRequest,
    builder: Builder,
    logins: Logins,
    context: mpsc::Receiver<Piece>,
    events: &Events<BuildEvent>,
) -> Result<String, Fault> {
    let docker = docker.with_timeout(ANSWER);
    let body = bollard::body_try_stream(ReceiverStream::new(context));
    let mut steps: Box<dyn Steps + Send> = match builder {
        Builder::Classic => Box::new(Classic::default()),
        Builder::Buildkit => Box::new(Buildkit::default()),
    };
    let mut answers = docker.build_image(options(request, builder), Some(logins), Some(body));
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => {
                for event in steps.take(answer) {
                    // A client that has gone needs none: its build is aborted.
                    drop(events.send(event).await);
                }
            }
            Err(error) => return Err(fault(&request.name, &error, steps.failing())),
        }
    }
    steps.id().ok_or_else(|| {
        Fault::of(ErrorBody::new(
            ErrorCode::Internal,
            "the engine ended the build without an image",
        ))
    })
}

fn options(request: &BuildRequest, builder: Builder) -> BuildImageOptions {
    let arguments = request.arguments.iter();
    let arguments = arguments.filter_map(|argument| argument.split_once('='));
    let arguments = arguments.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let cache_from = request.cache_from.clone();
    BuildImageOptions {
        dockerfile: request.dockerfile().to_owned(),
        nocache: request.no_cache,
        cachefrom: Some(cache_from).filter(|images| !images.is_empty()),
        buildargs: Some(arguments.collect()),
        platform: request.platform.clone().unwrap_or_default(),
        target: request.target.clone().unwrap_or_default(),
        rm: true,
        forcerm: true,
        version: match builder {
            Builder::Classic => BuilderVersion::BuilderV1,
            Builder::Buildkit => BuilderVersion::BuilderBuildKit,
        },
        // For base images: without a session, BuildKit pulls none.
        session: (builder == Builder::Buildkit)
            .then(|| format!("micado-{:032x}", rand::random::<u128>())),
        ..BuildImageOptions::default()
    }
}

/// An instruction that failed is a failure of the build; anything else is one of the engine.
fn fault(image: &str, error: &Error, step: Option<(String, Vec<String>)>) -> Fault {
    let said = words(error);
    let error = match error {
        Error::DockerStreamError { .. } => {
            let message = micado_api::foreign::excerpt(&said, 1000);
            ErrorBody::new(
                ErrorCode::Unsatisfiable,
                format!("the build of `{image}` failed: {message}"),
            )
        }
        other => {
            let explained = explain(&format!("build `{image}`"), other);
            let code = match explained {
                EngineError::Unavailable(_) => ErrorCode::Unavailable,
                EngineError::Refused(_) | EngineError::NotFound(_) => ErrorCode::Unsatisfiable,
            };
            ErrorBody::new(code, explained.to_string())
        }
    };
    let error = if NO_BASE.iter().any(|part| said.contains(part)) {
        error.hint(NO_BASE_HINT)
    } else {
        error
    };
    Fault { error, step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_that_the_engine_lacks_is_refused() {
        let linux = |api| Found::of("x".to_owned(), api, "linux").builders;
        let both = [Builder::Buildkit, Builder::Classic];
        assert_eq!(
            (linux("1.39"), linux("2.0")),
            (both.to_vec(), both.to_vec())
        );
        assert_eq!(linux("1.38"), [Builder::Classic]);
        assert_eq!(linux("x"), [Builder::Classic]);

        let found = Found::of("20.10.24".to_owned(), "1.41", "windows");
        assert_eq!(found.choose(None), Ok(Builder::Classic));
        assert_eq!(found.choose(Some(Builder::Classic)), Ok(Builder::Classic));
        let refused = found.choose(Some(Builder::Buildkit)).expect_err("none");
        assert_eq!(refused.message, "engine 20.10.24 has no builder `buildkit`");
    }

    #[test]
    fn a_failed_instruction_is_told_from_a_failed_engine() {
        let stream = |error: &str| Error::DockerStreamError {
            error: error.to_owned(),
        };
        let step = Some(("RUN false".to_owned(), vec!["oh".to_owned()]));
        let failed = fault("web", &stream("exit code: 1"), step.clone());
        assert_eq!(failed.error.code, ErrorCode::Unsatisfiable);
        assert_eq!(
            failed.error.message,
            "the build of `web` failed: exit code: 1"
        );
        assert_eq!((&failed.step, failed.error.hint), (&step, None));

        let absent = fault("web", &stream("pull access denied for x"), None);
        assert!(absent.error.hint.is_some_and(|hint| hint.contains("base")));

        let answered = |status_code| Error::DockerResponseServerError {
            status_code,
            message: "unknown instruction".to_owned(),
        };
        let code = |status| fault("web", &answered(status), None).error.code;
        assert_eq!(code(400), ErrorCode::Unsatisfiable);
        assert_eq!(code(500), ErrorCode::Unavailable);
    }
}
