use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mizzen_plugins_host::policy::{Context, Decision, Take};
use mizzen_plugins_host::{BreakerState, CallError, Grants, Host, HostOptions, Level, LoadError, LogSink, PluginOptions};
use mizzen_plugins_host::{Minor, PolicyPlugin, World};
use parking_lot::Mutex;

use crate::guest::{Policy, ZEROS, host, options, request};

const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";
const TRAP: &str = "(unreachable)";
/// Asks for a page of memory after the other, and traps when there is none.
const HOARD: &str = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)";

#[tokio::test]
async fn a_policy_that_has_nothing_to_say_allows() {
    let policy = Policy::default().load().await;
    let response = policy.review(&request()).unwrap();
    assert_eq!(response.decision, Decision::Allow);
    assert!(response.warnings.is_empty());
    assert!(!policy.description().mutating);
}

#[tokio::test]
async fn an_artifact_says_what_it_is_without_running() {
    let artifact = Policy { review: TRAP, configure: TRAP, ..Policy::default() }.artifact().await;
    assert_eq!((artifact.world(), artifact.version()), (World::Policy, "0.2.0"));
    assert_eq!(artifact.exports(), ["mizzen:policy/policy@0.2.0"]);
    assert!(artifact.imports().iter().any(|import| import == "mizzen:plugin/log@0.1.0"), "{:?}", artifact.imports());
    assert_eq!(artifact.needs().count(), 0);
    assert!(artifact.digest().starts_with("sha256:"));
    assert!(artifact.code_size() > 1000);
}

