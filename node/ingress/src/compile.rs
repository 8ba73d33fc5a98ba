//! Ingresses as rules. Pure.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};
use mizzen_api::ObjectRef;

use crate::table::{Host, Path, Rule};

/// Annotation: `true` sends requests without TLS to the same place with it.
const SSL_REDIRECT: &str = "mizzen.dev/ssl-redirect";
/// Annotation: how long a backend may say nothing before it answers, such as `30s`.
const BACKEND_TIMEOUT: &str = "mizzen.dev/backend-timeout";
/// As nginx has it.
const DEFAULT_BACKEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Which of a service's ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    Name(String),
    Number(u16),
}

/// The endpoints of one port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendRef {
    pub service: ObjectRef,
    pub port: Port,
}

/// What is to become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `None` for what this proxy cannot lead to: a resource that is no service.
    pub backend: Option<BackendRef>,
    pub ssl_redirect: bool,
    pub timeout: Duration,
}

/// A certificate that is shown to clients that ask for the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub host: Host,
    pub secret: ObjectRef,
    pub ingress: ObjectRef,
}

/// What an ingress says that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    pub ingress: ObjectRef,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    pub rules: Vec<Rule<Action>>,
    pub certificates: Vec<Certificate>,
    /// Each backend with an ingress that wants it.
    pub backends: Vec<(BackendRef, ObjectRef)>,
    pub problems: Vec<Problem>,
}

/// The rules of all ingresses. Where two have the same host and path, the older one has it.
pub fn compile(mut ingresses: Vec<Arc<Ingress>>) -> Compiled {
    ingresses.sort_by_cached_key(|ingress| {
        let metadata = &ingress.metadata;
        (metadata.creation_timestamp.as_ref().map(|time| time.0), key(ingress))
    });
    let mut compiled = Compiled::default();
    for ingress in &ingresses {
        compiled.add(ingress);
    }
    compiled
}

fn key(ingress: &Ingress) -> ObjectRef {
    let metadata = &ingress.metadata;
    ObjectRef::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

impl Compiled {
    fn add(&mut self, ingress: &Ingress) {
        let (key, Some(spec)) = (key(ingress), &ingress.spec) else { return };
        let terms = self.terms(ingress, &key);
        let mut hosts = Vec::new();
        for rule in spec.rules.iter().flatten() {
            let host = Host::parse(rule.host.as_deref().unwrap_or_default());
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let then = self.action(&path.backend, &key, &terms);
                self.rules.push(Rule { host: host.clone(), path: of(path), is_fallback: false, then });
            }
            hosts.push(host);
        }
        if let Some(backend) = &spec.default_backend {
            let then = self.action(backend, &key, &terms);
            hosts.push(Host::Any);
            let fallback = |host| Rule { host, path: Path::Prefix("/".to_owned()), is_fallback: true, then: then.clone() };
            self.rules.extend(hosts.into_iter().map(fallback));
        }
        for tls in spec.tls.iter().flatten() {
            let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else { continue };
            let secret = ObjectRef::new(key.namespace.clone(), name);
            let named: Vec<Host> = tls.hosts.iter().flatten().map(|host| Host::parse(host)).collect();
            let hosts = if named.is_empty() { vec![Host::Any] } else { named };
            let certificate = |host| Certificate { host, secret: secret.clone(), ingress: key.clone() };
            self.certificates.extend(hosts.into_iter().map(certificate));
        }
    }

    /// What the annotations say, for all of an ingress.
    fn terms(&mut self, ingress: &Ingress, key: &ObjectRef) -> Action {
        let annotation = |name: &str| ingress.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
        let timeout = annotation(BACKEND_TIMEOUT).map_or(Some(DEFAULT_BACKEND_TIMEOUT), duration);
        if timeout.is_none() {
            let message = format!("annotation {BACKEND_TIMEOUT} is no duration above 0, such as 30s");
            self.problems.push(Problem { ingress: key.clone(), reason: "InvalidAnnotation", message });
        }
        Action {
            backend: None,
            ssl_redirect: annotation(SSL_REDIRECT) == Some("true"),
            timeout: timeout.unwrap_or(DEFAULT_BACKEND_TIMEOUT),
        }
    }

    fn action(&mut self, backend: &IngressBackend, key: &ObjectRef, terms: &Action) -> Action {
        let Some(service) = &backend.service else {
            let message = "backends that are no services are not served".to_owned();
            self.problems.push(Problem { ingress: key.clone(), reason: "UnsupportedBackend", message });
            return terms.clone();
        };
        let named = service.port.as_ref().and_then(|port| port.name.clone()).filter(|name| !name.is_empty());
        let number = service.port.as_ref().and_then(|port| u16::try_from(port.number?).ok()).unwrap_or_default();
        let port = named.map_or(Port::Number(number), Port::Name);
        let backend = BackendRef { service: ObjectRef::new(key.namespace.clone(), service.name.as_str()), port };
        self.backends.push((backend.clone(), key.clone()));
        Action { backend: Some(backend), ..terms.clone() }
    }
}

/// `ImplementationSpecific` is a prefix here.
fn of(path: &HTTPIngressPath) -> Path {
    let text = path.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let text = crate::path::normal(&text).into_owned();
    if path.path_type == "Exact" { Path::Exact(text) } else { Path::Prefix(text) }
}

