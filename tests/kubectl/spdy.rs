//! `kubectl port-forward`, and exec, attach and port-forward of a kubectl that knows SPDY only, as those before 1.31.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use mizzen_tests::cluster::http;
use mizzen_tests::{Cluster, Kubectl, Registry, client, eventually, images};

/// What kubectl 1.31 and newer calls the way of its predecessors.
const NO_WEBSOCKETS: [(&str, &str); 2] =
    [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

/// A `kubectl port-forward` of one port, which ends with this.
struct Forward {
    kubectl: Child,
    port: u16,
}

impl Forward {
    fn start(mut kubectl: Command) -> Self {
        let mut kubectl = kubectl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let line = BufReader::new(kubectl.stdout.as_mut().unwrap()).lines().next();
        let Some(Ok(line)) = line else {
            let said = kubectl.wait_with_output().unwrap();
            panic!("{}", String::from_utf8_lossy(&said.stderr));
        };
        // Forwarding from 127.0.0.1:40123 -> 8080
        let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let port = port.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { kubectl, port }
    }

    fn ask(&self) -> mizzen_tests::command::Ran {
        http([127, 0, 0, 1].into(), self.port)
    }

    /// Ends kubectl and answers what it complained of.
    fn end(mut self) -> String {
        let _ = self.kubectl.kill();
        let mut said = String::new();
        self.kubectl.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// A pod that serves a page and a megabyte on its loopback only: nobody else reaches it.
fn loopback_server(cluster: &Cluster, image: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: '{image}'
    command: [httpd, -f, -p, '127.0.0.1:8080', -h, /www]
    # Port 8080 in hexadecimal: a forwarded connection that is refused ends kubectl.
    readinessProbe: {{exec: {{command: [grep, ':1F90 ', /proc/net/tcp]}}, periodSeconds: 1, timeoutSeconds: 60}}
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/web"]);
}

fn forwards(cluster: &Cluster, environment: &[(&str, &str)]) {
    let start = |port: &str| {
        let mut kubectl = cluster.kubectl_command(&["port-forward", "pod/web", port]);
        kubectl.envs(environment.iter().copied());
        Forward::start(kubectl)
    };
    let web = start(":8080");
    eventually("the server answers", || (web.ask().stdout == "hello from web:v1\n").then_some(()));
    // Each is a connection of its own, and several are open at once.
    std::thread::scope(|scope| {
        for asking in [(); 8].map(|()| scope.spawn(|| web.ask().ok())) {
            assert_eq!(asking.join().unwrap(), "hello from web:v1\n");
        }
    });
    assert_eq!(web.end(), "");

    let nobody = start(":81");
    nobody.ask().err();
    let said = nobody.end();
    assert!(said.contains("error forwarding port 81 to pod web, uid ") && said.contains("connection refused"), "{said}");
}

#[test]
fn kubectl_forwards_ports_to_a_pods_loopback() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    loopback_server(&cluster, &image);
    let address = cluster.pod_address("web");
    http(address, 8080).err();
    forwards(&cluster, &[]);
    forwards(&cluster, &NO_WEBSOCKETS);
}

#[test]
fn kubectl_exec_and_attach_work_over_spdy() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    loopback_server(&cluster, &image);
    let kubectl = |arguments: &[&str], stdin: &str| {
        let mut kubectl = cluster.kubectl_command(arguments);
        mizzen_tests::command::run(kubectl.envs(NO_WEBSOCKETS).stdin(client::text(stdin)))
    };

    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let echoed = kubectl(&["exec", "-i", "web", "--", "cat"], &text).ok();
    assert!(echoed == text, "{} of {} bytes came back", echoed.len(), text.len());
    let both = kubectl(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42"], "");
    assert_eq!((both.code, both.stdout.as_str()), (Some(42), "out\n"));
    assert!(both.stderr.starts_with("err\n") && both.stderr.contains("exit code 42"), "{}", both.stderr);
    let said = kubectl(&["exec", "web", "-c", "none", "--", "ls"], "").err();
    assert!(said.contains("container none is not valid for pod web"), "{said}");

    // `script` gives kubectl a terminal of its own, with a size.
    let line = format!(
        "stty rows 33 cols 77; kubectl --kubeconfig {} exec -it web -- sh -c 'until stty size | grep 33; do sleep 0.1; done; exit 5'",
        cluster.kubeconfig().display()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).envs(NO_WEBSOCKETS).stdin(Stdio::null());
    let said = mizzen_tests::command::run(&mut terminal);
    assert_eq!(said.code, Some(5), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("33 77\r\n"), "{}", said.stdout);

    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: listens}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers: [{{name: main, image: '{image}', stdin: true, stdinOnce: true, command: [sh, -c, 'while read -r line; do echo \"got $line\"; done; echo bye']}}]
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/listens"]);
    assert_eq!(kubectl(&["attach", "-i", "listens", "--quiet"], "one\ntwo\n").ok(), "got one\ngot two\nbye\n");
}
