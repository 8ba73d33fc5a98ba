//! Policies of Kubewarden that do wrong. What does right is built with Kubewarden's own SDK (tests/kubectl/kubewarden.rs).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mizzen_plugins_host::policy::{Context, Decision, Request, Take};
use mizzen_plugins_host::{
    Artifact, BreakerState, CallError, Grants, Host, HostOptions, Limits, LoadError, Outside, PluginOptions, PolicyPlugin,
    SchedulerPlugin, World,
};
use serde_json::{Value, json};

use crate::guest::{host, options, request};

/// A waPC guest that answers the text at 16 to everything; `CALL` runs before and leaves whether it succeeded.
fn wapc(call: &str) -> String {
    format!(
        r#"(module
            (import "wapc" "__guest_request" (func $request (param i32 i32)))
            (import "wapc" "__guest_response" (func $response (param i32 i32)))
            (import "wapc" "__guest_error" (func $error (param i32 i32)))
            (import "wapc" "__host_call" (func $ask (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "wapc" "__host_error_len" (func $why_len (result i32)))
            (import "wapc" "__host_error" (func $why (param i32)))
            (memory (export "memory") 2)
            (data (i32.const 16) "{{\"valid\":true,\"accepted\":true}}")
            (data (i32.const 100) "kubewarden")
            (data (i32.const 120) "kubernetes")
            (data (i32.const 140) "list_resources_all")
            (data (i32.const 160) "{{\"api_version\":\"v1\",\"kind\":\"Secret\"}}")
            (global $calls (mut i32) (i32.const 0))
            (func (export "__guest_call") (param $operation i32) (param $payload i32) (result i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (call $response (i32.const 16) (i32.const 30))
                (if (result i32) (i32.eq (local.get $operation) (i32.const 8))
                    (then {call})
                    (else (i32.const 1))))
            (@custom "io.kubewarden.metadata" "{{\"protocolVersion\":\"v1\",\"mutating\":false}}"))"#
    )
}

/// A program that says the text at 16; `RUN` runs before, and may read the request to 1024 by the buffer at 80.
fn program(run: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "host" "call" (func $ask (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 16) "{{\"valid\":true,\"accepted\":true}}")
            (data (i32.const 64) "\10\00\00\00\1e\00\00\00")
            (data (i32.const 80) "\00\04\00\00\00\f0\00\00")
            (data (i32.const 100) "kubewarden")
            (data (i32.const 120) "kubernetes")
            (data (i32.const 140) "list_resources_all")
            (data (i32.const 160) "{{\"api_version\":\"v1\",\"kind\":\"Namespace\"}}")
            (global $runs (mut i32) (i32.const 0))
            (func $say (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 96))))
            (func (export "_start") (local $arguments i32)
                (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
                (drop (call $sizes (i32.const 200) (i32.const 204)))
                ;; "validate" is shorter than "validate-settings".
                (if (i32.lt_u (i32.load (i32.const 204)) (i32.const 25)) (then {run}))
                (call $say))
            (@custom "io.kubewarden.metadata"
                "{{\"protocolVersion\":\"v1\",\"mutating\":false,\"executionMode\":\"wasi\",\"contextAwareResources\":[{{\"apiVersion\":\"v1\",\"kind\":\"Namespace\"}}]}}"))"#
    )
}

