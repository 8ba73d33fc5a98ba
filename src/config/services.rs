//! Which addresses and ports services have.

use mizzen_api::{ServiceAddresses, ServiceRange};
use mizzen_controllers::{AddressPool, PoolError};

use super::{ConfigError, File};

/// # Errors
/// Names the field that is wrong.
pub(super) fn resolve(file: &File) -> Result<ServiceAddresses, ConfigError> {
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display> + Default>(
        field: &'static str,
        text: Option<&str>,
    ) -> Result<T, ConfigError> {
        let invalid = |error: T::Err| ConfigError::Invalid { field, why: error.to_string() };
        text.map_or_else(|| Ok(T::default()), |text| text.parse().map_err(invalid))
    }
    let (first, second) = match file.service_cidr.as_deref() {
        None => (None, None),
        Some(text) => {
            text.split_once(',').map_or((Some(text), None), |(first, second)| (Some(first.trim()), Some(second.trim())))
        }
    };
    let range: ServiceRange = parsed("serviceCIDR", first)?;
    let second = second.map(|text| parsed("serviceCIDR", Some(text))).transpose()?;
    if range.is_ipv6() || second.is_some_and(|second: ServiceRange| !second.is_ipv6()) {
        let why = "one network of IPv4, or one of IPv4 and one of IPv6 with a comma between".to_owned();
        return Err(ConfigError::Invalid { field: "serviceCIDR", why });
    }
    Ok(ServiceAddresses { range, second, node_ports: parsed("serviceNodePortRange", file.service_node_port_range.as_deref())? })
}

/// # Errors
/// Which range cannot be one.
pub(super) fn balancer_addresses(ranges: &[String]) -> Result<AddressPool, ConfigError> {
    let invalid = |error: PoolError| ConfigError::Invalid { field: "loadBalancerAddresses", why: error.to_string() };
    AddressPool::parse(ranges).map_err(invalid)
}