fn duration(text: &str) -> Option<Duration> {
    let duration = Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok()?;
    Some(duration).filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::table::Table;

    fn ingress(name: &str, created: u8, spec: Value) -> Arc<Ingress> {
        let metadata = json!({"name": name, "namespace": "n", "creationTimestamp": format!("2025-01-01T00:00:{created:02}Z")});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("is an ingress"))
    }

    fn rule(host: &str, paths: Value) -> Value {
        json!({"host": host, "http": {"paths": paths}})
    }

    fn path(kind: &str, path: &str, service: &str, port: Value) -> Value {
        json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": port}}})
    }

    fn served(ingresses: Vec<Arc<Ingress>>, host: &str, path: &str) -> Option<String> {
        let table = Table::new(compile(ingresses).rules);
        table.find(host, path)?.backend.as_ref().map(|backend| format!("{}:{:?}", backend.service.name, backend.port))
    }

    #[test]
    fn hosts_and_paths_lead_to_ports_of_services() {
        let paths = json!([
            path("Prefix", "/", "web", json!({"number": 80})),
            path("Exact", "/api", "api", json!({"name": "http"})),
            path("ImplementationSpecific", "/img", "img", json!({"number": 8080})),
        ]);
        let all = vec![ingress("a", 0, json!({"rules": [rule("A.example", paths)]}))];
        for (asked, expected) in
            [("/", "web:Number(80)"), ("/api", "api:Name(\"http\")"), ("/api/", "web:Number(80)"), ("/img/1", "img:Number(8080)")]
        {
            assert_eq!(served(all.clone(), "a.example", asked).as_deref(), Some(expected), "{asked}");
        }
        assert_eq!(served(all, "b.example", "/"), None);
    }

    #[test]
    fn an_implementation_specific_path_may_be_left_out() {
        let any =
            json!([{"pathType": "ImplementationSpecific", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]);
        let all = vec![ingress("a", 0, json!({"rules": [{"http": {"paths": any}}]}))];
        assert_eq!(served(all, "any.example", "/x").as_deref(), Some("web:Number(80)"));
    }

    #[test]
    fn the_older_ingress_keeps_a_host_and_path() {
        let of =
            |service: &str| json!({"rules": [rule("a.example", json!([path("Prefix", "/", service, json!({"number": 80}))]))]});
        let all = vec![ingress("a", 2, of("younger")), ingress("b", 1, of("older"))];
        assert_eq!(served(all, "a.example", "/").as_deref(), Some("older:Number(80)"));
    }

    #[test]
    fn a_default_backend_gets_what_no_rule_is_for() {
        let default = |service: &str| json!({"service": {"name": service, "port": {"number": 80}}});
        let rules = json!([rule("a.example", json!([path("Prefix", "/x", "x", json!({"number": 80}))]))]);
        let all = vec![
            ingress("old", 0, json!({"defaultBackend": default("everybody")})),
            ingress("own", 1, json!({"defaultBackend": default("of-a"), "rules": rules})),
        ];
        let asked = |host: &str, path: &str| served(all.clone(), host, path).unwrap_or_default();
        assert_eq!(asked("a.example", "/x"), "x:Number(80)");
        assert_eq!(asked("a.example", "/y"), "of-a:Number(80)");
        assert_eq!(asked("b.example", "/x"), "everybody:Number(80)");
    }

    #[test]
    fn certificates_are_for_the_hosts_named_or_for_all() {
        let tls = json!([{"hosts": ["a.example", "*.b.example"], "secretName": "s"}, {"secretName": "t"}, {"hosts": ["c"]}]);
        let compiled = compile(vec![ingress("a", 0, json!({"tls": tls}))]);
        let certificates: Vec<_> = compiled.certificates.iter().map(|it| (it.host.clone(), it.secret.to_string())).collect();
        let expected = [(Host::parse("a.example"), "n/s"), (Host::parse("*.b.example"), "n/s"), (Host::Any, "n/t")];
        assert_eq!(certificates, expected.map(|(host, secret)| (host, secret.to_owned())));
    }

    #[test]
    fn annotations_count_for_all_rules_and_wrong_ones_are_told() {
        let mut own =
            (*ingress("a", 0, json!({"rules": [rule("", json!([path("Prefix", "/", "web", json!({"number": 80}))]))]}))).clone();
        let annotated = |own: &mut Ingress, timeout: &str| {
            let pairs = [(BACKEND_TIMEOUT, timeout), (SSL_REDIRECT, "true")];
            own.metadata.annotations = Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
            compile(vec![Arc::new(own.clone())])
        };
        let right = annotated(&mut own, "5s");
        assert_eq!((right.rules[0].then.timeout, right.rules[0].then.ssl_redirect), (Duration::from_secs(5), true));
        assert_eq!(right.problems, []);
        for wrong in ["soon", "0s", "-1s"] {
            let wrong = annotated(&mut own, wrong);
            assert_eq!(wrong.rules[0].then.timeout, DEFAULT_BACKEND_TIMEOUT);
            assert_eq!(wrong.problems[0].reason, "InvalidAnnotation");
        }
    }

    #[test]
    fn a_resource_backend_is_told_and_keeps_its_path() {
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}}]);
        let compiled = compile(vec![ingress("a", 0, json!({"rules": [rule("", paths)]}))]);
        assert_eq!((compiled.rules[0].then.backend.clone(), compiled.problems[0].reason), (None, "UnsupportedBackend"));
    }
}
