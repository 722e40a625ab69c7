//! `micado policy`: the scaling policy of a service.

use super::{
    args::{LimitFlags, PolicyArgs, PolicyVerb, Share},
    failure::Failure,
    page::Page,
    printer::Printer,
    tables,
};
use micado_api::{Client, ErrorBody, ErrorCode};
use micado_core::{
    control::refused,
    scaling::{Metric, Policies, Policy, Target},
};
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
        None => present(&args.name, client).await?,
    };
    let named = Named {
        cpu: args.cpu,
        memory: args.memory,
        limits: args.limits.clone(),
    };
    Ok(changed(base, &named))
}

/// The present policy of a service.
pub(super) async fn present(name: &str, client: &Client) -> Result<Option<Policies>, Failure> {
    let present = client.scaling(name).await?.policy;
    let present = present.map(serde_json::from_value).transpose();
    Ok(present.map_err(|error| {
        ErrorBody::new(
            ErrorCode::Conflict,
            format!("the present policy of `{name}` is not one of this micado: {error}"),
        )
        .hint("give all of it with --file")
    })?)
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

/// Checks a policy before anything is asked for.
pub(super) fn check_policies(policies: &Policies) -> Result<(), ErrorBody> {
    policies.validate().map_err(|error| refused(&error))
}

/// Targets and limits that flags name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Named {
    pub(super) cpu: Option<Share>,
    pub(super) memory: Option<Share>,
    pub(super) limits: LimitFlags,
}

impl Named {
    pub(super) fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// A policy, or the default, changed by flags.
pub(super) fn changed(base: Option<Policies>, named: &Named) -> Policies {
    let has_target = named.cpu.is_some() || named.memory.is_some();
    let mut policies = base.unwrap_or_else(|| match has_target {
        true => Policies::default(),
        false => Policies::standard(Policies::default().max),
    });
    let limits = &named.limits;
    policies.min = limits.min.unwrap_or(policies.min);
    policies.max = limits.max.unwrap_or(policies.max);
    policies.importance = limits.importance.map_or(policies.importance, Into::into);
    policies.forecast = limits.forecast.map_or(policies.forecast, Into::into);
    policies.look_back = limits.look_back.unwrap_or(policies.look_back);
    for (metric, share) in [(Metric::Cpu, named.cpu), (Metric::Memory, named.memory)] {
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
