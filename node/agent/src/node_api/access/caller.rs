//! Who a connection comes from, by the certificate that it showed.

use rustls_pki_types::CertificateDer;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The common name and the organization of the API server's client certificates. The name alone says nothing: who may approve
/// requests for client certificates can have it signed.
const API_SERVER: (&str, &str) = ("kube-apiserver-kubelet-client", "system:masters");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node_api) enum Caller {
    ApiServer,
    User(User),
    /// Without a certificate; each request says who asks.
    Nobody,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::node_api) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    /// As a TokenReview has it; JSON text.
    pub(super) extra: String,
}

impl User {
    /// `status.user` of a TokenReview.
    pub(super) fn read(user: &Value) -> Self {
        let text = |field: &str| user[field].as_str().unwrap_or_default().to_owned();
        let groups = user["groups"].as_array().into_iter().flatten();
        let extra = user.get("extra").map(Value::to_string).unwrap_or_default();
        Self {
            name: text("username"),
            uid: text("uid"),
            groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
            extra,
        }
    }
}

impl Caller {
    /// TLS has verified the certificate; one that cannot be read is none.
    pub(in crate::node_api) fn of(certificate: Option<&CertificateDer<'_>>) -> Self {
        let read = certificate.and_then(|certificate| X509Certificate::from_der(certificate).ok());
        let Some((_, certificate)) = read else { return Self::Nobody };
        let subject = certificate.subject();
        let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
        let organizations: Vec<&str> = subject.iter_organization().filter_map(|name| name.as_str().ok()).collect();
        if name == API_SERVER.0 && organizations.contains(&API_SERVER.1) {
            return Self::ApiServer;
        }
        let groups = organizations.into_iter().chain(["system:authenticated"]).map(str::to_owned).collect();
        Self::User(User { name: name.to_owned(), groups, ..User::default() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_a_certificate_it_is_nobody() {
        assert_eq!(Caller::of(None), Caller::Nobody);
        assert_eq!(Caller::of(Some(&CertificateDer::from(vec![1, 2, 3]))), Caller::Nobody);
    }

    #[test]
    fn the_api_server_has_its_name_and_its_group() {
        let certificate = |organization: Option<&str>| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, API_SERVER.0);
            if let Some(organization) = organization {
                params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
            }
            params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("signs").der().clone()
        };
        assert_eq!(Caller::of(Some(&certificate(Some(API_SERVER.1)))), Caller::ApiServer);
        let name = API_SERVER.0.to_owned();
        for (organization, groups) in [(None, vec!["system:authenticated"]), (Some("o"), vec!["o", "system:authenticated"])] {
            let groups = groups.into_iter().map(str::to_owned).collect();
            let user = Caller::User(User { name: name.clone(), groups, ..User::default() });
            assert_eq!(Caller::of(Some(&certificate(organization))), user);
        }
    }

    #[test]
    fn a_review_says_who_it_is() {
        let user = User::read(&json!({"username": "u", "uid": "1", "groups": ["a", "b"], "extra": {"k": ["v"]}}));
        let groups = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(user, User { name: "u".to_owned(), uid: "1".to_owned(), groups, extra: r#"{"k":["v"]}"#.to_owned() });
    }
}
