//! `micado policy`: the scaling policy of a service.

use super::{
    args::{PolicyArgs, PolicyVerb},
    failure::Failure,
    page::Page,
    printer::Printer,
    tables,
};
use micado_api::{Client, ErrorBody, ErrorCode};
use micado_core::scaling::{Metric, Policies, Policy, Target};
use std::path::Path;

pub(super) async fn policy(
    verb: PolicyVerb,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    match verb {
        PolicyVerb::Set(args) => {
            let policies = wanted(&args, client).await?;
            let view = client.set_policy(&args.name, &policies).await?;
            printer.data(&view, || tables::scaling(&view))?;
        }
        PolicyVerb::Check(args) => check(&args, client, printer).await?,
        PolicyVerb::Show { name } => show(&name, client, printer).await?,
        PolicyVerb::Remove { name } => {
            let view = client.remove_policy(&name).await?;
            printer.data(&view, || tables::scaling(&view))?;
        }
    }
    Ok(())
}

async fn check(args: &PolicyArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let policies = wanted(args, client).await?;
    let verdict = client.check_policy(&args.name, &policies).await?;
    printer.data(&verdict, || match &verdict {
        Some(verdict) => Page::default().line(verdict.text.clone()),
        None => Page::default().line("the policy is valid"),
    })?;
    if verdict.is_none() {
        printer.note("there is no load to check it on: only a service with a policy is watched");
    }
    Ok(())
}

/// Prints the policy as a file for `--file`.
async fn show(name: &str, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let policies: Policies = client.policy(name).await?;
    let text = toml::to_string(&policies).map_err(|error| {
        ErrorBody::new(
            ErrorCode::Internal,
            format!("the policy has no TOML form: {error}"),
        )
    })?;
    printer.data(&policies, || {
        let lines = text.lines();
        lines.fold(Page::default(), |page, line| page.line(line))
    })?;
    Ok(())
}

/// The policy of a file, or the present one, or the default; changed by the flags.
async fn wanted(args: &PolicyArgs, client: &Client) -> Result<Policies, Failure> {
    let base = match &args.file {
        Some(file) => Some(read(file)?),
        None => {
            let present = client.scaling(&args.name).await?.policy;
            let present = present.map(serde_json::from_value).transpose();
            present.map_err(|error| {
                ErrorBody::new(
                    ErrorCode::Conflict,
                    format!(
                        "the present policy of `{}` is not one of this micado: {error}",
                        args.name
                    ),
                )
                .hint("give all of it with --file")
            })?
        }
    };
    Ok(changed(base, args))
}

/// Reads a policy file.
pub(super) fn read(file: &Path) -> Result<Policies, ErrorBody> {
    let refuse = |cause: String| {
        ErrorBody::new(
            ErrorCode::BadRequest,
            format!("policy file {}: {cause}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    toml::from_str(&text).map_err(|error| {
        refuse(error.to_string().trim_end().to_owned())
            .hint("`micado policy show NAME` prints such a file")
    })
}

fn changed(base: Option<Policies>, args: &PolicyArgs) -> Policies {
    let named = args.cpu.is_some() || args.memory.is_some();
    let mut policies = base.unwrap_or_else(|| match named {
        true => Policies::default(),
        false => Policies::standard(Policies::default().max),
    });
    policies.min = args.min.unwrap_or(policies.min);
    policies.max = args.max.unwrap_or(policies.max);
    policies.importance = args.importance.map_or(policies.importance, Into::into);
    policies.forecast = args.forecast.map_or(policies.forecast, Into::into);
    policies.look_back = args.look_back.unwrap_or(policies.look_back);
    for (metric, share) in [(Metric::Cpu, args.cpu), (Metric::Memory, args.memory)] {
        let Some(share) = share else { continue };
        let target = policies
            .policies
            .iter_mut()
            .find_map(|policy| match policy {
                Policy::Target(target) if target.metric == metric => Some(target),
                _ => None,
            });
        match target {
            Some(target) => target.target = Some(share.0),
            None => policies.policies.push(Policy::Target(Target {
                metric,
                target: Some(share.0),
                ..Target::default()
            })),
        }
    }
    policies
}
