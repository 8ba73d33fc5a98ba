use mizzen_runtime::{ExecSpec, Runtime, RuntimeError};

use crate::support::Node;

#[tokio::test(flavor = "multi_thread")]
async fn environment_arguments_and_exit_codes_reach_the_program_and_come_back() {
    let node = Node::new();
    let mut spec = node.cli("env", &["env"]);
    spec.process.env = vec![("A".into(), "1".into()), ("B".into(), "two words".into())];
    let (exit, entries) = node.run(&spec).await;
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
    assert_eq!(entries, ["stdout F A=1", "stdout F B=two words"]);
    let (exit, _) = node.run(&node.cli("failing", &["exit", "1"])).await;
    assert_eq!((exit.code, exit.reason.as_str()), (1, "Error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_can_be_read_and_written_only_where_they_are_writable() {
    let node = Node::new();
    let volume = node.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("given"), "from outside\n").unwrap();
    std::os::unix::fs::chown(&volume, Some(65534), Some(65534)).unwrap();
    let mount = |readonly| node.mount(&volume, "/data", readonly);
    for (id, readonly, args, code) in [
        ("read", true, &["cat", "/data/given"][..], 0),
        ("write", false, &["write", "/data/made", "by the pod"][..], 0),
        ("refused", true, &["write", "/data/other", "x"][..], 1),
        ("escape", false, &["cat", "/data/../../etc/passwd"][..], 1),
    ] {
        let mut spec = node.cli(id, args);
        spec.mounts = vec![mount(readonly)];
        let (exit, entries) = node.run(&spec).await;
        assert_eq!(exit.code, code, "{id}: {entries:?}");
    }
    assert_eq!(node.entries("read"), ["stdout F from outside"]);
    assert_eq!(std::fs::read_to_string(volume.join("made")).unwrap(), "by the pod");
    assert!(!volume.join("other").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_tells_where_it_happened() {
    let node = Node::new();
    let (exit, entries) = node.run(&node.cli("trap", &["trap"])).await;
    assert_eq!((exit.code, exit.reason.as_str()), (134, "WasmTrap"));
    assert!(exit.message.contains("unreachable") && exit.message.contains("\n  at "), "{}", exit.message);
    assert!(entries.iter().any(|entry| entry.contains("asked to trap")), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_beyond_its_memory_limit_is_killed_for_it() {
    let node = Node::new();
    let mut spec = node.cli("hungry", &["allocate"]);
    spec.resources.memory_limit = Some(32 << 20);
    let (exit, entries) = node.run(&spec).await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "OOMKilled"));
    assert!(exit.message.contains("33554432 bytes"), "{}", exit.message);
    assert!(entries.len() > 10 && entries.len() < 32, "{}", entries.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wasm_or_imports_what_nobody_grants_is_refused_with_its_name() {
    let node = Node::new();
    let refusal = |error: RuntimeError| match error {
        RuntimeError::Start { message, .. } => message,
        other => panic!("{other:?}"),
    };
    let error = refusal(node.runtime.start(&node.file("text", b"hello")).await.unwrap_err());
    assert!(error.contains("not a Wasm module"), "{error}");
    // (module (type (func)) (import "e" "forbidden" (func)) (func) (export "_start" (func 1)))
    let missing = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0f\x01\x01e\x09forbidden\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\x01\x0a\x04\x01\x02\0\x0b";
    let error = refusal(node.runtime.start(&node.file("missing", missing)).await.unwrap_err());
    assert!(error.contains("forbidden"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_program_is_not_run_but_compiled_anew() {
    let mut node = Node::new();
    node.run(&node.cli("first", &[])).await;
    let cache = node.dir.path().join("state/cache");
    let files = || std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let artifact = files().find(|path| path.extension().is_none() && !path.ends_with("key")).unwrap();
    let genuine = std::fs::read(&artifact).unwrap();
    let mut altered = genuine.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&artifact, altered).unwrap();
    node.restart();
    let (exit, entries) = node.run(&node.cli("second", &[])).await;
    assert_eq!((exit.code, entries), (0, vec!["stdout F Hello from a Wasm command".to_owned()]));
    assert_eq!(std::fs::read(&artifact).unwrap(), genuine);
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_says_why_there_is_none() {
    let node = Node::new();
    node.runtime.start(&node.cli("spin", &["spin"])).await.unwrap();
    let refused = node.runtime.exec("spin", ExecSpec::default()).await;
    assert!(matches!(refused, Err(RuntimeError::Unsupported { operation: "exec", .. })));
}