async fn artifact(text: &str) -> Result<Arc<Artifact>, LoadError> {
    host().load(wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")).into()).await
}

async fn load(text: &str) -> Result<PolicyPlugin, LoadError> {
    PolicyPlugin::load(&*artifact(text).await?, options())
}

/// For what takes a while on a busy machine.
async fn load_patiently(text: &str) -> PolicyPlugin {
    let limits = Limits { deadline: Duration::from_secs(5), ..options().limits };
    let artifact = artifact(text).await.expect("compiles");
    PolicyPlugin::load(&artifact, PluginOptions { limits, ..options() }).expect("loads")
}

async fn refused(text: &str) -> String {
    load(text).await.err().expect("it is refused").to_string()
}

#[tokio::test]
async fn both_kinds_answer_and_say_what_they_are() {
    for (text, mode) in [(wapc("(i32.const 1)"), "kubewarden-wapc"), (program(""), "wasi")] {
        let artifact = artifact(&text).await.unwrap();
        assert_eq!((artifact.world(), artifact.version()), (World::Kubewarden, "v1"));
        assert_eq!(artifact.kubewarden().unwrap().execution_mode.to_string(), mode);
        assert_eq!(artifact.needs().count(), 0);
        let policy = PolicyPlugin::load(&artifact, options()).unwrap();
        assert_eq!(policy.review(&request()).unwrap().decision, Decision::Allow, "{mode}");
        assert_eq!(policy.review_batch(&[request(), request()]).unwrap().len(), 2);
        assert!(!policy.description().mutating);
        let error = SchedulerPlugin::load(&artifact, options()).err().expect("it is no scheduler plugin");
        assert_eq!(error.to_string(), "the component is a Kubewarden policy, and a scheduler plugin is needed");
    }
}

#[tokio::test]
async fn a_guest_stays_and_a_program_is_run_anew() {
    let second = "(if (result i32) (i32.gt_u (global.get $calls) (i32.const 2)) (then (unreachable)) (else (i32.const 1)))";
    let guest = load(&wapc(second)).await.unwrap();
    assert!(guest.review(&request()).is_ok());
    assert!(matches!(guest.review(&request()), Err(CallError::Trap { .. })), "it remembers");
    assert_eq!(guest.status().instances, 0, "and is given up");
    let program = load(&program("(if (i32.gt_u (global.get $runs) (i32.const 1)) (then (unreachable)))")).await.unwrap();
    for _ in 0..3 {
        assert!(program.review(&request()).is_ok());
    }
    assert_eq!(program.status().instances, 0);
}

#[tokio::test]
async fn what_fails_is_named() {
    let policy = load(&wapc("(call $error (i32.const 100) (i32.const 10)) (i32.const 0)")).await.unwrap();
    let error = policy.review(&request()).unwrap_err();
    assert!(matches!(&error, CallError::Answer { function: "validate", why, .. } if why == "kubewarden"), "{error}");
    let policy = load(&wapc("(call $response (i32.const 100) (i32.const 10)) (i32.const 1)")).await.unwrap();
    assert!(policy.review(&request()).unwrap_err().to_string().contains("no ValidationResponse"));
    let policy = load(&program("(call $exit (i32.const 3))")).await.unwrap();
    assert!(policy.review(&request()).unwrap_err().to_string().contains("ended with status 3"));
    // Leaving with 0 is a program's ordinary end.
    let policy = load(&program("(call $say) (call $exit (i32.const 0))")).await.unwrap();
    assert!(policy.review(&request()).is_ok());
}

#[tokio::test]
async fn a_policy_that_fails_at_what_is_asked_goes_on_being_asked() {
    for text in [wapc("(call $error (i32.const 100) (i32.const 10)) (i32.const 0)"), program("(call $exit (i32.const 3))")] {
        let policy = load(&text).await.unwrap();
        for _ in 0..10 {
            assert!(matches!(policy.review(&request()), Err(CallError::Answer { .. })));
        }
        let status = policy.status();
        assert_eq!((status.errors, status.refused, status.breaker), (10, 0, BreakerState::Closed));
    }
}

/// Buffers of so many bytes each at 65536, up to the end of the memory: 8,192 of them.
fn buffers(at: u32, size: u32) -> String {
    format!(
        "(local.set $arguments (i32.const 65536))
        (loop $next
            (i32.store (local.get $arguments) (i32.const {at}))
            (i32.store offset=4 (local.get $arguments) (i32.const {size}))
            (local.set $arguments (i32.add (local.get $arguments) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $arguments) (i32.const 131072))))"
    )
}

#[tokio::test]
async fn one_call_of_the_host_does_so_much_and_no_more() {
    let does = |run: &str, wanted: u32| {
        program(&format!(
            "(if {run} (then (unreachable))) (if (i32.ne (i32.load (i32.const 96)) (i32.const {wanted})) (then (unreachable)))"
        ))
    };
    let many = "(i32.const 65536) (i32.const 8192) (i32.const 96)";
    let writes = does(&format!("(block (result i32) {} (call $write (i32.const 2) {many}))", buffers(16, 40_000)), 65536);
    let reads = does(&format!("(block (result i32) {} (call $read (i32.const 0) {many}))", buffers(1024, 1)), 1024);
    let polls = "(i32.ne (call $poll (i32.const 512) (i32.const 600) (i32.const 1025) (i32.const 700)) (i32.const 28))";
    let long = Request { object: Some(format!("{{\"kind\":\"{}\"}}", "x".repeat(4096))), ..request() };
    for text in [writes, reads, program(&format!("(if {polls} (then (unreachable)))"))] {
        let answer = load_patiently(&text).await.review(&long);
        assert!(answer.is_ok(), "{answer:?}\n{text}");
    }
}

