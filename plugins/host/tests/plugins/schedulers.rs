use std::sync::Arc;

use mizzen_plugins_host::scheduler::{Cluster, Pod, Points};
use mizzen_plugins_host::{CallError, Minor, PolicyPlugin, SchedulerPlugin, World};

use crate::component::component;
use crate::guest::{ZEROS, host, options};

/// What a scheduler plugin does, as instructions; everything else lets pass.
struct Plugin<'a> {
    /// Built against the minor version before.
    before: bool,
    imports: &'a str,
    describe: &'a str,
    pre_filter: &'a str,
    filter: &'a str,
    score: &'a str,
}

impl Default for Plugin<'_> {
    fn default() -> Self {
        Self { before: false, imports: "", describe: ZEROS, pre_filter: ZEROS, filter: ZEROS, score: ZEROS }
    }
}

impl Plugin<'_> {
    fn bytes(&self) -> Vec<u8> {
        let text = include_str!("../guests/scheduler.wat")
            .replace(";;IMPORTS", self.imports)
            .replace("DESCRIBE", self.describe)
            .replace("PREFILTER", self.pre_filter)
            .replace("FILTER", self.filter)
            .replace("SCORE", self.score)
            .replace("PERMIT", ZEROS);
        component(if self.before { "scheduler/scheduler-plugin@0.1.0" } else { "scheduler/scheduler-plugin" }, &text)
    }

    async fn load(&self) -> SchedulerPlugin {
        let artifact = host().load(self.bytes().into()).await.expect("it loads");
        SchedulerPlugin::load(&artifact, options()).expect("it starts")
    }
}

fn pod() -> Pod {
    Pod {
        cycle: 1,
        uid: "u1".into(),
        namespace: "default".into(),
        name: "web".into(),
        labels: vec![("app".into(), "web".into())],
        annotations: Vec::new(),
        priority: 0,
        requests: vec![("cpu".into(), 100)],
        scoring: Vec::new(),
        node_selector: Vec::new(),
        tolerations: Vec::new(),
        affinity: None,
        owner: String::new(),
    }
}

/// An answer of two words at 0, the second of which is the first's length, and two more at 8.
fn lists(first: (u32, u32), second: (u32, u32)) -> String {
    let words = [first.0, first.1, second.0, second.1];
    let stores: String = (0..4).map(|n| format!("(i32.store (i32.const {}) (i32.const {}))", 4 * n, words[n])).collect();
    format!("{stores} (i32.const 0)")
}

#[tokio::test]
async fn a_plugin_that_does_nothing_lets_everything_pass() {
    let plugin =
        Plugin { describe: "(i32.store8 (i32.const 256) (i32.const 9)) (i32.const 256)", ..Plugin::default() }.load().await;
    assert_eq!(plugin.description().points, Points::FILTER | Points::SCORE);
    let mut session = plugin.session();
    assert_eq!(session.instance().unwrap(), 1);
    let state = session.pre_filter(&pod()).unwrap().unwrap();
    assert!(session.filter(1, &state, &[1, 2]).unwrap().nodes.is_empty());
    assert_eq!(session.score(1, &state, &[1, 2]).unwrap(), None);
    session.end(1).unwrap();
}

#[tokio::test]
async fn verdicts_name_their_rejection_once() {
    // The verdicts are the rows that came in (1 and 0): the first node is rejected.
    let filter = lists((70000, 2), (1216, 1)).replace("(i32.const 70000)", "(local.get $nodes)");
    let plugin = Plugin { filter: &filter, ..Plugin::default() }.load().await;
    let verdicts = plugin.session().filter(1, &Vec::new(), &[1, 0]).unwrap();
    assert_eq!(verdicts.nodes, [1, 0]);
    assert_eq!(verdicts.rejections[0].reasons, ["hello"]);
    let error = plugin.session().filter(1, &Vec::new(), &[7, 0]).unwrap_err();
    assert!(matches!(&error, CallError::Answer { why, .. } if why == "rejection 7 of 1"), "{error}");
    let error = plugin.session().filter(1, &Vec::new(), &[1, 0, 0]).unwrap_err();
    assert!(matches!(&error, CallError::Answer { why, .. } if why == "2 verdicts on 3 nodes"), "{error}");
}

