//! Requests about scaling: a service's policy, and its count as people set it.

use super::{Core, Reply};
use crate::{
    model::ServicePolicy,
    scaling::{CopyCount, MOST_COPIES, Manual, Metric, Policies, Policy, PolicyError, Span},
};
use micado_api::{
    ContainerName, DecisionView, ErrorBody, ErrorCode, Explanation, ManualFloor, ScaleRequest,
    ScalingView, ServiceName, VerdictView,
};
use std::time::Duration;

/// Duration of a person's floor, unless another is given.
const FLOOR: Duration = Duration::from_secs(30 * 60);

impl Core {
    /// Sets the policy of a service. The count, a floor and a pin stay.
    pub(super) fn set_policy(
        &mut self,
        service: &str,
        policies: Policies,
    ) -> Result<Reply, ErrorBody> {
        let name = self.scaled_name(service)?;
        check(&policies)?;
        let present = self.ledger.policies.get(&name);
        if present.is_none_or(|present| present.policies != policies) {
            let before = present.cloned();
            let text = match &before {
                None => "its policy was set",
                Some(_) => "its policy was changed",
            };
            let fresh = ServicePolicy::new(name.clone(), policies, self.now);
            let (manual, is_pinned) =
                before.map_or((None, false), |before| (before.manual, before.is_pinned));
            self.ledger.policies.insert(ServicePolicy {
                manual,
                is_pinned,
                ..fresh
            });
            self.decide_service(&name, text.to_owned());
            self.tallies.changed(&name);
            self.ledger.dirty.scaled.insert(name.clone());
        }
        self.tally_pending();
        self.enforce_floor(&name);
        Ok(self.scaling_reply(&name))
    }

    /// Removes the policy of a service. The count stays.
    pub(super) fn remove_policy(&mut self, service: &str) -> Result<Reply, ErrorBody> {
        let name = self.policied(service)?;
        self.ledger.policies.remove(&name);
        self.scaling.forget(&name);
        self.tallies.changed(&name);
        self.decide_service(&name, "its policy was removed".to_owned());
        let reply = self.scaling_reply(&name);
        if self.ledger.index.of_service(&name).next().is_none() {
            self.ledger.remove_service(&name);
        }
        Ok(reply)
    }

    /// Sets the count of a service for a person. With a policy, the count becomes a floor for a
    /// time.
    pub(super) fn scale(
        &mut self,
        service: &str,
        request: &ScaleRequest,
    ) -> Result<Reply, ErrorBody> {
        let name = self.scaled_name(service)?;
        if request.count.is_none() && request.pin.is_none() {
            return Err(bad(
                "neither a count nor a pin was given".to_owned(),
                "micado scale NAME N, or --pin, or --unpin",
            ));
        }
        if let Some(count) = request.count.filter(|count| *count > MOST_COPIES) {
            return Err(bad(
                format!("{count} copies of `{name}` are more than {MOST_COPIES}"),
                "ask for fewer, or launch a second service",
            ));
        }
        // Refused before anything is noted.
        let gone = match request.count {
            Some(count) => self.surplus(&name, count)?,
            None => Vec::new(),
        };
        match self.ledger.policies.get(&name).cloned() {
            None if request.pin.is_some() || request.for_ms.is_some() => {
                return Err(ErrorBody::new(
                    ErrorCode::Conflict,
                    format!("service `{name}` has no policy: its count changes only by hand"),
                )
                .hint(format!(
                    "leave out --for, --pin and --unpin, or `micado policy set {name}` first"
                )));
            }
            None => {}
            Some(policy) => self.hold(policy, request)?,
        }
        if let Some(count) = request.count {
            self.scale_to(&name, count, &gone);
        }
        Ok(self.scaling_reply(&name))
    }

    /// Notes the floor or the pin of a person.
    fn hold(&mut self, policy: ServicePolicy, request: &ScaleRequest) -> Result<(), ErrorBody> {
        let mut policy = policy;
        if let Some(count) = request.count {
            refuse_outside(&policy, count)?;
            let lasts = request.for_ms.map_or(FLOOR, Duration::from_millis);
            policy.manual = Some(Manual {
                floor: count,
                until: self.now.plus(lasts),
            });
        }
        policy.is_pinned = request.pin.unwrap_or(policy.is_pinned);
        let before = self.ledger.policies.get(&policy.service);
        if before.is_some_and(|before| before.is_pinned != policy.is_pinned) {
            let text = match policy.is_pinned {
                true => "its count was pinned: no policy changes it",
                false => "its count was unpinned",
            };
            self.decide_service(&policy.service, text.to_owned());
        }
        self.ledger.policies.insert(policy);
        Ok(())
    }