#[tokio::test]
async fn a_pointer_outside_of_the_memory_is_a_trap_and_no_more() {
    for call in [
        "(call $response (i32.const 16) (i32.const -1)) (i32.const 1)",
        "(call $response (i32.const -1) (i32.const 2)) (i32.const 1)",
        "(call $request (i32.const -8) (i32.const 0)) (i32.const 1)",
        "(call $error (i32.const 131072) (i32.const 1)) (i32.const 0)",
        "(call $ask (i32.const -1) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
    ] {
        let error = load(&wapc(call)).await.unwrap().review(&request()).unwrap_err();
        assert!(matches!(&error, CallError::Trap { why, .. } if why.contains("not in its memory")), "{error}");
    }
    let policy =
        load(&program("(drop (call $read (i32.const 0) (i32.const 131070) (i32.const 9) (i32.const 0)))")).await.unwrap();
    assert!(matches!(policy.review(&request()), Err(CallError::Trap { .. })));
}

#[tokio::test]
async fn deadlines_and_memory_hold_for_both() {
    let endless = "(loop $again (br $again)) (unreachable)";
    let hoard = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)";
    for text in [wapc(endless), program(endless)] {
        let error = load(&text).await.unwrap().review(&request()).unwrap_err();
        assert!(matches!(error, CallError::Deadline { function: "validate", .. }), "{error}");
    }
    for text in [wapc(hoard), program(hoard)] {
        let error = load(&text).await.unwrap().review(&request()).unwrap_err();
        assert!(matches!(error, CallError::Memory { limit: 4_194_304, .. }), "{error}");
    }
    let flood = "(loop $again (br_if $again (i32.eqz (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 96)))))";
    let error = load(&program(flood)).await.unwrap().review(&request()).unwrap_err();
    assert!(matches!(error, CallError::Answer { .. } | CallError::Deadline { .. }), "what it wrote is bounded: {error}");
}

#[tokio::test]
async fn a_program_that_sleeps_beyond_its_deadline_ends_at_once() {
    // A subscription to the monotonic clock, an hour (3.6e12 ns) from now, is at 512.
    let sleep = "(i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const 3600000000000))
        (drop (call $poll (i32.const 512) (i32.const 600) (i32.const 1) (i32.const 700)))";
    let begun = Instant::now();
    let error = load(&program(sleep)).await.unwrap().review(&request()).unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_program_reads_its_request_and_opens_nothing() {
    let reads = "
        (if (call $read (i32.const 0) (i32.const 80) (i32.const 1) (i32.const 96)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 1024)) (i32.const 0x6572227b)) (then (unreachable)))
        (if (i32.ne (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0)
            (i32.const 0) (i32.const 0)) (i32.const 76)) (then (unreachable)))";
    // `{"re` are the first letters of `{"request":`.
    let answer = load(&program(reads)).await.unwrap().review(&request());
    assert!(answer.is_ok(), "{answer:?}");
}

/// The namespaces there are, and how many of them were handed over.
#[derive(Default)]
struct Namespaces {
    objects: Vec<String>,
    handed: AtomicUsize,
}

impl Context for Namespaces {
    fn get(&self, _: &str, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }

