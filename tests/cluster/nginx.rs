//! A larger real program as a user runs it: Debian's nginx with a site from a ConfigMap, without root, behind a readiness
//! probe, reloaded, stopped with grace and updated while it is asked.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mizzen_tests::{Cluster, Registry, client, eventually, images, nginx};

/// Whoever chose a pod so long ago is answered, also if it was told to go since: its hook sleeps two seconds.
const CHOSEN: Duration = Duration::from_millis(1500);

const SITE: &str = r#"server {
  listen 8080;
  location = /healthz { return 200 "ok\n"; }
  location = /version { default_type text/plain; alias /etc/nginx/version; }
  location = /slow { default_type text/plain; limit_rate 1000; alias /site/page.txt; }
  location / { default_type text/plain; root /site; index page.txt; }
}
"#;

fn manifest(image: &str, page: &str) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: site}}
data:
  site.conf: |
{}  page.txt: |
{}---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: nginx}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: nginx}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: nginx}}}}
    spec:
      terminationGracePeriodSeconds: 20
      securityContext: {{runAsUser: 33, runAsGroup: 33, runAsNonRoot: true, fsGroup: 33}}
      volumes:
      - {{name: site, configMap: {{name: site}}}}
      - {{name: scratch, emptyDir: {{}}}}
      containers:
      - name: nginx
        image: '{image}'
        ports: [{{containerPort: 8080}}]
        securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
        # Whoever chose this pod a moment ago may still ask it.
        lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
        resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{memory: 128Mi}}}}
        volumeMounts:
        - {{name: site, mountPath: /etc/nginx/conf.d/site.conf, subPath: site.conf}}
        - {{name: site, mountPath: /site}}
        - {{name: scratch, mountPath: /var/lib/nginx}}
",
        indented(SITE),
        indented(page)
    )
}

fn connect(address: IpAddr) -> Result<TcpStream, String> {
    TcpStream::connect_timeout(&(address, 8080).into(), Duration::from_secs(30)).map_err(|error| format!("{address}: {error}"))
}

fn ask(address: IpAddr, path: &str) -> Result<String, String> {
    exchange(connect(address)?, path)
}

