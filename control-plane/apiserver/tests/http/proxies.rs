//! The proxy subresources, as far as they go without anybody behind them.

use mizzen_client::ApiRequest;
use serde_json::{Value, json};

use crate::served::served;
use crate::support::{gvr, pod};

#[tokio::test]
async fn who_proxies_to_nothing_is_told_what_is_missing() {
    let served = served().await;
    let client = &served.admin;
    client.write(ApiRequest::create(&gvr("", "v1", "pods"), "default", pod("p"))).await.expect("creates");
    let own = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    let own = ApiRequest::patch(&gvr("", "v1", "pods"), "default", "p", mizzen_client::PatchKind::Merge, own);
    client.write(own.subresource("status")).await.expect("is told");
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    client.write(ApiRequest::create(&gvr("", "v1", "services"), "default", service)).await.expect("creates");
    for (path, code, message) in [
        ("namespaces/default/pods/none/proxy/", 404, "pods \"none\" not found"),
        ("namespaces/default/pods/p:8080/proxy/", 400, "address not allowed"),
        ("namespaces/default/pods/a:b:c:d/proxy/x", 400, "invalid pod request \"a:b:c:d\""),
        ("namespaces/default/services/s/proxy/", 503, "no endpoints available for service \"s\""),
        ("namespaces/default/services/s:81/proxy/", 503, "no service port 81 found for service \"s\""),
        ("nodes/none/proxy/metrics", 404, "nodes \"none\" not found"),
    ] {
        let (answered, status) = served.get(&format!("/api/v1/{path}")).await;
        assert_eq!((answered.as_u16(), &status["message"]), (code, &Value::from(message)), "{path}");
    }
}

#[tokio::test]
async fn a_proxy_without_a_slash_at_its_end_leads_to_the_one_with_it() {
    let served = served().await;
    let path = "/api/v1/namespaces/default/services/s/proxy";
    let answer = served.request(reqwest::Method::GET, &format!("{path}?a=b")).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.url().path(), answer.url().query()), (404, &*format!("{path}/"), Some("a=b")));
}