    fn by_label(&self, _: &str, _: &str, _: &str, _: &str, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn by_index(&self, _: &str, _: &str, _: &str, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn count(&self, _: &str, _: &str, _: &str) -> u64 {
        0
    }

    fn namespace(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    fn list(&self, _: &str, kind: &str, _: &str, take: Take<'_>) -> bool {
        let mut counted = self.objects.iter().inspect(|_| {
            self.handed.fetch_add(1, Ordering::Relaxed);
        });
        let _ = counted.try_for_each(|object| take(object));
        kind == "Namespace"
    }
}

/// Asks for the kind at 160, and leaves whether that succeeded (waPC) or failed (programs).
fn ask(size: usize) -> String {
    format!(
        "(call $ask (i32.const 100) (i32.const 10) (i32.const 120) (i32.const 10) (i32.const 140) (i32.const 18)
            (i32.const 160) (i32.const {size}))"
    )
}

/// Fails with what the host said why it does not answer.
fn fail_if_refused(ask: &str) -> String {
    format!(
        "(if {ask} (then (unreachable)))
        (call $why (i32.const 2048))
        (call $error (i32.const 2048) (call $why_len)) (i32.const 0)"
    )
}

#[tokio::test]
async fn answers_that_a_program_does_not_read_count_as_its_memory() {
    let policy = load_patiently(&program(&format!("(loop $again (drop {}) (br $again))", ask(39)))).await;
    policy.follow(Arc::new(Namespaces { objects: vec!["x".repeat(1 << 20)], ..Namespaces::default() }));
    let error = policy.review(&request()).unwrap_err();
    assert!(matches!(error, CallError::Memory { limit: 4_194_304, .. }), "{error}");
}

#[tokio::test]
async fn a_list_that_is_too_long_is_not_gone_through_to_its_end() {
    let policy = load_patiently(&wapc(&fail_if_refused(&ask(39))).replace("Secret", "Namespace")).await;
    let namespaces = Arc::new(Namespaces { objects: vec!["x".repeat(1 << 10); 10_000], ..Namespaces::default() });
    policy.follow(namespaces.clone());
    let error = policy.review(&request()).unwrap_err().to_string();
    assert!(error.contains("the list of v1 Namespace has more than 4194304 bytes"), "{error}");
    let handed = namespaces.handed.load(Ordering::Relaxed);
    assert!((4000..4100).contains(&handed), "{handed}");
}

#[tokio::test]
async fn a_question_has_an_end() {
    let asks = format!("(drop (memory.grow (i32.const 20))) {}", fail_if_refused(&ask((1 << 20) + 1)));
    let policy = load(&wapc(&asks)).await.unwrap();
    policy.follow(Arc::new(Namespaces::default()));
    let error = policy.review(&request()).unwrap_err().to_string();
    assert!(error.contains("kubernetes/list_resources_all is asked in more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn what_is_not_granted_is_refused_when_it_is_asked_for() {
    let ask = fail_if_refused(&ask(36));
    let policy = load(&wapc(&ask)).await.unwrap();
    assert!(policy.review(&request()).unwrap_err().to_string().contains("may not ask for objects of the cluster"));
    let policy = load(&wapc(&ask)).await.unwrap();
    policy.follow(Arc::new(Namespaces::default()));
    assert!(policy.review(&request()).unwrap_err().to_string().contains("may not ask for v1 Secret"));
    let policy = load(&wapc(&ask.replace("(i32.const 140) (i32.const 18)", "(i32.const 100) (i32.const 10)"))).await.unwrap();
    let error = policy.review(&request()).unwrap_err().to_string();
    assert!(error.contains("host capability kubernetes/kubewarden is not offered"), "{error}");
}

/// Knows one host and one image.
struct Known;

impl Outside for Known {
    fn access(&self, spec: Value, _: Instant) -> Result<Value, String> {
        Ok(json!({"allowed": spec["user"] == "ann"}))
    }

    fn addresses(&self, host: &str, until: Instant) -> Result<Vec<IpAddr>, String> {
        assert!(until > Instant::now(), "it is the call's deadline");
        match host {
            "example.com" => Ok(vec![IpAddr::from([10, 0, 0, 1])]),
            other => Err(format!("no such host: {other}")),
        }
    }

    fn manifest(&self, reference: &str, _: Instant) -> Result<(String, Vec<u8>), String> {
        Ok((format!("sha256:of-{reference}"), b"{}".to_vec()))
    }
}

/// Asks `namespace/v1/operation` and accepts; says why where it is told why not.
fn asking(namespace: &str, operation: &str, payload: &str) -> String {
    let ask = format!(
        "(if (i32.eqz (call $ask (i32.const 100) (i32.const 10) (i32.const 120) (i32.const {}) (i32.const 140) (i32.const {})
            (i32.const 160) (i32.const {})))
          (then (call $why (i32.const 2048)) (call $error (i32.const 2048) (call $why_len)) (return (i32.const 0))))
        (i32.const 1)",
        namespace.len(),
        operation.len(),
        payload.len()
    );
    let text = wapc(&ask).replace("\"kubernetes\"", &format!("{namespace:?}"));
    let text = text.replace("\"list_resources_all\"", &format!("{operation:?}"));
    text.replace(r#""{\"api_version\":\"v1\",\"kind\":\"Secret\"}""#, &format!("{payload:?}"))
}

#[tokio::test]
async fn what_is_outside_is_asked_for_where_it_is_granted() {
    let host = Host::new(HostOptions { outside: Some(Arc::new(Known)), ..HostOptions::default() });
    let said = async |text: &str, granted: &[&str]| {
        let artifact = host.load(wat::parse_str(text).unwrap().into()).await.unwrap();
        let grants = Grants(granted.iter().map(|name| (*name).to_owned()).collect());
        let policy = PolicyPlugin::load(&artifact, PluginOptions { grants, ..options() })?;
        Ok::<_, LoadError>(policy.review(&request()).err().map(|error| error.to_string()).unwrap_or_default())
    };
    let lookup = |host: &str| asking("net", "v1/dns_lookup_host", &format!("{host:?}"));
    for granted in ["net/v1/dns_lookup_host", "net/*"] {
        assert_eq!(said(&lookup("example.com"), &[granted]).await.unwrap(), "");
    }
    assert!(said(&lookup("example.org"), &["net/*"]).await.unwrap().contains("no such host: example.org"));
    let why = said(&lookup("example.com"), &["context", "oci/*"]).await.unwrap();
    assert!(why.contains("the host capability net/v1/dns_lookup_host is not granted"), "{why}");
    let image = |operation: &str| asking("oci", operation, "\"example.com/a:v1\"");
    assert_eq!(said(&image("v1/manifest_digest"), &["oci/*"]).await.unwrap(), "");
    assert_eq!(said(&image("v1/oci_manifest"), &["oci/*"]).await.unwrap(), "");
    let why = said(&image("v1/verify"), &["oci/*"]).await.unwrap();
    assert!(why.contains("the host capability oci/v1/verify is not offered by this server"), "{why}");
    let access = r#"{"subject_access_review":{"user":"ann","resource_attributes":{"verb":"get","resource":"pods"}}}"#;
    assert_eq!(said(&asking("kubernetes", "can_i", access), &["kubernetes/can_i"]).await.unwrap(), "");
    // What its metadata lists must be granted for it to be loaded.
    let listed = lookup("example.com")
        .replace("\\\"mutating\\\"", "\\\"hostCapabilities\\\":[\\\"net/v1/dns_lookup_host\\\"],\\\"mutating\\\"");
    let error = said(&listed, &["context"]).await.unwrap_err();
    assert_eq!(error.to_string(), "the policy needs the host capability net/v1/dns_lookup_host, which is not granted");
    assert_eq!(said(&listed, &["net/*"]).await.unwrap(), "");
}

#[tokio::test]
async fn what_it_needs_is_said_when_it_is_loaded() {
    assert_eq!(load(&program("")).await.unwrap().description().needs[0].kind, "Namespace");
    let import = wapc("(i32.const 1)").replace("(memory", "(import \"env\" \"shell\" (func)) (memory");
    assert_eq!(refused(&import).await, "the component imports env.shell, which is not granted");
    let signing =
        wapc("(i32.const 1)").replace("\\\"mutating\\\"", "\\\"hostCapabilities\\\":[\\\"oci/v1/verify\\\"],\\\"mutating\\\"");
    assert!(refused(&signing).await.contains("oci/v1/verify, which this server does not offer"));
    let newer = wapc("(i32.const 1)").replace("\\\"v1\\\"", "\\\"v2\\\"");
    assert!(refused(&newer).await.contains("speaks the protocol \"v2\""));
    let rego = r#"(module (func (export "opa_eval")) (@custom "io.kubewarden.metadata" "{\"executionMode\":\"gatekeeper\"}"))"#;
    assert!(refused(rego).await.contains("execution mode gatekeeper"));
    assert!(refused(r#"(module (func (export "opa_eval")))"#).await.contains("Rego"));
    let plain = refused(r#"(module (func (export "_start")))"#).await;
    assert_eq!(plain, "the component is a core module, and an admission policy is needed");
}

#[tokio::test]
async fn settings_are_asked_about() {
    let invalid = |text: String| {
        text.replace("{\\\"valid\\\":true,\\\"accepted\\\":true}", "{\\\"valid\\\":false,\\\"message\\\":\\\"no\\\"}")
    };
    for text in [wapc("(i32.const 1)"), program("")] {
        assert_eq!(refused(&invalid(text)).await, "the settings are not valid: no");
    }
    let broken = PluginOptions { settings: "{".to_owned(), ..options() };
    let artifact = artifact(&program("")).await.unwrap();
    assert!(matches!(PolicyPlugin::load(&artifact, broken), Err(LoadError::Settings(_))));
}

#[tokio::test]
async fn compiled_modules_are_kept_and_verified_as_components_are() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Host::new(HostOptions { cache: Some(folder.path().to_owned()), ..HostOptions::default() });
    let bytes = wat::parse_str(wapc("(i32.const 1)")).unwrap();
    start().load(bytes.clone().into()).await.unwrap();
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let [file] = files.filter(|path| path.extension().is_some_and(|end| end == "code")).collect::<Vec<_>>().try_into().unwrap();
    let mut tampered = std::fs::read(&file).unwrap();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 0xff;
    std::fs::write(&file, &tampered).unwrap();
    let artifact = start().load(bytes.into()).await.unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), tampered, "it was compiled again");
    assert!(PolicyPlugin::load(&artifact, options()).unwrap().review(&request()).is_ok());
}