    /// Copies above this count that may go.
    fn surplus(&self, name: &ServiceName, count: u32) -> Result<Vec<ContainerName>, ErrorBody> {
        let present = self.count_of(name);
        if count > present && self.ledger.service(name).is_none() {
            return Err(no_service(name.as_str()));
        }
        let surplus = present.saturating_sub(count);
        let gone = self.shrink_by(name, surplus, &[], None);
        if surplus > 0 && gone.is_empty() {
            return Err(ErrorBody::new(
                ErrorCode::Conflict,
                format!("no copy of `{name}` may go: volumes bind them to their machines"),
            )
            .hint(format!(
                "`micado quit -n {name}.N` stops the one that you name"
            )));
        }
        Ok(gone)
    }

    /// Adds copies until the service has this many, or removes these.
    fn scale_to(&mut self, name: &ServiceName, count: u32, gone: &[ContainerName]) {
        let present = self.count_of(name);
        if count > present {
            let made = self.add_containers(name, count - present, None);
            let text = format!("scaled {present} -> {count} by hand");
            self.decide_growth(name, text, made);
        } else if !gone.is_empty() {
            let left = present.saturating_sub(u32::try_from(gone.len()).unwrap_or(u32::MAX));
            let mut text = format!("scaled {present} -> {left} by hand");
            if left > count {
                text += &format!("; {count} were asked for, but the others may not go");
            }
            self.decide_service(name, text);
            self.quit_containers(gone, true);
        }
    }

    /// Refuses a launch that takes a service above the limit of its policy, and makes the new count
    /// a floor otherwise.
    pub(super) fn launch_with_policy(
        &mut self,
        name: &ServiceName,
        copies: u32,
    ) -> Result<(), ErrorBody> {
        let Some(policy) = self.ledger.policies.get(name) else {
            return Ok(());
        };
        let count = self.count_of(name).saturating_add(copies);
        if count > policy.policies.max {
            return Err(outside(policy, count));
        }
        let until = self.now.plus(FLOOR);
        let floor = policy.floor(self.now).map_or(0, |manual| manual.floor);
        if let Some(policy) = self.ledger.policies.edit(name) {
            policy.manual = Some(Manual {
                floor: floor.max(count),
                until,
            });
        }
        Ok(())
    }

    /// Lowers a person's floor after that person stopped copies: the last word counts.
    pub(super) fn lower_floor(&mut self, stopped: &[ContainerName]) {
        let services = stopped
            .iter()
            .filter_map(|name| self.ledger.container(name));
        let mut services: Vec<ServiceName> = services
            .map(|container| container.service.clone())
            .collect();
        services.dedup();
        for name in services {
            let count = self.count_of(&name);
            let has_floor = self.ledger.policies.get(&name).and_then(|it| it.manual);
            if has_floor.is_some_and(|manual| manual.floor > count)
                && let Some(policy) = self.ledger.policies.edit(&name)
                && let Some(manual) = &mut policy.manual
            {
                manual.floor = count;
            }
        }
    }

