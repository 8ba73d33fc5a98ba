//! What a request is to the authorizer: a verb and subresources of the node, of which one suffices.

use axum::http::Method;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) subresources: Vec<&'static str>,
}

impl Asked {
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let first = path.split('/').nth(1).unwrap_or_default();
        let verb = match method.as_str() {
            // Whoever opens a stream into a pod does more than read, though a WebSocket opens with GET.
            _ if ["exec", "attach", "portForward"].contains(&first) => "create",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "get",
        };
        let subresources = match first {
            "stats" => vec!["stats"],
            "metrics" => vec!["metrics"],
            "logs" => vec!["log"],
            "pods" => vec!["pods", "proxy"],
            "healthz" => vec!["healthz", "proxy"],
            _ => vec!["proxy"],
        };
        Self { verb, subresources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_kubelets_subresources() {
        let of = |method, path| {
            let asked = Asked::of(&method, path);
            (asked.verb, asked.subresources)
        };
        assert_eq!(of(Method::GET, "/metrics/resource"), ("get", vec!["metrics"]));
        assert_eq!(of(Method::GET, "/stats/summary"), ("get", vec!["stats"]));
        assert_eq!(of(Method::GET, "/pods"), ("get", vec!["pods", "proxy"]));
        assert_eq!(of(Method::GET, "/containerLogs/n/p/c"), ("get", vec!["proxy"]));
        assert_eq!(of(Method::GET, "/exec/n/p/c"), ("create", vec!["proxy"]));
        assert_eq!(of(Method::GET, "/statsarenot"), ("get", vec!["proxy"]));
    }
}
