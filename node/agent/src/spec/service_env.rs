//! What a container's environment says of services, as the kubelet and Docker's links had it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::ObjectRef;
use mizzen_services::ServiceCaches;
use mizzen_services::service::ServiceView;

use crate::error::HookError;

/// How long a container waits for services to be read once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of the pod's namespace, unless it says `enableServiceLinks: false`, and of the API server always.
pub(crate) async fn variables(caches: &ServiceCaches, pod: &Pod) -> Result<Vec<(String, String)>, HookError> {
    let read = tokio::time::timeout(PATIENCE, caches.services.synced()).await;
    read.map_err(|_| HookError::Config("services have not yet been read at least once, cannot construct envs".into()))?;
    let own = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let mut services = if links { caches.services.in_namespace(own) } else { Vec::new() };
    if !services.iter().any(|service| service.key.name == "kubernetes") {
        services.extend(caches.services.get(&ObjectRef::new("default", "kubernetes")));
    }
    Ok(of(&services))
}

fn of(services: &[Arc<ServiceView>]) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for service in services {
        let (Ok(ip), Some(first)) = (service.cluster_ip.parse::<IpAddr>(), service.ports.first()) else { continue };
        let name = upper(&service.key.name);
        let mut set = |rest: String, value: String| variables.push((format!("{name}_{rest}"), value));
        set("SERVICE_HOST".into(), ip.to_string());
        set("SERVICE_PORT".into(), first.port.to_string());
        for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
            set(format!("SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
        }
        for (i, port) in service.ports.iter().enumerate() {
            let shouted = port.protocol.to_string();
            let protocol = shouted.to_ascii_lowercase();
            let url = format!("{protocol}://{}", SocketAddr::new(ip, port.port));
            if i == 0 {
                set("PORT".into(), url.clone());
            }
            let link = format!("PORT_{}_{shouted}", port.port);
            set(link.clone(), url);
            set(format!("{link}_PROTO"), protocol);
            set(format!("{link}_PORT"), port.port.to_string());
            set(format!("{link}_ADDR"), ip.to_string());
        }
    }
    variables
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use mizzen_services::service::ServicePort;

    use super::*;

    #[test]
    fn a_service_is_told_of_in_both_styles() {
        let port = |name: &str, port| ServicePort { name: name.into(), port, ..ServicePort::default() };
        let service = ServiceView {
            key: ObjectRef::new("n", "redis-primary"),
            cluster_ip: "10.0.0.11".into(),
            ports: vec![port("", 6379), port("m-p", 99)],
            ..ServiceView::default()
        };
        let headless = ServiceView { key: ObjectRef::new("n", "headless"), ..ServiceView::default() };
        let told: Vec<_> =
            of(&[Arc::new(service), Arc::new(headless)]).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "REDIS_PRIMARY_SERVICE_HOST=10.0.0.11",
            "REDIS_PRIMARY_SERVICE_PORT=6379",
            "REDIS_PRIMARY_SERVICE_PORT_M_P=99",
            "REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379",
            "REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379",
            "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
            "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
            "REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.0.0.11",
            "REDIS_PRIMARY_PORT_99_TCP=tcp://10.0.0.11:99",
            "REDIS_PRIMARY_PORT_99_TCP_PROTO=tcp",
            "REDIS_PRIMARY_PORT_99_TCP_PORT=99",
            "REDIS_PRIMARY_PORT_99_TCP_ADDR=10.0.0.11",
        ];
        assert_eq!(told, expected);
    }
}