#[tokio::test]
async fn too_few_scores_are_no_answer_and_the_instance_stays() {
    let score = lists((2048, 1), (0, 0));
    let plugin = Plugin { score: &score, ..Plugin::default() }.load().await;
    let mut session = plugin.session();
    let error = session.score(1, &Vec::new(), &[1, 2]).unwrap_err();
    assert!(matches!(&error, CallError::Answer { why, .. } if why == "1 scores for 2 nodes"), "{error}");
    assert_eq!(session.score(1, &Vec::new(), &[1]).unwrap(), Some(vec![0]));
    assert_eq!(session.instance().unwrap(), 1);
}

#[tokio::test]
async fn after_a_trap_another_instance_answers_and_says_that_it_is_another() {
    let filter = format!("(if (i32.eq (local.get $count) (i32.const 3)) (then (unreachable))) {ZEROS}");
    let plugin = Plugin { filter: &filter, ..Plugin::default() }.load().await;
    let mut session = plugin.session();
    assert!(matches!(session.filter(1, &Vec::new(), &[1, 2, 3]), Err(CallError::Trap { .. })));
    assert_eq!(session.instance().unwrap(), 2);
    assert!(session.filter(1, &Vec::new(), &[1, 2]).is_ok());
    drop(session);
    assert_eq!(plugin.status().errors, 1);
}

#[tokio::test]
async fn a_rejection_of_the_pod_is_an_answer() {
    // The error's rejection is behind its tag: a list of one string.
    let reject = "
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 4) (i32.const 1200))
        (i32.store (i32.const 8) (i32.const 1))
        (i32.const 0)";
    let plugin = Plugin { pre_filter: reject, ..Plugin::default() }.load().await;
    let rejection = plugin.session().pre_filter(&pod()).unwrap().unwrap_err();
    assert_eq!(rejection.reasons, ["hello"]);
}

#[tokio::test]
async fn a_scheduler_plugin_is_no_policy() {
    let artifact = host().load(Plugin::default().bytes().into()).await.unwrap();
    assert_eq!(artifact.world(), World::Scheduler);
    let error = PolicyPlugin::load(&artifact, options()).err().expect("it is none");
    assert_eq!(error.to_string(), "the component is a scheduler plugin, and an admission policy is needed");
}

#[tokio::test]
async fn a_plugin_of_the_minor_version_before_is_asked_the_same() {
    let filter = lists((70000, 2), (1216, 1)).replace("(i32.const 70000)", "(local.get $nodes)");
    let plugin = Plugin { before: true, filter: &filter, ..Plugin::default() };
    let artifact = host().load(plugin.bytes().into()).await.unwrap();
    assert_eq!((artifact.version(), artifact.minor()), ("0.1.0", Minor::Previous));
    let plugin = SchedulerPlugin::load(&artifact, options()).unwrap();
    let mut session = plugin.session();
    let state = session.pre_filter(&pod()).unwrap().unwrap();
    let verdicts = session.filter(1, &state, &[1, 0]).unwrap();
    assert_eq!((verdicts.nodes, &*verdicts.rejections[0].reasons), (vec![1, 0], &["hello".to_owned()][..]));
    drop(session);
    assert!(plugin.copy().is_ok());
}

struct OnePod;

impl Cluster for OnePod {
    fn node(&self, _: u32) -> Option<String> {
        None
    }

    fn pod(&self, cycle: u64) -> Option<String> {
        Some(format!(r#"{{"spec":{{"cycle":{cycle}}}}}"#))
    }

    fn pods_on(&self, _: u32, _: usize) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_part_of_the_pod_is_found_by_its_pointer() {
    let imports = r#"(import "mizzen:scheduler/cluster@0.2.0" "pod-value" (func $value (param i64 i32 i32 i32)))
        (data (i32.const 1300) "/spec/cycle")"#;
    // The reason is what stands there.
    let reject = "
        (call $value (i64.load (local.get $pod)) (i32.const 1300) (i32.const 11) (i32.const 512))
        (i32.store (i32.const 600) (i32.load (i32.const 516)))
        (i32.store (i32.const 604) (i32.load (i32.const 520)))
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 4) (i32.const 600))
        (i32.store (i32.const 8) (i32.const 1))
        (i32.const 0)";
    let plugin = Plugin { imports, pre_filter: reject, ..Plugin::default() }.load().await;
    plugin.follow(Arc::new(OnePod));
    assert_eq!(plugin.session().pre_filter(&pod()).unwrap().unwrap_err().reasons, ["1"]);
}