#[tokio::test]
async fn one_digest_is_compiled_once_while_it_is_in_use() {
    let (host, bytes) = (host(), Policy::default().bytes());
    let first = host.load(bytes.clone().into()).await.unwrap();
    let second = host.load(bytes.into()).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_guest_that_loops_ends_at_its_deadline() {
    let policy = Policy { review: ENDLESS, ..Policy::default() }.load().await;
    let begun = Instant::now();
    let error = policy.review(&request()).unwrap_err();
    assert!(matches!(error, CallError::Deadline { function: "review", .. }), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(policy.status().instances, 0, "it is given up");
}

#[tokio::test]
async fn a_guest_that_traps_says_where_and_is_replaced() {
    let second = "(if (i32.eq (global.get $reviews) (i32.const 2)) (then (unreachable))) (i32.const 0)";
    let policy = Policy { review: second, ..Policy::default() }.load().await;
    assert!(policy.review(&request()).is_ok());
    let error = policy.review(&request()).unwrap_err();
    assert!(matches!(&error, CallError::Trap { why, .. } if why.contains("unreachable")), "{error}");
    // Its memory is that of a new instance, so this is its first review.
    assert!(policy.review(&request()).is_ok());
    assert_eq!((policy.status().calls, policy.status().errors), (5, 1), "with the two of its start");
}

#[tokio::test]
async fn a_guest_that_hoards_memory_is_stopped_at_its_limit() {
    let policy = Policy { review: HOARD, ..Policy::default() }.load().await;
    let error = policy.review(&request()).unwrap_err();
    assert!(matches!(error, CallError::Memory { limit: 4_194_304, .. }), "{error}");
    let status = policy.status();
    assert_eq!((status.instances, status.memory), (0, 0), "what it hoarded is given back");
}

#[tokio::test]
async fn memory_counts_while_an_instance_is_kept() {
    let policy = Policy::default().load().await;
    assert!(policy.review(&request()).is_ok());
    let status = policy.status();
    // Two pages, and the tables through which components call each other.
    assert!(status.instances == 1 && (2 << 16..3 << 16).contains(&status.memory), "{status:?}");
}

#[tokio::test]
async fn a_guest_that_asks_for_too_much_at_the_start_is_not_loaded() {
    let mut options = options();
    options.limits.memory = 1 << 16;
    let error = Policy::default().try_load(options).await.err().expect("two pages do not fit in one");
    assert!(matches!(error, LoadError::Start(CallError::Memory { .. })), "{error}");
}

#[tokio::test]
async fn after_failures_in_a_row_the_plugin_is_left_alone_and_then_tried_again() {
    let policy = Policy { review: ASK, ..Policy::default() }.load().await;
    let objects = Arc::new(Objects::default());
    policy.follow(objects.clone());
    for _ in 0..3 {
        assert!(matches!(policy.review(&request()), Err(CallError::Trap { .. })));
    }
    assert_eq!(policy.status().breaker, BreakerState::Open);
    let calls = policy.status().calls;
    let Err(CallError::Open { retry_in, .. }) = policy.review(&request()) else { panic!("it was asked") };
    assert!(retry_in <= Duration::from_secs(1));
    assert_eq!((policy.status().calls, policy.status().refused), (calls, 1));
    let deadline = Instant::now() + Duration::from_secs(60);
    // In the end one call goes ahead to see how it is.
    while matches!(policy.review(&request()), Err(CallError::Open { .. })) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(policy.status().calls, calls + 1);
    let Err(CallError::Open { retry_in, .. }) = policy.review(&request()) else { panic!("it was asked") };
    assert!(retry_in > Duration::from_secs(1), "twice as long: {retry_in:?}");
    objects.0.store(12, Ordering::Relaxed);
    while policy.review(&request()).is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(policy.status().breaker, BreakerState::Closed);
}

#[tokio::test]
async fn an_import_that_nobody_granted_is_refused_by_its_name() {
    let text = r#"(component
        (import "wasi:sockets/instance-network@0.2.0" (instance (export "f" (func))))
        (instance $i)
        (export "mizzen:policy/policy@0.2.0" (instance $i)))"#;
    let artifact = host().load(wat::parse_str(text).unwrap().into()).await.unwrap();
    let load = |options| PolicyPlugin::load(&artifact, options).err().expect("it is refused").to_string();
    assert_eq!(load(options()), "the component imports wasi:sockets/instance-network@0.2.0, which is not granted");
    let grants = Grants(["wasi:sockets".to_owned()].into());
    assert!(load(PluginOptions { grants, ..options() }).contains("does not offer"));
    assert_eq!(artifact.needs().collect::<Vec<_>>(), ["wasi:sockets/instance-network@0.2.0"]);
}

#[tokio::test]
async fn what_is_no_plugin_is_refused() {
    let load = async |bytes: Vec<u8>| host().load(bytes.into()).await.expect_err("it is refused").to_string();
    assert_eq!(load(b"hello".to_vec()).await, "not a WebAssembly component or module");
    assert!(load(wat::parse_str("(component)").unwrap()).await.contains("exports neither"));
    let truncated = Policy::default().bytes();
    assert!(load(truncated[..truncated.len() / 2].to_vec()).await.contains("cannot be compiled"));
    assert!(load(vec![0; (64 << 20) + 1]).await.contains("too large"));
    let old = wat::parse_str(r#"(component (instance $i) (export "mizzen:policy/policy@0.9.0" (instance $i)))"#).unwrap();
    assert!(load(old).await.contains("was built for mizzen:policy/policy@0.9.0"));
    let empty = wat::parse_str(r#"(component (instance $i) (export "mizzen:policy/policy@0.2.0" (instance $i)))"#).unwrap();
    let artifact = host().load(empty.into()).await.unwrap();
    let error = PolicyPlugin::load(&artifact, options()).err().expect("it has no functions");
    assert!(matches!(error, LoadError::Link(_)), "{error}");
}

#[tokio::test]
async fn a_module_that_is_nobodys_policy_is_refused() {
    let artifact = host().load(wat::parse_str(r#"(module (import "a" "b" (func)))"#).unwrap().into()).await.unwrap();
    assert_eq!(artifact.world(), World::Module);
    assert_eq!(artifact.imports(), ["a.b"]);
    let error = PolicyPlugin::load(&artifact, options()).err().expect("it is no component");
    assert_eq!(error.to_string(), "the component is a core module, and an admission policy is needed");
}

#[tokio::test]
async fn settings_that_do_not_validate_keep_a_policy_out() {
    // An error whose text is "hello".
    let refuse = "
        (i32.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 4) (i32.const 1100))
        (i32.store (i32.const 8) (i32.const 5))
        (i32.const 0)";
    let error = Policy { validate: refuse, ..Policy::default() }.try_load(options()).await.err().expect("it is refused");
    assert_eq!(error.to_string(), "the settings are not valid: hello");
    let error = Policy { configure: TRAP, ..Policy::default() }.try_load(options()).await.err().expect("it is refused");
    assert!(matches!(error, LoadError::Start(CallError::Trap { .. })), "{error}");
}

/// A patch whose text is at 1024.
const PATCH: &str = "
    (i32.store (i32.const 0) (i32.const 2))
    (i32.store (i32.const 4) (i32.const 1024))
    (i32.store (i32.const 8) (i32.const 18))
    (i32.const 0)";

#[tokio::test]
async fn only_a_policy_that_says_so_changes_objects() {
    let quiet = Policy { review: PATCH, ..Policy::default() }.load().await;
    let error = quiet.review(&request()).unwrap_err();
    assert!(matches!(&error, CallError::Answer { why, .. } if why.contains("mutating")), "{error}");
    let configure = "(i32.store8 (i32.const 256) (i32.const 1)) (i32.const 256)";
    let mutating = Policy { configure, review: PATCH, ..Policy::default() }.load().await;
    let response = mutating.review(&request()).unwrap();
    assert_eq!(response.decision, Decision::Patch(r#"{"name":"changed"}"#.into()));
}

#[tokio::test]
async fn a_batch_has_an_answer_to_each_request() {
    let policy = Policy::default().load().await;
    let error = policy.review_batch(&[request(), request()]).unwrap_err();
    assert!(matches!(&error, CallError::Answer { why, .. } if why == "0 responses to 2 requests"), "{error}");
    assert_eq!(policy.review_batch(&[]).unwrap(), []);
}

#[derive(Default)]
struct Lines(Mutex<Vec<(Level, String)>>);

impl LogSink for Lines {
    fn write(&self, plugin: &str, level: Level, line: &str) {
        self.0.lock().push((level, format!("{plugin}: {line}")));
    }
}

#[tokio::test]
async fn lines_and_counts_of_a_guest_arrive_under_its_name() {
    let review = "
        (call $log (i32.const 2) (i32.const 1100) (i32.const 5))
        (call $count (i32.const 1200) (i32.const 7) (f64.const 2))
        (i32.const 0)";
    let log = Arc::new(Lines::default());
    let policy = Policy { review, ..Policy::default() }.try_load(PluginOptions { log: log.clone(), ..options() }).await.unwrap();
    policy.review(&request()).unwrap();
    policy.review(&request()).unwrap();
    assert_eq!(log.0.lock().as_slice(), [(Level::Warn, "test: hello".to_owned()), (Level::Warn, "test: hello".to_owned())]);
    let metrics: Vec<_> = policy.metrics().into_iter().map(|metric| (metric.name, metric.value)).collect();
    assert_eq!(metrics, [("reviews".to_owned(), 4.0)]);
}

/// So many objects of the api version `hello`.
#[derive(Default)]
struct Objects(AtomicU64);

impl Context for Objects {
    fn get(&self, _: &str, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }

    fn by_label(&self, _: &str, _: &str, _: &str, _: &str, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn by_index(&self, _: &str, _: &str, _: &str, _: &str, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn count(&self, api_version: &str, _: &str, _: &str) -> u64 {
        if api_version == "hello" { self.0.load(Ordering::Relaxed) } else { 0 }
    }

    fn namespace(&self, name: &str) -> Option<String> {
        Some(format!("{{\"name\":\"{name}\"}}"))
    }

    fn list(&self, _: &str, _: &str, _: &str, _: Take<'_>) -> bool {
        false
    }
}

/// Traps unless there are twelve.
const ASK: &str = "
    (if (i64.ne (i64.const 12) (call $objects
          (i32.const 1100) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
      (then (unreachable)))
    (i32.const 0)";

#[tokio::test]
async fn a_policy_asks_what_it_was_given() {
    let policy = Policy { review: ASK, ..Policy::default() }.load().await;
    assert!(policy.review(&request()).is_err(), "it has nothing to ask yet");
    policy.follow(Arc::new(Objects(12.into())));
    assert!(policy.review(&request()).is_ok());
}

#[tokio::test]
async fn random_bytes_are_given_in_bounds() {
    let ask = |count: u32| format!("(call $random (i32.const {count}) (i32.const 64)) {ZEROS}");
    let (some, many) = (ask(4096), ask(4097));
    assert!(Policy { review: &some, ..Policy::default() }.load().await.review(&request()).is_ok());
    let error = Policy { review: &many, ..Policy::default() }.load().await.review(&request()).unwrap_err();
    assert!(matches!(&error, CallError::Trap { why, .. } if why.contains("at most 4096")), "{error}");
}

#[tokio::test]
async fn a_sleep_beyond_the_deadline_ends_the_call_at_once_and_a_short_one_is_slept() {
    let imports = r#"
        (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#;
    let sleep = |milliseconds: u64| format!("(call $block (call $after (i64.const {milliseconds}000000))) {ZEROS}");
    let (hour, blink) = (sleep(3_600_000), sleep(20));
    let sleeper = Policy { imports, review: &hour, ..Policy::default() }.load().await;
    let begun = Instant::now();
    let error = sleeper.review(&request()).unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let sleeper = Policy { imports, review: &blink, ..Policy::default() }.load().await;
    let begun = Instant::now();
    assert!(sleeper.review(&request()).is_ok());
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn compiled_code_survives_restarts_and_a_tampered_file_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Host::new(HostOptions { cache: Some(folder.path().to_owned()), ..HostOptions::default() });
    let bytes = Policy::default().bytes();
    start().load(bytes.clone().into()).await.unwrap();
    let code = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "code")).collect::<Vec<_>>()
    };
    let [file] = code().try_into().expect("one file");
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    start().load(bytes.clone().into()).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "it was not compiled again");
    let genuine = std::fs::read(&file).unwrap();
    let mut tampered = genuine.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 0xff;
    std::fs::write(&file, &tampered).unwrap();
    let artifact = start().load(bytes.into()).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap().len(), genuine.len());
    assert_ne!(std::fs::read(&file).unwrap(), tampered);
    let policy = PolicyPlugin::load(&artifact, options()).unwrap();
    assert_eq!(policy.review(&request()).unwrap().decision, Decision::Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_at_the_same_time_have_instances_of_their_own() {
    let policy = Arc::new(Policy::default().load().await);
    let reviews = (0..8).map(|_| {
        let policy = Arc::clone(&policy);
        tokio::task::spawn_blocking(move || (0..100).all(|_| policy.review(&request()).is_ok()))
    });
    for review in reviews.collect::<Vec<_>>() {
        assert!(review.await.unwrap());
    }
    let status = policy.status();
    assert!(status.calls >= 800 && status.errors == 0, "{status:?}");
    assert!(status.instances <= 4, "{status:?}");
    assert!(status.p50 > Duration::ZERO && status.p99 >= status.p50);
}

#[tokio::test]
async fn a_quick_policy_answers_where_others_wait_and_a_slow_one_does_not_hold_them_up() {
    let quick = Policy::default().load().await;
    assert_eq!(quick.review_briefly(&request()).expect("it is quick").unwrap().decision, Decision::Allow);
    // The first review loops; the second is that of another instance, which loops too.
    let slow = Policy { review: ENDLESS, ..Policy::default() }.load().await;
    let begun = Instant::now();
    assert!(slow.review_briefly(&request()).is_none(), "it takes its time");
    assert!(begun.elapsed() < Duration::from_millis(200), "less than its deadline: {:?}", begun.elapsed());
    assert_eq!((slow.status().errors, slow.status().breaker), (0, BreakerState::Closed));
    assert!(slow.review_briefly(&request()).is_none(), "and is not tried again");
    assert!(matches!(slow.review(&request()), Err(CallError::Deadline { .. })));
}

#[tokio::test]
async fn a_policy_with_no_instance_at_hand_is_not_started_where_others_wait() {
    let policy = Policy { review: TRAP, ..Policy::default() }.load().await;
    assert!(policy.review_briefly(&request()).is_some_and(|answer| answer.is_err()));
    assert!(policy.review_briefly(&request()).is_none());
}

#[tokio::test]
async fn failures_at_what_is_stored_are_told_and_do_not_count() {
    let policy = Policy { batch: TRAP, ..Policy::default() }.load().await;
    let answers = policy.review_stored(&vec![request(); 40]);
    assert_eq!(answers.len(), 40);
    assert!(answers.iter().all(|answer| matches!(answer, Err(CallError::Trap { .. }))), "{answers:?}");
    let status = policy.status();
    assert_eq!((status.errors, status.breaker), (0, BreakerState::Closed));
    assert!(policy.review(&request()).is_ok());
}

/// Denies with `hello`.
const DENY: &str = "
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.store (i32.const 16) (i32.const 1100))
    (i32.store (i32.const 20) (i32.const 5))
    (i32.const 0)";

fn denial(decision: Decision) -> String {
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    denial.message
}

#[tokio::test]
async fn a_policy_of_the_minor_version_before_is_asked_the_same() {
    let artifact = Policy { before: true, review: DENY, ..Policy::default() }.artifact().await;
    assert_eq!((artifact.version(), artifact.minor()), ("0.1.0", Minor::Previous));
    let policy = PolicyPlugin::load(&artifact, options()).unwrap();
    assert_eq!(denial(policy.review(&request()).unwrap().decision), "hello");
    let policy = Policy { before: true, review: ASK, ..Policy::default() }.load().await;
    policy.follow(Arc::new(Objects(AtomicU64::new(12))));
    assert!(policy.review(&request()).is_ok());
}

#[tokio::test]
async fn a_policy_sees_the_namespace_of_the_request_under_review_and_no_other() {
    let imports = r#"(import "mizzen:policy/context@0.2.0" "namespace" (func $namespace (param i32 i32 i32)))
        (data (i32.const 1300) "default")"#;
    let deny = |name: &str| {
        format!(
            "(call $namespace {name} (i32.const 512))
            (i32.store8 (i32.const 0) (i32.const 1))
            (i32.store (i32.const 16) (i32.load (i32.const 516)))
            (i32.store (i32.const 20) (i32.load (i32.const 520)))
            (i32.const 0)"
        )
    };
    for (name, found) in [("(i32.const 1300) (i32.const 7)", r#"{"name":"default"}"#), ("(i32.const 1100) (i32.const 5)", "")] {
        let policy = Policy { imports, review: &deny(name), ..Policy::default() }.load().await;
        policy.follow(Arc::new(Objects::default()));
        assert_eq!(denial(policy.review(&request()).unwrap().decision), found);
    }
}

#[tokio::test]
async fn an_import_of_a_version_that_is_not_offered_is_refused_by_both_versions() {
    let text = r#"(component
        (import "mizzen:policy/context@0.7.0" (instance (export "count" (func))))
        (instance $i) (export "mizzen:policy/policy@0.2.0" (instance $i)))"#;
    let artifact = host().load(wat::parse_str(text).unwrap().into()).await.unwrap();
    let error = PolicyPlugin::load(&artifact, options()).err().expect("it is refused").to_string();
    assert!(error.contains("mizzen:policy/context@0.7.0, this server offers versions 0.2 and 0.1: it is too new"), "{error}");
}
