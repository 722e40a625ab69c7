//! `micado build`: an image from a Dockerfile and its files, built on the manager's engine.

mod context;
mod dockerfile;
mod ignore;
mod report;

use super::{args::BuildArgs, failure::Failure, page::Page, printer::Printer};
use crate::api::validate;
use context::{Context, ContextError};
use futures_util::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use micado_api::{
    BuildEvent, BuildRequest, Builder, BuiltView, Client, ClientError, ErrorBody, ErrorCode,
};
use report::Report;
use std::{future::ready, io, path::PathBuf, time::Duration};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Upper bound for the end of the thread that reads the context, once nobody takes it.
const SENDING: Duration = Duration::from_secs(2);

pub(super) async fn build(
    args: BuildArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let quiet = args.quiet;
    let (path, request) = request(args)?;
    validate::build(&request)?;
    let context = open(path, &request).await?;
    check_builder(&request, &context.text, client).await?;
    let built = run(&request, context, client, printer, quiet).await?;
    if !quiet {
        printer.note(&format!(
            "built `{}`; `micado launch -i {} -n CLIENT` runs it",
            built.tag, built.image
        ));
    }
    Ok(printer.data(&built, || Page::default().line(&built.tag))?)
}

/// The context, and the request.
fn request(args: BuildArgs) -> Result<(PathBuf, BuildRequest), Failure> {
    let path = args.file.or(args.context).unwrap_or_default();
    let arguments = args.arguments.into_iter().map(valued);
    let request = BuildRequest {
        name: args.name,
        any_name: args.any_name,
        dockerfile: args.dockerfile,
        arguments: arguments.collect::<Result<_, _>>()?,
        target: args.target,
        no_cache: args.no_cache,
        platform: args.platform,
        cache_from: args.cache_from,
        builder: args.builder,
    };
    Ok((path, request))
}

/// A build argument with its value, which may be that of the environment.
fn valued(argument: String) -> Result<String, ErrorBody> {
    if argument.contains('=') {
        return Ok(argument);
    }
    std::env::var(&argument)
        .map(|value| format!("{argument}={value}"))
        .map_err(|_| {
            let message = format!("build argument `{argument}` has no value, nor has the variable");
            ErrorBody::new(ErrorCode::BadRequest, message).hint("name it as `KEY=VALUE`")
        })
}

async fn open(path: PathBuf, request: &BuildRequest) -> Result<Context, Failure> {
    let (dockerfile, name) = (request.dockerfile().to_owned(), request.name.clone());
    let opened =
        tokio::task::spawn_blocking(move || Context::open(&path, &dockerfile, &name)).await;
    match opened {
        Ok(opened) => Ok(opened.map_err(refused)?),
        Err(panic) => Err(io::Error::other(panic).into()),
    }
}

fn refused(error: ContextError) -> ErrorBody {
    let body = ErrorBody::new(ErrorCode::Unsatisfiable, error.to_string());
    match error.hint() {
        Some(hint) => body.hint(hint),
        None => body,
    }
}

/// Refuses a Dockerfile that the builder cannot build, before anything is sent.
async fn check_builder(
    request: &BuildRequest,
    dockerfile: &str,
    client: &Client,
) -> Result<(), Failure> {
    let needs = dockerfile::needs_buildkit(dockerfile);
    let Some(needs) = needs.filter(|_| request.builder != Some(Builder::Buildkit)) else {
        return Ok(());
    };
    let found = client.builders().await?;
    if request.builder.unwrap_or(found.default) == Builder::Buildkit {
        return Ok(());
    }
    let refusal = ErrorBody::new(
        ErrorCode::Unsatisfiable,
        format!(
            "{} line {}: `{}` needs BuildKit, and engine {} builds with `classic`",
            request.dockerfile(),
            needs.line,
            needs.part,
            found.engine
        ),
    );
    let hint = if found.builders.contains(&Builder::Buildkit) {
        "leave `--builder` out"
    } else {
        "write the instruction without it, or build the image elsewhere and push it to a registry"
    };
    Err(refusal.hint(hint).into())
}

/// Sends the context, and prints the events that come meanwhile.
async fn run(
    request: &BuildRequest,
    context: Context,
    client: &Client,
    printer: &Printer,
    quiet: bool,
) -> Result<BuiltView, Failure> {
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        printer.bytes(Some(context.size))
    };
    let sent = bar.clone();
    let (pieces, sending) = context.send();
    let pieces = ReceiverStream::new(pieces).inspect_ok(move |piece| {
        sent.inc(piece.len().try_into().unwrap_or_default());
    });
    // The end of the context: the bar makes room for the steps.
    let done = bar.clone();
    let end = futures_util::stream::poll_fn(move |_| {
        done.finish_and_clear();
        std::task::Poll::Ready(None)
    });
    let answered = async {
        let events = client.build(request, pieces.chain(end)).await?;
        last(events, printer, &bar, quiet).await
    }
    .await;
    bar.finish_and_clear();
    match answered {
        Ok(built) => Ok(built),
        // The cause may be here: a file that cannot be read.
        Err(failure) => match timeout(SENDING, sending).await {
            Ok(Ok(Err(error))) if !matches!(error, ContextError::Closed) => {
                Err(refused(error).into())
            }
            _ => Err(failure),
        },
    }
}

/// Prints the events, and returns the result.
async fn last(
    events: impl futures_util::Stream<Item = Result<BuildEvent, ClientError>>,
    printer: &Printer,
    bar: &ProgressBar,
    quiet: bool,
) -> Result<BuiltView, Failure> {
    let mut report = Report::default();
    let mut ended = std::pin::pin!(events.try_filter_map(|event| {
        let text = report.text(&event);
        if !quiet {
            bar.suspend(|| printer.line(&event, text.as_deref()));
        }
        ready(Ok(match event {
            BuildEvent::Built(built) => Some(Ok(built)),
            BuildEvent::Failed {
                error,
                step,
                output,
            } => Some(Err((error, report::failure(step.as_deref(), &output)))),
            _ => None,
        }))
    }));
    match ended.try_next().await? {
        Some(Ok(built)) => Ok(built),
        Some(Err((error, lines))) => {
            lines.iter().for_each(|line| printer.note(line));
            Err(error.into())
        }
        None => Err(ErrorBody::new(
            ErrorCode::Unavailable,
            "the manager ended before the build did",
        )
        .hint("repeat the build; its steps are cached")
        .into()),
    }
}