    /// The policy of a service.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn policy(&self, service: &str) -> Result<Policies, ErrorBody> {
        let name = self.policied(service)?;
        let policy = self.ledger.policies.get(&name);
        policy
            .map(|policy| policy.policies.clone())
            .ok_or_else(|| no_policy(&name))
    }

    /// Checks a policy on the last load of a service; `None` if there is none.
    ///
    /// # Errors
    /// `NotFound`, or the fault of the policy.
    pub fn check_policy(
        &self,
        service: &str,
        policies: &Policies,
    ) -> Result<Option<VerdictView>, ErrorBody> {
        let name = self.scaled_name(service)?;
        check(policies)?;
        self.try_policy(&name, policies)
    }

    /// Scaling of a service at present.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn scaling(&self, service: &str) -> Result<ScalingView, ErrorBody> {
        Ok(self.scaling_view(&self.scaled_name(service)?))
    }

    /// Scaling of a service with a policy (by its name or a container's), with the changes of its
    /// count.
    pub(super) fn explain_scaling(&self, name: &str) -> Option<Explanation> {
        let service = self.service_named(name);
        let policy = self.ledger.policies.get(&service)?;
        let Policies { min, max, .. } = policy.policies;
        let view = self.scaling_view(&service);
        let copies = CopyCount(view.count);
        let mut now = format!(
            "{copies}, {min} to {max} by its policy, {} running",
            view.running
        );
        if let Some(manual) = view.manual {
            let left = Span(manual.until.0.saturating_sub(self.now.0) / 1000 * 1000);
            now += &format!("; at least {} by hand for {left}", manual.floor);
        }
        if view.pinned {
            now += "; pinned";
        }
        if let Some(text) = self.forecast_text(&service) {
            now += &format!("; {text}");
        }
        now += "; ";
        now += &match view.verdict {
            _ if view.count == 0 && min > 0 => {
                "stopped by hand: `micado launch` starts it".to_owned()
            }
            Some(verdict) => verdict.text,
            None => "no check yet since the manager started".to_owned(),
        };
        let decisions = self.ledger.decisions.values();
        let decisions = decisions.filter(|decision| decision.service.as_ref() == Some(&service));
        Some(Explanation {
            views: Vec::new(),
            name: service.to_string(),
            now,
            decisions: decisions
                .map(|decision| DecisionView {
                    at: decision.at,
                    text: decision.text.clone(),
                })
                .collect(),
            verdicts: Vec::new(),
        })
    }

    fn scaling_reply(&self, name: &ServiceName) -> Reply {
        Reply::Scaling(Box::new(self.scaling_view(name)))
    }

    fn scaling_view(&self, name: &ServiceName) -> ScalingView {
        let policy = self.ledger.policies.get(name);
        let counts = self.counts(name);
        let (verdict, last_change) = self.scaling.views(name);
        let manual = policy.and_then(|policy| policy.floor(self.now));
        ScalingView {
            service: name.clone(),
            count: counts.wanted(),
            running: counts.running,
            policy: policy.and_then(|policy| serde_json::to_value(&policy.policies).ok()),
            since: policy.map(|policy| policy.since),
            manual: manual.map(|manual| ManualFloor {
                floor: manual.floor,
                until: manual.until,
            }),
            pinned: policy.is_some_and(|policy| policy.is_pinned),
            verdict,
            last_change,
        }
    }

    /// Name of a service that exists, or has a policy.
    fn scaled_name(&self, service: &str) -> Result<ServiceName, ErrorBody> {
        let name = ServiceName::trusted(service);
        let is_known = self.ledger.index.of_service(&name).any(|container| {
            let container = self.ledger.container(container);
            container.is_some_and(|container| container.removed_at.is_none())
        });
        if is_known || self.ledger.policies.get(&name).is_some() {
            Ok(name)
        } else {
            Err(no_service(service))
        }
    }

    fn policied(&self, service: &str) -> Result<ServiceName, ErrorBody> {
        let name = self.scaled_name(service)?;
        match self.ledger.policies.get(&name) {
            Some(_) => Ok(name),
            None => Err(no_policy(&name)),
        }
    }
}

fn no_service(name: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("no service `{name}`"))
        .hint("`micado info -a` shows all services")
}

fn no_policy(name: &ServiceName) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::NotFound,
        format!("service `{name}` has no policy"),
    )
    .hint(format!("`micado policy set {name}` gives it one"))
}

fn bad(message: String, hint: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, message).hint(hint)
}

fn refuse_outside(policy: &ServicePolicy, count: u32) -> Result<(), ErrorBody> {
    let Policies { min, max, .. } = policy.policies;
    match (min..=max).contains(&count) {
        true => Ok(()),
        false => Err(outside(policy, count)),
    }
}

fn outside(policy: &ServicePolicy, count: u32) -> ErrorBody {
    let (Policies { min, max, .. }, name) = (&policy.policies, &policy.service);
    let flag = if count > *max { "max" } else { "min" };
    let copies = CopyCount(count);
    ErrorBody::new(
        ErrorCode::Conflict,
        format!(
            "{copies} of `{name}` {} outside the {min} to {max} of its policy",
            copies.are()
        ),
    )
    .hint(format!("`micado policy set {name} --{flag} {count}` first"))
}

/// Checks a policy for use on a running cluster.
fn check(policies: &Policies) -> Result<(), ErrorBody> {
    policies.validate().map_err(|error| refused(&error))?;
    for policy in &policies.policies {
        match policy {
            Policy::Queue(_) => return Err(unfed("queue")),
            Policy::Target(target)
                if matches!(target.metric, Metric::Requests | Metric::Concurrency) =>
            {
                return Err(unfed("target of requests"));
            }
            Policy::Query(query) => check_server(query.server.as_deref())?,
            _ => {}
        }
    }
    Ok(())
}

fn unfed(kind: &str) -> ErrorBody {
    bad(
        format!("policy `{kind}`: no source feeds it on a running cluster yet"),
        "use another policy; `micado simulate` takes all",
    )
}

/// Checks the address of a Prometheus.
fn check_server(server: Option<&str>) -> Result<(), ErrorBody> {
    let hint = "set `server` to the address of a Prometheus, such as `http://prometheus:9090`";
    match server {
        None => Err(bad("policy `query` names no server".to_owned(), hint)),
        Some(server) if server.starts_with("http://") || server.starts_with("https://") => Ok(()),
        Some(server) => Err(bad(
            format!("policy `query`: server `{server}` is no http address"),
            hint,
        )),
    }
}

/// A refused policy: thing and cause, and the next step as the hint.
#[must_use]
pub fn refused(error: &PolicyError) -> ErrorBody {
    bad(format!("{}: {}", error.thing, error.cause), &error.next)
}
