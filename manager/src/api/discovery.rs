//! Service discovery for Prometheus: the published ports of running containers.

use super::{ApiState, Routes, extract::Query, refusal::Answer};
use crate::control::MonitoredContainer;
use axum::{Json, extract::State};
use micado_api::{
    ContainerState, DiscoveryQuery, ErrorBody, PortMapping, PrometheusTarget, Protocol,
};
use std::{collections::BTreeMap, net::Ipv6Addr};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(prometheus))
}

/// Targets for Prometheus' HTTP service discovery: one for each published TCP port of a running
/// container.
#[utoipa::path(get, path = "/v1/discovery/prometheus", operation_id = "discover_targets", tag = "monitoring", params(DiscoveryQuery), responses(
    (status = 200, description = "The targets, by container.", body = Vec<PrometheusTarget>),
    (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn prometheus(
    State(state): State<ApiState>,
    Query(query): Query<DiscoveryQuery>,
) -> Answer<Json<Vec<PrometheusTarget>>> {
    let containers = state.handle.monitored().await?;
    Ok(Json(targets(&containers, &query)))
}

/// Targets of the containers that run, healthy or not, have an address and match.
fn targets(containers: &[MonitoredContainer], query: &DiscoveryQuery) -> Vec<PrometheusTarget> {
    let is =
        |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
    let matching = containers.iter().filter(|container| {
        let view = &container.view;
        matches!(
            view.state,
            ContainerState::Running | ContainerState::Unhealthy
        ) && is(&query.service, view.service.as_str())
            && is(&query.client, &container.client)
            && is(&query.location, view.location.as_str())
    });
    matching
        .flat_map(|container| {
            let ports = container.view.ports.iter();
            let ports =
                ports.filter(|port| query.port.is_none_or(|wanted| wanted == port.container));
            ports.filter_map(|port| target(container, *port))
        })
        .collect()
}

/// The target of one port; `None` without an address, or if the port is not of TCP.
fn target(container: &MonitoredContainer, port: PortMapping) -> Option<PrometheusTarget> {
    let view = &container.view;
    let (address, host) = (view.address.as_deref()?, port.host?);
    if port.protocol != Protocol::Tcp {
        return None;
    }
    let address = match address.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{host}"),
        Err(_) => format!("{address}:{host}"),
    };
    let tag = view.instance.as_ref().map(ToString::to_string);
    let labels = [
        ("service", view.service.to_string()),
        ("container", view.name.to_string()),
        ("client", container.client.clone()),
        ("domain", container.domain.clone().unwrap_or_default()),
        ("location", view.location.to_string()),
        ("instance", tag.unwrap_or_default()),
        ("image", view.image.clone()),
        ("container_port", port.container.to_string()),
    ];
    let labels = labels.map(|(name, value)| (format!("__meta_micado_{name}"), value));
    Some(PrometheusTarget {
        targets: vec![address],
        labels: BTreeMap::from(labels),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::tests::container;
    use micado_api::Location;

    fn port(container: u16, host: Option<u16>, protocol: Protocol) -> PortMapping {
        PortMapping {
            host,
            container,
            protocol,
        }
    }

    fn addresses(containers: &[MonitoredContainer], query: &DiscoveryQuery) -> Vec<String> {
        let targets = targets(containers, query).into_iter();
        targets.flat_map(|target| target.targets).collect()
    }

    #[test]
    fn each_published_port_of_a_running_container_is_a_target() {
        let mut web = container("acme_web.1", ContainerState::Running);
        web.view.address = Some("10.0.0.2".to_owned());
        web.view.ports = vec![
            port(80, Some(32_768), Protocol::Tcp),
            port(9090, Some(32_769), Protocol::Tcp),
            port(53, Some(32_770), Protocol::Udp),
            port(81, None, Protocol::Tcp),
        ];
        let mut six = web.clone();
        six.view.address = Some("fd00::2".to_owned());
        six.view.ports.truncate(1);
        let starting = MonitoredContainer {
            view: micado_api::ContainerView {
                state: ContainerState::Starting,
                ..web.view.clone()
            },
            ..web.clone()
        };
        let all = [web, six, starting];
        assert_eq!(
            addresses(&all, &DiscoveryQuery::default()),
            ["10.0.0.2:32768", "10.0.0.2:32769", "[fd00::2]:32768"]
        );
        let only = DiscoveryQuery {
            port: Some(9090),
            ..DiscoveryQuery::default()
        };
        assert_eq!(addresses(&all, &only), ["10.0.0.2:32769"]);
    }

    #[test]
    fn targets_are_chosen_by_all_parameters_together() {
        let containers = ["acme_web.1", "acme_db.1", "other_web.1"].map(|name| {
            let mut container = container(name, ContainerState::Running);
            container.view.address = Some(name.to_owned());
            container.view.ports = vec![port(80, Some(80), Protocol::Tcp)];
            container
        });
        let query = |service: Option<&str>, client: Option<&str>, location: Option<&str>| {
            let query = DiscoveryQuery {
                service: service.map(str::to_owned),
                client: client.map(str::to_owned),
                location: location.map(str::to_owned),
                port: None,
            };
            addresses(&containers, &query)
        };
        let here = Location::default();
        let here = Some(here.as_str());
        assert_eq!(query(Some("acme_web"), None, None), ["acme_web.1:80"]);
        assert_eq!(
            query(None, Some("acme"), here),
            ["acme_web.1:80", "acme_db.1:80"]
        );
        assert!(query(Some("acme_web"), Some("other"), None).is_empty());
        assert!(query(None, None, Some("elsewhere")).is_empty());
    }

    #[test]
    fn a_target_carries_the_labels_of_its_container() {
        let mut web = container("acme_web.1", ContainerState::Running);
        web.domain = Some("www.example.org".to_owned());
        web.view.address = Some("10.0.0.2".to_owned());
        web.view.ports = vec![port(80, Some(8080), Protocol::Tcp)];
        let found = targets(&[web], &DiscoveryQuery::default());
        insta::assert_snapshot!(serde_json::to_string_pretty(&found).expect("JSON"));
    }
}
