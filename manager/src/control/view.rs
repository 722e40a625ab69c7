//! What people are shown, read off the core.

use super::Core;
use micado_api::{ContainerName, ContainerView, ErrorBody, Explanation, InstanceView, Progress, ServiceView, StatusView};

/// Where a container's log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Whose log.
    pub container: ContainerName,
    /// The Swarm service to read it from, while there is one.
    pub swarm_name: Option<String>,
    /// The end of the log that was kept when the containers went.
    pub stored: Option<String>,
}

/// A placeholder until the core is written.
fn later() -> ErrorBody {
    ErrorBody::new(micado_api::ErrorCode::Internal, "not there yet")
}

impl Core {
    /// The cluster on one screen.
    ///
    /// # Errors
    /// None yet.
    pub fn status(&self) -> Result<StatusView, ErrorBody> {
        Err(later())
    }
    /// Live instances, oldest first; with `all`, those that are gone or failed too.
    #[must_use]
    pub fn instances(&self, _all: bool) -> Vec<InstanceView> {
        Vec::new()
    }
    /// Containers that run or should run, by name; with `all`, the stopped and completed ones too.
    #[must_use]
    pub fn containers(&self, _all: bool) -> Vec<ContainerView> {
        Vec::new()
    }
    /// All services, or the one of this name (a container's name gives its service).
    ///
    /// # Errors
    /// `NotFound` when there is no service or container of this name.
    pub fn services(&self, _name: Option<&str>) -> Result<Vec<ServiceView>, ErrorBody> {
        Err(later())
    }
    /// Why a container (by its or its service's name) or an instance (by tag) is where and how it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn explain(&self, _name: &str) -> Result<Vec<Explanation>, ErrorBody> {
        Err(later())
    }
    /// What has happened to this subject (a container's name or an instance's tag) in its present operation, oldest first.
    #[must_use]
    pub fn progress(&self, _subject: &str) -> Vec<Progress> {
        Vec::new()
    }
    /// Where the logs of a container, or of all containers of a service, are.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn log_sources(&self, _name: &str) -> Result<Vec<LogSource>, ErrorBody> {
        Err(later())
    }
}
