//! kubectl's streams: logs, exec, attach, run.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use mizzen_tests::command::run;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};

#[test]
fn kubectl_follows_logs_and_gives_those_of_a_container_that_crashed() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let script = "echo life $(ls /data | grep -c .); touch /data/$(cat /proc/sys/kernel/random/uuid); until [ -e /data/go ]; do sleep 0.1; done; rm -f /data/go; echo last words >&2; exit 3";
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: mortal}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{{name: data, emptyDir: {{}}}}]
  containers:
  - name: main
    image: {image}
    command: [sh, -c, '{}']
    volumeMounts: [{{name: data, mountPath: /data}}]
",
        script.replace("rm -f", "/bin/busybox rm -f")
    ));
    cluster.kubectl_wait("condition=Ready", &["pod/mortal"]);
    let mut follow = cluster.kubectl_command(&["logs", "-f", "mortal"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "life 0");
    cluster.kubectl(&["exec", "mortal", "--", "touch", "/data/go"]).ok();
    assert_eq!(lines.next().unwrap(), "last words");
    assert_eq!(lines.next(), None, "following ends with the container");
    assert!(follow.wait().unwrap().success());

    eventually("the container runs again", || {
        let pod = cluster.get(&["pod", "mortal"]).unwrap();
        let status = &pod["status"]["containerStatuses"][0];
        (status["restartCount"] == 1 && !status["state"]["running"].is_null()).then_some(())
    });
    assert_eq!(cluster.kubectl(&["logs", "--previous", "mortal"]).ok(), "life 0\nlast words\n");
    eventually("the second life has a log", || (cluster.kubectl(&["logs", "mortal"]).ok() == "life 1\n").then_some(()));
    assert_eq!(cluster.kubectl(&["logs", "--previous", "mortal", "--tail=1"]).ok(), "last words\n");
    let stamped = cluster.kubectl(&["logs", "mortal", "--timestamps"]).ok();
    assert!(stamped.starts_with("20") && stamped.ends_with("Z life 1\n"), "{stamped}");
    let pod = cluster.get(&["pod", "mortal"]).unwrap();
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((last["exitCode"].as_i64(), last["reason"].as_str()), (Some(3), Some("Error")));
    let said = cluster.kubectl(&["logs", "mortal", "-c", "other"]).err();
    assert!(said.contains("container other is not valid for pod mortal"), "{said}");
}

#[test]
fn kubectl_exec_and_run_carry_input_and_terminals() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.kubectl(&["run", "web", "--image", &image]).ok();
    cluster.kubectl_wait("condition=Ready", &["pod/web"]);

    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let echoed = cluster.pipe(&["exec", "-i", "web", "--", "cat"], &text).ok();
    assert!(echoed == text, "{} of {} bytes came back", echoed.len(), text.len());
    let both = cluster.kubectl(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!((both.code, both.stdout.as_str()), (Some(42), "out\n"));
    assert!(both.stderr.starts_with("err\n") && both.stderr.contains("exit code 42"), "{}", both.stderr);
    let said = cluster.kubectl(&["exec", "web", "--", "no-such-program"]).err();
    assert!(said.contains("no-such-program"), "{said}");

    // `script` gives kubectl a terminal of its own, with a size.
    let line =
        |arguments: &str| format!("stty rows 33 cols 77; kubectl --kubeconfig {} {arguments}", cluster.kubeconfig().display());
    let terminal =
        |arguments: &str| run(Command::new("script").args(["-qec", &line(arguments), "/dev/null"]).stdin(Stdio::null()));
    let said = terminal(
        "exec -it web -- sh -c 'until stty size | grep 33; do sleep 0.1; done; test -t 0 && test -t 1 && echo terminal; exit 5'",
    );
    assert_eq!(said.code, Some(5), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("33 77\r\n") && said.stdout.contains("terminal\r\n"), "{}", said.stdout);

    let said = cluster
        .pipe(
            &[
                "run",
                "once",
                "--rm",
                "-i",
                "--restart=Never",
                "--image",
                &image,
                "--command",
                "--",
                "sh",
                "-c",
                "echo ask; cat; echo bye",
            ],
            "answer\n",
        )
        .ok();
    assert!(said.contains("answer\n") && said.contains("bye\n") && said.contains("pod \"once\" deleted"), "{said}");
    assert!(cluster.get(&["pod", "once"]).is_none());
}

#[test]
fn kubectl_attach_joins_the_output_input_and_terminal_of_a_running_container() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let pod = |name: &str, streams: &str, script: &str| {
        cluster.kubectl_apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers: [{{name: main, image: '{image}', {streams} command: [sh, -c, '{script}']}}]
"
        ));
    };
    pod("talks", "", "echo before; until [ -e /tmp/go ]; do echo tick; sleep 0.1; done; echo wrong >&2; echo after");
    pod("listens", "stdin: true, stdinOnce: true,", "while read -r line; do echo \"got $line\"; done; echo bye");
    pod(
        "terminal",
        "stdin: true, tty: true,",
        "read -r line; until stty size | grep 33; do sleep 0.1; done; echo \"got $line\"; exit 3",
    );
    for name in ["talks", "listens", "terminal"] {
        cluster.kubectl_wait("condition=Ready", &[&format!("pod/{name}")]);
    }

    let mut attach = cluster.kubectl_command(&["attach", "talks", "--quiet"]);
    let mut attach = attach.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(attach.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(out.next().unwrap(), "tick", "only what comes from now on");
    cluster.kubectl(&["exec", "talks", "--", "touch", "/tmp/go"]).ok();
    assert_eq!(out.find(|line| line != "tick").unwrap(), "after");
    assert_eq!(out.next(), None, "it ends with the container");
    let said = attach.wait_with_output().unwrap();
    let errors = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.success() && errors.contains("wrong\n"), "{errors}");

    let said = cluster.pipe(&["attach", "-i", "listens", "--quiet"], "one\ntwo\n").ok();
    assert_eq!(said, "got one\ngot two\nbye\n");
    cluster.kubectl_wait("jsonpath={.status.phase}=Succeeded", &["pod/listens"]);

    let line = format!("stty rows 33 cols 77; kubectl --kubeconfig {} attach -it terminal", cluster.kubeconfig().display());
    let mut script =
        Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = script.stdin.take().unwrap();
    keys.write_all(b"typed\r").unwrap();
    let said = String::from_utf8(script.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("33 77\r\n") && said.contains("got typed\r\n"), "{said}");
    drop(keys);
    let pod = eventually("the container has ended", || {
        cluster.get(&["pod", "terminal"]).filter(|pod| pod["status"]["phase"] == "Failed")
    });
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
}