/// A whole answer of status 200, or why there is none.
fn exchange(mut stream: TcpStream, path: &str) -> Result<String, String> {
    let address = stream.peer_addr().map_err(|error| error.to_string())?.ip();
    let mut talk = || {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    let text = talk().map_err(|error: std::io::Error| format!("{address}{path}: {error}"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(format!("{address}{path}: no whole answer: {text}"))?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    match head.starts_with("HTTP/1.1 200 ") && length == Some(body.len()) {
        true => Ok(body.to_owned()),
        false => Err(format!("{address}{path}: {} bytes after {head}", body.len())),
    }
}

/// Addresses of the pods that a balancer would send requests to.
fn ready(cluster: &Cluster) -> Vec<IpAddr> {
    let pods = cluster.get(&["pods", "-l", "app=nginx"]).unwrap();
    let pods = pods["items"].as_array().unwrap().iter();
    let usable = pods.filter(|pod| client::is(pod, "Ready") && pod["metadata"]["deletionTimestamp"].is_null());
    usable.map(|pod| pod["status"]["podIP"].as_str().unwrap().parse().unwrap()).collect()
}

fn rolled_out(cluster: &Cluster, image: &str) -> bool {
    let deployment = cluster.get(&["deployment", "nginx"]).unwrap();
    let status = |field: &str| deployment["status"][field].as_i64().unwrap_or(0);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image
        && deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| status(field) == 2)
}

#[test]
fn nginx_serves_a_site_reloads_stops_with_grace_and_is_updated_without_a_failed_request() {
    let registry = Registry::start();
    let (first, second) = (nginx::image(&registry, "nginx:1", "first"), nginx::image(&registry, "nginx:2", "second"));
    let client = images::busybox(&registry, "client:1");
    let cluster = Cluster::up();
    let page = "0123456789\n".repeat(600);
    cluster.apply(&manifest(&first, &page));
    eventually("the deployment is rolled out", || rolled_out(&cluster, &first).then_some(()));

    let pods = cluster.pods("app=nginx");
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(ask(cluster.pod_address(pod), "/"), Ok(page.clone()));
        assert_eq!(ask(cluster.pod_address(pod), "/version"), Ok("first".to_owned()));
    }
    cluster.run("client", &client);
    let address = cluster.pod_address(&pods[0]);
    let question = format!("printf 'GET /version HTTP/1.0\\r\\n\\r\\n' | nc {address} 8080");
    let answer = cluster.mizzen(&["exec", "client", "--", "sh", "-c", &question]).ok();
    assert!(answer.ends_with("first"), "another pod is answered: {answer}");

    let exec = |arguments: &[&str]| cluster.mizzen(&[&["exec", &pods[0], "--"], arguments].concat());
    let workers = || processes(&cluster, &pods[0], "nginx: worker process");
    // The first answers while the second is still being made.
    let before = eventually("both workers are there", || Some(workers()).filter(|workers| workers.len() == 2));
    assert_eq!(processes(&cluster, &pods[0], "nginx: master process").len(), 1);
    exec(&["nginx", "-t"]).ok();
    exec(&["nginx", "-s", "reload"]).ok();
    eventually("the master has new workers", || {
        let now = workers();
        (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    assert_eq!(ask(address, "/version"), Ok("first".to_owned()));
    eventually("the log has the requests and the reload", || {
        let log = cluster.mizzen(&["logs", &pods[0]]).ok();
        (log.contains("\"GET /version HTTP/1.1\" 200") && log.contains("reconfiguring")).then_some(())
    });

    // The whole of a slow answer is still given by a pod that was told to go.
    let stream = connect(address).unwrap();
    let port = stream.local_addr().unwrap().port();
    let slow = thread::spawn(move || exchange(stream, "/slow"));
    eventually("the slow request is under way", || accepted(&cluster, &pods[0], port).then_some(()));
    cluster.mizzen(&["delete", "pod", &pods[0]]).ok();
    assert_eq!(slow.join().unwrap(), Ok(page.clone()), "a request in flight is answered to its end");
    eventually("the pod is gone", || cluster.get(&["pod", &pods[0]]).is_none().then_some(()));
    eventually("another one took its place", || rolled_out(&cluster, &first).then_some(()));

    cluster.apply(&manifest(&second, &page));
    let mut versions = Vec::new();
    let done = (0..2000).any(|_| {
        let listing = Instant::now();
        for address in ready(&cluster) {
            let stream = connect(address);
            let late = listing.elapsed() > CHOSEN;
            match stream.and_then(|stream| exchange(stream, "/version")) {
                Ok(version) => versions.push(version),
                // On a slow machine a pod may be told to go, and be gone, since it was listed.
                Err(error) => assert!(late, "after {} answers: {error}", versions.len()),
            }
        }
        rolled_out(&cluster, &second) && cluster.pods("app=nginx").len() == 2
    });
    assert!(done && versions.len() > 10, "{} answers while it rolled", versions.len());
    assert!(versions.contains(&"first".to_owned()), "requests were made from the beginning on");
    for address in ready(&cluster) {
        assert_eq!(ask(address, "/version"), Ok("second".to_owned()));
    }
}

/// Whether the pod's nginx has taken the connection from that port: a line of its /proc/net/tcp with port 8080 (1F90) here,
/// that port there, state 01, and an inode, which a connection has from then on.
fn accepted(cluster: &Cluster, pod: &str, port: u16) -> bool {
    let pids = processes(cluster, pod, "nginx: worker process");
    let table = pids.first().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()).unwrap_or_default();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = fields[..] else { return false };
        local.ends_with(":1F90") && remote.ends_with(&format!(":{port:04X}")) && state == "01" && inode != "0"
    })
}

/// The machine's processes of a pod with such a title, which run without root.
fn processes(cluster: &Cluster, pod: &str, title: &str) -> Vec<u32> {
    let uid = cluster.get(&["pod", pod]).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let read = |pid: u32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let found: Vec<u32> =
        pids.filter(|pid| read(*pid, "cgroup").contains(&uid) && read(*pid, "cmdline").starts_with(title)).collect();
    // Some may end while they are looked at.
    let status = |pid: &u32| Some((*pid, read(*pid, "status"))).filter(|(_, status)| !status.is_empty());
    let runs_as_www_data = |(pid, status): (u32, String)| {
        assert!(status.contains("\nUid:\t33\t33\t33\t33\n"), "{title} runs as www-data");
        pid
    };
    found.iter().filter_map(status).map(runs_as_www_data).collect()
}
