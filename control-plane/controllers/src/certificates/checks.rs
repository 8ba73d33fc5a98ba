//! What the signers of Kubernetes sign ("Kubernetes signers" in the certificate documents), and why not.

use mizzen_api::x509::CertificateRequest;

pub(super) const NODES: &str = "system:nodes";
pub(super) const NODE: &str = "system:node:";

/// `kubernetes.io/kube-apiserver-client`: any subject, for clients only.
pub(super) fn client(usages: &[String]) -> Result<(), String> {
    let optional = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !optional.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

/// `kubernetes.io/kube-apiserver-client-kubelet`: a node, and nothing beside it.
pub(super) fn kubelet_client(request: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    is_of_nodes(request)?;
    let unwanted = [
        (!request.dns_names.is_empty(), "DNS subjectAltNames are not allowed"),
        (!request.email_addresses.is_empty(), "email subjectAltNames are not allowed"),
        (!request.ip_addresses.is_empty(), "IP subjectAltNames are not allowed"),
        (!request.uris.is_empty(), "URI subjectAltNames are not allowed"),
    ];
    none_of(&unwanted)?;
    is_named_as_node(request)?;
    are_exactly(usages, "client auth")
}

/// `kubernetes.io/kubelet-serving`: a node under its names and addresses.
pub(super) fn kubelet_serving(request: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    is_of_nodes(request)?;
    let unwanted = [
        (request.dns_names.is_empty() && request.ip_addresses.is_empty(), "DNS or IP subjectAltName is required"),
        (!request.email_addresses.is_empty(), "email subjectAltNames are not allowed"),
        (!request.uris.is_empty(), "URI subjectAltNames are not allowed"),
    ];
    none_of(&unwanted)?;
    is_named_as_node(request)?;
    are_exactly(usages, "server auth")
}

fn none_of(unwanted: &[(bool, &str)]) -> Result<(), String> {
    unwanted.iter().find(|(found, _)| *found).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
}

fn is_of_nodes(request: &CertificateRequest) -> Result<(), String> {
    match request.subject.organizations.as_slice() {
        [only] if only == NODES => Ok(()),
        _ => Err(format!("subject organization is not {NODES}")),
    }
}

fn is_named_as_node(request: &CertificateRequest) -> Result<(), String> {
    let name = request.subject.common_name.strip_prefix(NODE);
    name.map_or_else(|| Err(format!("subject common name does not begin with {NODE}")), |_| Ok(()))
}

/// The purpose and a signature; `key encipherment` (for RSA) may be among them.
fn are_exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let wanted = ["digital signature", purpose];
    let mut given: Vec<&str> = usages.iter().map(String::as_str).filter(|usage| *usage != "key encipherment").collect();
    given.sort_unstable();
    given.dedup();
    let mut all = wanted.to_vec();
    all.sort_unstable();
    match given == all {
        true => Ok(()),
        false => Err(format!("usages did not match {wanted:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(organizations: &[&str], name: &str, dns: &[&str]) -> CertificateRequest {
        let pem = include_bytes!("../../../api/testdata/request.pem");
        let mut request = CertificateRequest::from_pem(pem).expect("is a request");
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        request.subject.organizations = owned(organizations);
        name.clone_into(&mut request.subject.common_name);
        request.dns_names = owned(dns);
        (request.ip_addresses, request.email_addresses, request.uris) = Default::default();
        request
    }

    fn usages(list: &str) -> Vec<String> {
        list.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn a_clients_certificate_is_for_clients_only() {
        assert_eq!(client(&usages("client auth")), Ok(()));
        assert_eq!(client(&usages("client auth, digital signature, key encipherment")), Ok(()));
        assert!(client(&usages("client auth, server auth")).is_err_and(|why| why.ends_with("certificate: server auth")));
        assert!(client(&usages("digital signature")).is_err_and(|why| why.starts_with("missing required usage")));
    }

    #[test]
    fn a_nodes_certificate_names_the_node_and_is_for_one_purpose() {
        let own = usages("digital signature, key encipherment, client auth");
        let node = |organizations: &[&str], name: &str, dns: &[&str]| kubelet_client(&request(organizations, name, dns), &own);
        assert_eq!(node(&["system:nodes"], "system:node:a", &[]), Ok(()));
        assert!(kubelet_client(&request(&["system:nodes"], "system:node:a", &[]), &own[..1]).is_err());
        for (refused, why) in [
            (node(&["system:nodes", "system:masters"], "system:node:a", &[]), "subject organization is not system:nodes"),
            (node(&["system:nodes"], "a", &[]), "subject common name does not begin with system:node:"),
            (node(&["system:nodes"], "system:node:a", &["a"]), "DNS subjectAltNames are not allowed"),
        ] {
            assert_eq!(refused, Err(why.to_owned()));
        }
        let serving = usages("digital signature, server auth");
        assert_eq!(kubelet_serving(&request(&["system:nodes"], "system:node:a", &["a"]), &serving), Ok(()));
        assert!(kubelet_serving(&request(&["system:nodes"], "system:node:a", &[]), &serving).is_err());
        assert!(kubelet_serving(&request(&["system:nodes"], "system:node:a", &["a"]), &own).is_err());
    }
}
