//! The resolv.conf(5) of a pod, by its `dnsPolicy` and `dnsConfig`, within the limits of the kubelet. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use mizzen_dns::resolv_conf::ResolvConf;

/// What the C library takes, and Kubernetes allows.
const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const LONGEST_SEARCH: usize = 253;
const LONGEST_SEARCH_LINE: usize = 2048;

/// The file's text, and what had to be left out of it, in words for an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Composed {
    pub(crate) text: String,
    pub(crate) omitted: Vec<String>,
}

/// Who answers for the cluster, and how it is called.
pub(crate) struct Cluster<'a> {
    pub(crate) servers: &'a [IpAddr],
    pub(crate) domain: &'a str,
}

pub(crate) fn compose(pod: &Pod, cluster: &Cluster<'_>, of_host: &str) -> Composed {
    let spec = pod.spec.as_ref();
    let on_host = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let host = || ResolvConf::parse(of_host);
    let mut conf = match spec.and_then(|spec| spec.dns_policy.as_deref()) {
        Some("None") => ResolvConf::default(),
        Some("ClusterFirstWithHostNet") => of_cluster(pod, cluster, host()),
        Some("Default") => host(),
        // The default policy; a pod in the host's network has to ask for the cluster's names by their own.
        _ if on_host => host(),
        _ => of_cluster(pod, cluster, host()),
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        conf.servers.extend(own.nameservers.iter().flatten().cloned());
        conf.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else { continue };
            conf.options.retain(|known| known.split(':').next() != Some(name));
            conf.options.push(
                option
                    .value
                    .as_ref()
                    .filter(|value| !value.is_empty())
                    .map_or_else(|| name.to_owned(), |value| format!("{name}:{value}")),
            );
        }
    }
    write(conf)
}

/// The cluster's server is the only one: it asks those of the host for what it does not know.
fn of_cluster(pod: &Pod, cluster: &Cluster<'_>, host: ResolvConf) -> ResolvConf {
    let (namespace, domain) = (pod.metadata.namespace.as_deref().unwrap_or_default(), cluster.domain);
    let searches = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    ResolvConf {
        servers: cluster.servers.iter().map(ToString::to_string).collect(),
        searches: searches.into_iter().chain(host.searches).collect(),
        options: vec!["ndots:5".to_owned()],
    }
}

fn write(conf: ResolvConf) -> Composed {
    let mut omitted = Vec::new();
    let mut servers = distinct(conf.servers);
    if servers.len() > MOST_SERVERS {
        servers.truncate(MOST_SERVERS);
        let applied = servers.join(" ");
        omitted.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {applied}"
        ));
    }
    let mut searches = distinct(conf.searches);
    let wanted = searches.len();
    searches.truncate(MOST_SEARCHES);
    // Old C libraries end the program over a longer one.
    searches.retain(|search| search.len() <= LONGEST_SEARCH);
    while searches.join(" ").len() > LONGEST_SEARCH_LINE {
        searches.pop();
    }
    let line = searches.join(" ");
    if searches.len() < wanted {
        omitted.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"
        ));
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {line}\n"));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !conf.options.is_empty() {
        text.push_str(&format!("options {}\n", conf.options.join(" ")));
    }
    Composed { text, omitted }
}

/// Each once, where it stood first.
fn distinct(words: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(words.len());
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HOST: &str = "# made by hand\nnameserver 192.0.2.1\nsearch corp.example svc.cluster.local\noptions timeout:2\n";

    fn compose_for(spec: Value) -> Composed {
        let mut pod = json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": {"containers": []}});
        pod["spec"].as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let servers = ["10.64.0.1".parse().expect("is an address")];
        let cluster = Cluster { servers: &servers, domain: "cluster.local" };
        compose(&serde_json::from_value(pod).expect("is a pod"), &cluster, HOST)
    }

    fn text(spec: Value) -> String {
        let composed = compose_for(spec);
        assert_eq!(composed.omitted, Vec::<String>::new());
        composed.text
    }

    const CLUSTER: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
        nameserver 10.64.0.1\noptions ndots:5\n";
    const MACHINE: &str = "search corp.example svc.cluster.local\nnameserver 192.0.2.1\noptions timeout:2\n";

    #[test]
    fn a_pod_asks_the_cluster_unless_its_policy_or_network_says_otherwise() {
        assert_eq!(text(json!({})), CLUSTER);
        assert_eq!(text(json!({"dnsPolicy": "ClusterFirst"})), CLUSTER);
        assert_eq!(text(json!({"dnsPolicy": "Default"})), MACHINE);
        assert_eq!(text(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true})), MACHINE);
        assert_eq!(text(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})), CLUSTER);
        assert_eq!(text(json!({"dnsPolicy": "None"})), "");
    }

    #[test]
    fn a_pods_own_configuration_is_added_and_its_options_win() {
        let own = json!({"nameservers": ["192.0.2.9", "10.64.0.1"], "searches": ["my.example", "cluster.local"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]});
        let expected = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example my.example\n\
            nameserver 10.64.0.1\nnameserver 192.0.2.9\noptions ndots:2 rotate\n";
        assert_eq!(text(json!({"dnsConfig": own})), expected);
        let alone = "search my.example cluster.local\nnameserver 192.0.2.9\nnameserver 10.64.0.1\noptions ndots:2 rotate\n";
        assert_eq!(text(json!({"dnsPolicy": "None", "dnsConfig": own})), alone);
    }

    #[test]
    fn what_the_c_library_would_not_take_is_left_out_and_told() {
        let servers: Vec<_> = (1..=4).map(|n| format!("192.0.2.{n}")).collect();
        let composed = compose_for(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": servers}}));
        assert_eq!(composed.text, "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n");
        let told = "the applied nameserver line is: 192.0.2.1 192.0.2.2 192.0.2.3";
        assert!(composed.omitted.len() == 1 && composed.omitted[0].ends_with(told), "{:?}", composed.omitted);

        let many: Vec<_> = (0..40).map(|n| format!("d{n}.example")).collect();
        let long: Vec<_> = (0..20).map(|n| format!("{}.{n}.example", "x".repeat(200))).collect();
        for (searches, kept) in [(many, 32), (long, 9), (vec!["y".repeat(254), "z.example".to_owned()], 1)] {
            let composed = compose_for(json!({"dnsPolicy": "None", "dnsConfig": {"searches": searches}}));
            let line = composed.text.lines().next().expect("a line").strip_prefix("search ").expect("searches").to_owned();
            assert!(line.len() <= LONGEST_SEARCH_LINE && line.split(' ').count() == kept, "{line}");
            assert!(composed.omitted[0].ends_with(&format!("the applied search line is: {line}")));
        }
    }
}
