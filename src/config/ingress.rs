//! What of the configuration is about ingresses.

use std::net::IpAddr;

use mizzen_api::ObjectRef;
use mizzen_ingress::Settings;
use mizzen_network::Subnet;
use serde::Deserialize;

use super::{ConfigError, File, is_dns_name};

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// `ingress`: where the node serves ingresses, if it does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fields {
    enabled: Option<bool>,
    addresses: Vec<IpAddr>,
    http_port: Option<u16>,
    https_port: Option<u16>,
    published_addresses: Vec<String>,
    #[serde(rename = "trustedProxyCIDRs")]
    trusted_proxies: Vec<String>,
    default_certificate: Option<String>,
}

/// How a node serves ingresses; where, unless it is said, at the node's own address.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// `None` for a node that does not.
    settings: Option<Settings>,
}

impl Ingress {
    /// `usually` is whether a node serves them that is not told.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub(super) fn resolve(file: &File, usually: bool) -> Result<Self, ConfigError> {
        let Fields { enabled, addresses, published_addresses, .. } = &file.ingress;
        let invalid = |field, why| Err(ConfigError::Invalid { field, why });
        let (http_port, https_port) =
            (file.ingress.http_port.unwrap_or(HTTP_PORT), file.ingress.https_port.unwrap_or(HTTPS_PORT));
        if http_port == 0 || https_port == 0 || http_port == https_port {
            return invalid("ingress", format!("httpPort ({http_port}) and httpsPort ({https_port}) are two ports above 0"));
        }
        if let Some(name) = published_addresses.iter().find(|name| !is_dns_name(name) && name.parse::<IpAddr>().is_err()) {
            let why = format!("{name:?} is neither a DNS name in lower case nor an IP address");
            return invalid("ingress.publishedAddresses", why);
        }
        let range = |text: &String| {
            let why = |error| ConfigError::Invalid { field: "ingress.trustedProxyCIDRs", why: format!("{text:?}: {error}") };
            text.parse::<Subnet>().map_err(why)
        };
        let trusted_proxies = file.ingress.trusted_proxies.iter().map(range).collect::<Result<_, _>>()?;
        let default_certificate = match file.ingress.default_certificate.as_deref().map(|text| (text, text.split_once('/'))) {
            None => None,
            Some((_, Some((namespace, name)))) if is_dns_name(namespace) && is_dns_name(name) => {
                Some(ObjectRef::new(namespace, name))
            }
            Some((text, _)) => {
                return invalid("ingress.defaultCertificate", format!("{text:?} is no secret, NAMESPACE/NAME"));
            }
        };
        let settings = Settings {
            addresses: addresses.clone(),
            http_port,
            https_port,
            published: published_addresses.clone(),
            trusted_proxies,
            default_certificate,
        };
        Ok(Self { settings: enabled.unwrap_or(usually).then_some(settings) })
    }

    /// The settings for a node of these addresses.
    pub fn at(self, node: &[IpAddr]) -> Option<Settings> {
        let mut settings = self.settings?;
        if settings.addresses.is_empty() {
            settings.addresses.extend(node);
        }
        // Clients cannot go everywhere.
        if settings.published.is_empty() && settings.addresses.iter().any(IpAddr::is_unspecified) {
            settings.published.extend(node.iter().map(ToString::to_string));
        }
        Some(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Option<Settings>, String> {
        let file = serde_yaml_ng::from_str::<File>(text).expect("parses");
        let resolved = Ingress::resolve(&file, true).map_err(|error| error.to_string())?;
        Ok(resolved.at(&[[192, 0, 2, 1].into()]))
    }

    #[test]
    fn ingresses_are_served_at_the_nodes_address_or_where_the_file_says() {
        let usual = resolve("{}").expect("is valid").expect("serves");
        assert_eq!((usual.addresses, usual.http_port, usual.https_port), (vec![[192, 0, 2, 1].into()], 80, 443));
        assert_eq!(resolve("ingress: {enabled: false}"), Ok(None));
        let own = "ingress: {addresses: [0.0.0.0], httpPort: 8080, httpsPort: 8443, trustedProxyCIDRs: [10.0.0.0/8], \
            defaultCertificate: web/tls}";
        let own = resolve(own).expect("is valid").expect("serves");
        assert_eq!((own.published, own.http_port, own.trusted_proxies.len()), (vec!["192.0.2.1".to_owned()], 8080, 1));
        assert_eq!(own.default_certificate, Some(ObjectRef::new("web", "tls")));
    }

    #[test]
    fn an_agent_serves_none_unless_it_is_told() {
        let off = serde_yaml_ng::from_str::<File>("{}").expect("parses");
        let on = serde_yaml_ng::from_str::<File>("ingress: {enabled: true}").expect("parses");
        let served = |file| Ingress::resolve(file, false).expect("is valid").at(&[[192, 0, 2, 1].into()]).is_some();
        assert_eq!((served(&off), served(&on)), (false, true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            ("ingress: {httpPort: 443}", "ingress: httpPort"),
            ("ingress: {httpPort: 0}", "ingress: httpPort"),
            ("ingress: {publishedAddresses: [A_B]}", "ingress.publishedAddresses: \"A_B\""),
            ("ingress: {trustedProxyCIDRs: [x]}", "ingress.trustedProxyCIDRs: \"x\""),
            ("ingress: {defaultCertificate: tls}", "ingress.defaultCertificate: \"tls\""),
        ] {
            let error = resolve(text).expect_err("is wrong");
            assert!(error.starts_with(field), "{error}");
        }
    }
}
