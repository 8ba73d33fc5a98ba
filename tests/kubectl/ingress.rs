//! Ingresses: by host and path to services, with TLS, while all of it changes.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use mizzen_tests::authority::Authority;
use mizzen_tests::command::{Ran, run};
use mizzen_tests::ports::Port;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images, leftovers};
use serde_json::Value;

/// A Deployment whose pods answer HTTP with `said`, and its service with a named port.
fn site(name: &str, image: &str, replicas: u8, said: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: main
        image: '{image}'
        command: [/bin/sh, -c, 'mkdir -p /tmp/deep; echo {said} | tee /tmp/index.html > /tmp/deep/index.html; exec httpd -f -p 8080 -h /tmp']
        ports: [{{name: web, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: web}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: web}}]}}
---
"
    )
}

const INGRESS: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: sites}
spec:
  tls: [{hosts: [a.example], secretName: a-tls}]
  rules:
  - host: a.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: one, port: {name: http}}}}
      - {path: /deep, pathType: Prefix, backend: {service: {name: two, port: {number: 80}}}}
  - host: '*.b.example'
    http:
      paths: [{path: /deep/, pathType: Exact, backend: {service: {name: two, port: {number: 80}}}}]
";

/// Where clients find ingresses, as kubectl and programs read it.
fn address(cluster: &Cluster, ingress: &str) -> IpAddr {
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    eventually("the ingress has an address", || cluster.kubectl(&["get", "ingress", ingress, "-o", path]).stdout.parse().ok())
}

fn curl(url: &str, name: &str, port: u16, address: IpAddr, options: &[&str]) -> Ran {
    let resolve = format!("{name}:{port}:{address}");
    run(Command::new("curl").args(["-sS", "--max-time", "20", "--resolve", &resolve]).args(options).arg(url))
}

/// What is said at a URL of port 80, when the status is as expected.
fn said(url: &str, name: &str, address: IpAddr, status: &str) -> Option<String> {
    let ran = curl(url, name, 80, address, &["-w", "%{http_code}"]);
    ran.stdout.strip_suffix(status).map(|said| said.trim().to_owned())
}

fn secret(cluster: &Cluster, folder: &Path, (certificate, key): (String, String)) {
    let files = [("tls.crt", certificate), ("tls.key", key)].map(|(name, text)| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    });
    let [certificate, key] = files.each_ref().map(String::as_str);
    let flags = ["--cert", certificate, "--key", key, "--dry-run=client", "-o", "yaml"];
    let manifest = cluster.kubectl(&[&["create", "secret", "tls", "a-tls"], &flags[..]].concat()).ok();
    cluster.kubectl_apply(&manifest);
}

