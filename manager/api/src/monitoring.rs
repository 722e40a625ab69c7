//! Monitoring by Prometheus: query parameters of a scrape, and the targets of service discovery.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Selection of metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MetricsQuery {
    /// Include a series for each container, which is the largest part. Default: true.
    pub containers: Option<bool>,
}

/// Selection of targets: those that match all parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiscoveryQuery {
    /// Only containers of this service.
    pub service: Option<String>,
    /// Only containers of this client.
    pub client: Option<String>,
    /// Only containers at this location.
    pub location: Option<String>,
    /// Only this port of the containers (their own, not the machine's).
    pub port: Option<u16>,
}

/// A target, as Prometheus' HTTP service discovery reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PrometheusTarget {
    /// One address: `HOST:PORT` of the machine.
    pub targets: Vec<String>,
    /// Labels for relabelling, all of which begin with `__meta_micado_`.
    pub labels: BTreeMap<String, String>,
}
