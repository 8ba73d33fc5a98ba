//! What of the configuration is about names, in the words of the kubelet where it has any.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mizzen_dns::{Settings, resolv_conf};
use serde::Deserialize;

use super::{ConfigError, File, is_dns_name};

/// Kubernetes' usual one.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// `dns`: whom the node asks for what is not the cluster's. Servers are `IP` or `IP:PORT`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fields {
    upstreams: Vec<String>,
    stub_domains: BTreeMap<String, Vec<String>>,
}

/// How names are served, and whom pods ask instead, if somebody.
#[derive(Clone, Debug)]
pub struct Dns {
    pub settings: Settings,
    pub cluster_dns: Vec<IpAddr>,
}

impl Dns {
    /// # Errors
    /// Names the field that is wrong.
    pub(super) fn resolve(file: &File) -> Result<Self, ConfigError> {
        let cluster_domain = file.cluster_domain.as_deref().unwrap_or(CLUSTER_DOMAIN).trim_end_matches('.').to_owned();
        check_domain("clusterDomain", &cluster_domain)?;
        let stub_domains: Result<_, ConfigError> = file
            .dns
            .stub_domains
            .iter()
            .map(|(domain, named)| {
                check_domain("dns.stubDomains", domain)?;
                if *domain == cluster_domain || domain.ends_with(&format!(".{cluster_domain}")) {
                    let why = format!("{domain:?} is of the cluster's own domain, which its nodes answer for");
                    return Err(ConfigError::Invalid { field: "dns.stubDomains", why });
                }
                if named.is_empty() {
                    return Err(ConfigError::Invalid { field: "dns.stubDomains", why: format!("{domain:?} has no server") });
                }
                Ok((domain.clone(), servers("dns.stubDomains", named)?))
            })
            .collect();
        let resolv_conf = file.resolv_conf.clone().unwrap_or_else(resolv_conf::of_machine);
        if !resolv_conf.is_absolute() {
            let why = format!("{} is not an absolute path", resolv_conf.display());
            return Err(ConfigError::Invalid { field: "resolvConf", why });
        }
        let settings = Settings {
            cluster_domain,
            resolv_conf,
            upstreams: servers("dns.upstreams", &file.dns.upstreams)?,
            stub_domains: stub_domains?,
        };
        Ok(Self { settings, cluster_dns: file.cluster_dns.clone() })
    }
}

fn check_domain(field: &'static str, domain: &str) -> Result<(), ConfigError> {
    if is_dns_name(domain) {
        return Ok(());
    }
    Err(ConfigError::Invalid { field, why: format!("{domain:?} is no DNS name in lower case") })
}

fn servers(field: &'static str, named: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    let server = |text: &String| {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, mizzen_dns::PORT)).or_else(|_| text.parse());
        address.map_err(|_| ConfigError::Invalid { field, why: format!("{text:?} is neither IP nor IP:PORT") })
    };
    named.iter().map(server).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn resolve(text: &str) -> Result<Dns, String> {
        Dns::resolve(&serde_yaml_ng::from_str::<File>(text).expect("parses")).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_served_as_the_file_says() {
        let usual = resolve("{}").expect("is valid");
        assert_eq!((usual.settings.cluster_domain.as_str(), usual.settings.upstreams.len()), ("cluster.local", 0));
        let text = "clusterDomain: k8s.example.\nclusterDNS: [10.96.0.10]\nresolvConf: /r\ndns:\n  upstreams: [192.0.2.1, '[fd00::1]:5353']\n  \
            stubDomains: {corp.example: ['192.0.2.9:54']}\n";
        let own = resolve(text).expect("is valid");
        assert_eq!((own.settings.cluster_domain.as_str(), own.settings.resolv_conf), ("k8s.example", PathBuf::from("/r")));
        let upstreams: Vec<_> = own.settings.upstreams.iter().map(ToString::to_string).collect();
        assert_eq!(upstreams, ["192.0.2.1:53", "[fd00::1]:5353"]);
        assert_eq!(own.settings.stub_domains["corp.example"][0].to_string(), "192.0.2.9:54");
        assert_eq!(own.cluster_dns, ["10.96.0.10".parse::<IpAddr>().expect("is an address")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            ("clusterDomain: A_B", "clusterDomain: \"A_B\""),
            ("resolvConf: etc/resolv.conf", "resolvConf: etc"),
            ("dns: {upstreams: [example.com]}", "dns.upstreams: \"example.com\""),
            ("dns: {stubDomains: {a..b: [192.0.2.1]}}", "dns.stubDomains: \"a..b\""),
            ("dns: {stubDomains: {a.b: []}}", "dns.stubDomains: \"a.b\""),
            ("dns: {stubDomains: {a.b: [c]}}", "dns.stubDomains: \"c\""),
            ("dns: {stubDomains: {mesh.cluster.local: [192.0.2.1]}}", "dns.stubDomains: \"mesh.cluster.local\""),
        ] {
            let error = resolve(text).expect_err("is wrong");
            assert!(error.starts_with(field), "{error}");
        }
    }
}
