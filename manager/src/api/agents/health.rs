//! Reports of an agent about the health of copies: foreign data, checked before the core has it.

use super::super::ApiState;
use crate::control::Event;
use micado_api::{
    InstanceId,
    agent::HealthReport,
    foreign::excerpt,
    health::{LONGEST_FAILURE, MOST_CHECKS},
};

/// Passes reports to the core: only those about copies that this machine's agent is to check, with
/// short texts.
///
/// # Errors
/// If there are too many.
pub(super) async fn take(
    state: &ApiState,
    instance: &InstanceId,
    mut reports: Vec<HealthReport>,
) -> Result<(), &'static str> {
    if reports.len() > MOST_CHECKS {
        return Err("it reported the health of too many copies");
    }
    let checks = state.handle.facts().read().checks(instance);
    reports.retain(|report| checks.contains_key(&report.service));
    for report in &mut reports {
        let failure = report.failure.take();
        report.failure = failure.map(|failure| excerpt(&failure, LONGEST_FAILURE));
    }
    if !reports.is_empty() {
        tracing::debug!(%instance, "health: {reports:?}");
        let event = Event::Health(instance.clone(), reports);
        state.handle.tell(event).await;
    }
    Ok(())
}
