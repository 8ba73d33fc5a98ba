//! Exec and attach.

use crate::common::eventually;
use crate::support::{Node, finish};
use mizzen_runtime::{ExecSpec, Runtime, RuntimeError, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn exec(node: &Node, id: &str, script: &str, terminal: bool, stdin: bool) -> Session {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    node.runtime.exec(id, ExecSpec { command, terminal, stdin }).await.unwrap()
}

/// Reads until `part` has come.
async fn expect(session: &mut Session, part: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(part) {
            assert_ne!(session.stdout.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), reading).await.expect(part);
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn an_exec_gives_its_output_and_exit_code() {
    let node = Node::new();
    node.started(&node.spec("a", &["sleep", "1000"])).await;
    let session = exec(&node, "a", "echo out; echo err >&2; exit 5", false, false).await;
    assert_eq!(finish(session).await, (5, "out\n".into(), "err\n".into()));
    let killed = exec(&node, "a", "kill -9 $$", false, false).await;
    assert_eq!(finish(killed).await.0, 137);
}

#[tokio::test]
async fn an_exec_passes_much_data_both_ways() {
    let node = Node::new();
    node.started(&node.spec("a", &["sleep", "1000"])).await;
    let mut session = exec(&node, "a", "cat", false, true).await;
    let data: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut stdin = session.stdin.take().unwrap();
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut seen = Vec::new();
    session.stdout.read_to_end(&mut seen).await.unwrap();
    sending.await.unwrap();
    assert!(seen == data, "{} of {} bytes, or others", seen.len(), data.len());
    assert_eq!(session.exit.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn an_exec_with_a_terminal_has_one_that_can_be_resized() {
    let node = Node::new();
    node.started(&node.spec("a", &["sleep", "1000"])).await;
    let mut session = exec(&node, "a", "tty; echo $TERM; read line; stty size; echo got $line; exit 4", true, true).await;
    expect(&mut session, "/dev/pts/0\r\nxterm\r\n").await;
    session.resize.send((132, 50)).await.unwrap();
    // Sizes and input come by different ways: input that was sent later may arrive earlier.
    let resized = || async {
        let session = exec(&node, "a", "stty size < /dev/pts/0", false, false).await;
        finish(session).await.1.contains("50 132").then_some(())
    };
    eventually("the new size", resized).await;
    session.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    let seen = expect(&mut session, "got hello").await;
    assert!(seen.contains("50 132"), "{seen}");
    assert_eq!(finish(session).await.0, 4);
}

#[tokio::test]
async fn an_exec_is_confined_as_the_container_is() {
    let node = Node::new();
    for (id, uid, no_new_privileges) in [("root", 0, false), ("user", 1000, false), ("nnp", 1000, true)] {
        let mut spec = node.spec(id, &["sleep", "1000"]);
        spec.process.uid = uid;
        spec.process.cwd = "/tmp".into();
        spec.process.env = vec![("GREETING".into(), "hello".into())];
        spec.process.no_new_privileges = no_new_privileges;
        node.started(&spec).await;
        let script =
            "id -u; pwd; echo $GREETING; grep -E '^(CapPrm|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; mount -t tmpfs x /tmp";
        let (_, out, err) = finish(exec(&node, id, script, false, false).await).await;
        let capabilities = if uid == 0 { "00000000a80425fb" } else { "0000000000000000" };
        let expected = format!(
            "{uid}\n/tmp\nhello\nCapPrm:\t{capabilities}\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t{}\nSeccomp:\t2\n",
            u8::from(no_new_privileges)
        );
        assert_eq!(out, expected, "{id}: {err}");
        assert!(err.contains("are you root"), "{err}");
    }
}

#[tokio::test]
async fn an_exec_of_a_program_that_is_not_there_says_so() {
    let node = Node::new();
    node.started(&node.spec("a", &["sleep", "1000"])).await;
    let command = vec!["no-such-program".to_owned()];
    let session = node.runtime.exec("a", ExecSpec { command, terminal: false, stdin: false }).await.unwrap();
    match session.exit.await.unwrap() {
        Err(RuntimeError::Start { message, .. }) => assert!(message.contains("not found in $PATH"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_exec_goes_on_when_its_client_leaves_and_ends_with_the_container() {
    let node = Node::new();
    node.started(&node.spec("a", &["sleep", "1000"])).await;
    drop(exec(&node, "a", "echo gone; sleep 0.1; touch /finished", false, false).await);
    eventually("the exec has finished", || async {
        (finish(exec(&node, "a", "test -e /finished", false, false).await).await.0 == 0).then_some(())
    })
    .await;
    let mut long = exec(&node, "a", "echo up; sleep 1000", false, false).await;
    expect(&mut long, "up").await;
    node.runtime.signal("a", libc::SIGKILL).await.unwrap();
    assert_eq!(finish(long).await.0, 137);
    let command = vec!["true".to_owned()];
    node.exit("a").await;
    let refused = node.runtime.exec("a", ExecSpec { command, ..ExecSpec::default() }).await;
    assert!(matches!(refused, Err(RuntimeError::NotRunning { .. })));
}

#[tokio::test]
async fn an_exec_is_told_of_its_end_although_something_it_started_goes_on() {
    let node = Node::new();
    node.started(&node.spec("a", &["sleep", "1000"])).await;
    let session = exec(&node, "a", "sleep 1000 & echo left", false, false).await;
    assert_eq!(finish(session).await, (0, "left\n".into(), String::new()));
}

#[tokio::test]
async fn an_attached_client_talks_to_the_first_process_and_hears_of_its_end() {
    let node = Node::new();
    let mut spec = node.sh("a", "while read line; do echo got $line; done; exit 6");
    spec.process.stdin = true;
    spec.process.stdin_once = true;
    node.started(&spec).await;
    let mut session = node.runtime.attach("a").await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"one\n").await.unwrap();
    expect(&mut session, "got one\n").await;
    assert_eq!(finish(session).await.0, 6);
    assert_eq!(node.entries("a"), ["stdout F got one"]);
}

#[tokio::test]
async fn stdin_stays_open_for_the_next_client() {
    let node = Node::new();
    let mut spec = node.sh("a", "while read line; do echo got $line; done");
    spec.process.stdin = true;
    node.started(&spec).await;
    for line in ["one", "two"] {
        let mut session = node.runtime.attach("a").await.unwrap();
        session.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
        expect(&mut session, &format!("got {line}\n")).await;
    }
}

#[tokio::test]
async fn a_container_with_a_terminal_logs_it_and_takes_input() {
    let node = Node::new();
    let mut spec = node.sh("a", "tty; read line; echo got $line");
    spec.process.terminal = true;
    spec.process.stdin = true;
    spec.process.uid = 1000;
    node.started(&spec).await;
    let mut session = node.runtime.attach("a").await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    expect(&mut session, "got hello").await;
    assert_eq!(finish(session).await.0, 0);
    let entries = node.entries("a");
    assert!(entries.iter().any(|entry| entry.starts_with("stdout F /dev/pts/0")), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.starts_with("stdout")), "{entries:?}");
}
