//! Maps method and path of a request to a call.

use crate::{CallKind, catalogue::Kind};

/// A call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    CreateJob,
    ListJobs,
    ShowJob(String),
    UpdateJob(String),
    DeleteJob(String),
    SubmitJob(String),
    StopJob(String),
    RestartJob(String),
    InstancesOfJob(String),
    FilesOfJob(String),
    Timeline(String),
    ActivityLogs(String),
    CreateInstance,
    ListInstances,
    ShowInstance(String),
    StopInstance(String),
    Costs(String),
    Upload,
    DirectUpload,
    ShowFile(String),
    DeleteFile(String),
    ListEntries(Kind),
    ShowEntry(Kind, String),
    ServerVersion,
}

impl Call {
    /// The call at this path, if there is one. Doubled slashes count as one; only actions may omit
    /// `.xml`.
    pub(crate) fn at(method: &str, path: &str) -> Option<Self> {
        let plain = path.strip_suffix(".xml");
        let has_suffix = plain.is_some();
        let parts: Vec<_> = plain
            .unwrap_or(path)
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        match (method, parts.as_slice()) {
            ("PUT", ["jobs", id, "submit"]) => Some(Self::SubmitJob((*id).to_owned())),
            ("PUT", ["jobs", id, "stop"]) => Some(Self::StopJob((*id).to_owned())),
            ("PUT", ["jobs", id, "restart"]) => Some(Self::RestartJob((*id).to_owned())),
            ("PUT", ["instances", id, "stop"]) => Some(Self::StopInstance((*id).to_owned())),
            (method, parts) if has_suffix => Self::with_suffix(method, parts),
            _ => None,
        }
    }

    fn with_suffix(method: &str, parts: &[&str]) -> Option<Self> {
        let call = match (method, parts) {
            ("POST", ["jobs"]) => Self::CreateJob,
            ("GET", ["jobs"]) => Self::ListJobs,
            ("GET", ["jobs", id]) => Self::ShowJob((*id).to_owned()),
            ("PUT", ["jobs", id]) => Self::UpdateJob((*id).to_owned()),
            ("DELETE", ["jobs", id]) => Self::DeleteJob((*id).to_owned()),
            ("GET", ["jobs", id, "instances"]) => Self::InstancesOfJob((*id).to_owned()),
            ("GET", ["jobs", id, "data_files"]) => Self::FilesOfJob((*id).to_owned()),
            ("GET", ["jobs", id, "timeline"]) => Self::Timeline((*id).to_owned()),
            ("GET", ["jobs", id, "activity_logs"]) => Self::ActivityLogs((*id).to_owned()),
            ("POST", ["instances"]) => Self::CreateInstance,
            ("GET", ["instances"]) => Self::ListInstances,
            ("GET", ["instances", id]) => Self::ShowInstance((*id).to_owned()),
            ("GET", ["instances", id, "costs"]) => Self::Costs((*id).to_owned()),
            ("POST", ["data_files"]) => Self::Upload,
            ("GET", ["data_files", "new", "direct_file_upload"]) => Self::DirectUpload,
            ("GET", ["data_files", id]) => Self::ShowFile((*id).to_owned()),
            ("DELETE", ["data_files", id]) => Self::DeleteFile((*id).to_owned()),
            ("GET", [collection]) => Self::ListEntries(kind(collection)?),
            ("GET", [collection, id]) => Self::ShowEntry(kind(collection)?, (*id).to_owned()),
            ("POST", ["server_version"]) => Self::ServerVersion,
            _ => return None,
        };
        Some(call)
    }

    pub(crate) fn kind(&self) -> CallKind {
        match self {
            Self::CreateJob => CallKind::CreateJob,
            Self::ListJobs => CallKind::ListJobs,
            Self::ShowJob(_) => CallKind::ShowJob,
            Self::DeleteJob(_) => CallKind::DeleteJob,
            Self::SubmitJob(_) => CallKind::SubmitJob,
            Self::StopJob(_) => CallKind::StopJob,
            Self::CreateInstance => CallKind::CreateInstance,
            Self::ListInstances | Self::InstancesOfJob(_) => CallKind::ListInstances,
            Self::ShowInstance(_) => CallKind::ShowInstance,
            Self::StopInstance(_) => CallKind::StopInstance,
            Self::Upload => CallKind::Upload,
            Self::ListEntries(_) | Self::ShowEntry(..) => CallKind::Catalogue,
            _ => CallKind::Other,
        }
    }
}

fn kind(collection: &str) -> Option<Kind> {
    Some(match collection {
        "data_types" => Kind::DataTypes,
        "softwares" => Kind::Softwares,
        "executables" => Kind::Executables,
        "deployments" => Kind::Deployments,
        "resources" => Kind::Resources,
        "regions" => Kind::Regions,
        "instance_types" => Kind::InstanceTypes,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_may_be_doubled_and_actions_do_without_a_suffix() {
        assert_eq!(Call::at("GET", "//jobs.xml"), Some(Call::ListJobs));
        assert_eq!(
            Call::at("PUT", "/jobs/7/stop"),
            Some(Call::StopJob("7".to_owned()))
        );
        assert_eq!(
            Call::at("PUT", "//instances//7/stop.xml"),
            Some(Call::StopInstance("7".to_owned()))
        );
    }

    #[test]
    fn all_else_is_nowhere() {
        for (method, path) in [
            ("GET", "/jobs"),
            ("POST", "/jobs/7/stop.xml"),
            ("DELETE", "/instances/7.xml"),
            ("GET", "/key_pairs.xml"),
            ("GET", "/"),
        ] {
            assert_eq!(Call::at(method, path), None, "{method} {path}");
        }
    }
}