#[test]
fn an_ingress_leads_hosts_and_paths_to_services_over_tls_too() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let mut cluster = Cluster::up();
    cluster.kubectl_apply(&(site("one", &image, 2, "this is one") + &site("two", &image, 1, "this is two")));
    let folder = tempfile::tempdir().unwrap();
    let trusted = Authority::new(folder.path());
    secret(&cluster, folder.path(), trusted.issue_to_name("a.example"));
    let class = eventually("there is a class", || cluster.get(&["ingressclass", "mizzen"]));
    assert_eq!(class["spec"]["controller"], "mizzen.dev/ingress");
    cluster.kubectl_apply(INGRESS);
    let ip = address(&cluster, "sites");
    cluster.kubectl_wait("condition=Available", &["deployment", "--all"]);

    let shown = cluster.kubectl(&["get", "ingress", "sites"]).ok();
    let row: Vec<&str> = shown.lines().last().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..6], ["sites", "mizzen", "a.example,*.b.example", &ip.to_string(), "80,", "443"], "{shown}");

    let a = |url: &str| said(url, "a.example", ip, "200");
    eventually("the ingress leads to one", || a("http://a.example/").filter(|said| said == "this is one"));
    assert_eq!(a("http://a.example/deep/").as_deref(), Some("this is two"));
    assert_eq!(said("http://x.b.example/deep/", "x.b.example", ip, "200").as_deref(), Some("this is two"));
    for (url, name) in [("http://x.b.example/deep/x", "x.b.example"), ("http://c.example/", "c.example")] {
        assert!(said(url, name, ip, "404").is_some_and(|said| said.contains("no ingress")), "{url}");
    }

    // Over TLS, in HTTP/2, with a certificate that is replaced.
    let secure = |authority: &Authority, options: &[&str]| {
        let file = authority.file().display().to_string();
        curl("https://a.example/", "a.example", 443, ip, &[&["--cacert", &file], options].concat())
    };
    let version = secure(&trusted, &["--http2", "-w", "%{http_version}"]).ok();
    assert_eq!(version, "this is one\n2");
    assert_eq!(secure(&trusted, &["--http1.1"]).ok(), "this is one\n");
    let other_folder = tempfile::tempdir().unwrap();
    let other = Authority::new(other_folder.path());
    // Both authorities have one name: OpenSSL tries the other's key, and curl passes on what it says of the signature (35).
    let mistrusted = [Some(35), Some(60)];
    assert!(mistrusted.contains(&secure(&other, &[]).code), "is not trusted yet");
    secret(&cluster, folder.path(), other.issue_to_name("a.example"));
    eventually("the new certificate is shown", || (secure(&other, &[]).code == Some(0)).then_some(()));
    assert!(mistrusted.contains(&secure(&trusted, &[]).code), "the old one is no more");
    let nobody = curl("https://nobody.example/", "nobody.example", 443, ip, &["-k"]);
    assert_eq!(nobody.code, Some(35), "no certificate for the name: {}", nobody.stderr);

    // What lacks is told, and comes to be served when it is there.
    cluster.kubectl(&["create", "ingress", "late", "--rule=late.example/*=late:http"]).ok();
    eventually("an event tells what lacks", || {
        let told =
            |event: &Value| event["reason"] == "BackendNotFound" && event["message"] == "service default/late is not there";
        cluster.whole_events("late").iter().any(told).then_some(())
    });
    assert!(said("http://late.example/", "late.example", ip, "503").is_some());
    cluster.kubectl_apply(&site("late", &image, 1, "better late"));
    eventually("it leads somewhere", || said("http://late.example/", "late.example", ip, "200"));

    // A redirect where it is asked for.
    cluster.kubectl(&["annotate", "ingress", "sites", "mizzen.dev/ssl-redirect=true"]).ok();
    let location =
        || curl("http://a.example/deep?x=y", "a.example", 80, ip, &["-w", "%{http_code} %{redirect_url}", "-o", "/dev/null"]);
    eventually("clients are sent to TLS", || location().stdout.strip_prefix("308 ").map(str::to_owned));
    assert_eq!(location().stdout, "308 https://a.example/deep?x=y");

    // Somebody else's class is somebody else's.
    cluster.kubectl(&["patch", "ingress", "late", "--type=merge", "-p", "{\"spec\":{\"ingressClassName\":\"nginx\"}}"]).ok();
    eventually("it is not served any more", || said("http://late.example/", "late.example", ip, "404"));

    cluster.kill();
    cluster.start();
    eventually("it is served again after a restart", || (secure(&other, &[]).code == Some(0)).then_some(()));
    assert_eq!(address(&cluster, "sites"), ip);
    cluster.kubectl(&["delete", "ingress", "sites"]).ok();
    eventually("it is gone", || said("http://a.example/", "a.example", ip, "404"));
    let (id, data) = (cluster.id(), cluster.data());
    cluster.down().ok();
    assert_eq!(leftovers::of(&id, &data), [""; 0]);
}

#[test]
fn no_request_fails_while_the_pods_behind_an_ingress_are_replaced() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let [http, https] = [Port::reserve(), Port::reserve()];
    let ports = format!("ingress: {{httpPort: {}, httpsPort: {}}}\n", http.number(), https.number());
    let cluster = Cluster::up_configured(&ports);
    cluster.kubectl_apply(&site("web", &image, 3, "v1"));
    cluster.kubectl(&["create", "ingress", "web", "--rule=web.example/*=web:80"]).ok();
    let ip = address(&cluster, "web");
    cluster.kubectl_wait("condition=Available", &["deployment/web"]);
    let url = format!("http://web.example:{}/", http.number());
    let ask = || curl(&url, "web.example", http.number(), ip, &["--fail"]);
    eventually("the ingress leads somewhere", || (ask().stdout == "v1\n").then_some(()));

    let done = AtomicBool::new(false);
    let load = || {
        let (mut asked, mut failed) = (0, Vec::new());
        while !done.load(Ordering::SeqCst) {
            let ran = ask();
            asked += 1;
            if ran.code != Some(0) {
                failed.push(ran.stderr);
            }
        }
        (asked, failed)
    };
    let all = std::thread::scope(|scope| {
        let asking = [(); 2].map(|()| scope.spawn(load));
        // A new version, which ends at once when it is told to, and then the old one again.
        let quick = site("web", &image, 3, "v2").replace("exec httpd -f", "trap \"exit 0\" TERM; httpd -f");
        let quick = quick.replace("-h /tmp']", "-h /tmp & wait']");
        cluster.kubectl_apply(&quick);
        cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]).ok();
        eventually("only the new version answers", || (0..6).all(|_| ask().stdout == "v2\n").then_some(()));
        cluster.kubectl_apply(&site("web", &image, 3, "v3"));
        cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]).ok();
        eventually("only the newest version answers", || (0..6).all(|_| ask().stdout == "v3\n").then_some(()));
        done.store(true, Ordering::SeqCst);
        asking.map(|thread| thread.join().unwrap())
    });
    for (asked, failed) in all {
        assert_eq!(failed, [""; 0], "of {asked} requests");
        assert!(asked > 20, "{asked}");
    }
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=0"]).ok();
    let unavailable = || curl(&url, "web.example", http.number(), ip, &["-w", "%{http_code}"]);
    eventually("without pods it is unavailable", || unavailable().stdout.ends_with("503").then_some(()));
}
