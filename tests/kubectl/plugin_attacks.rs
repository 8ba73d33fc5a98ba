//! Plugins that were written to do harm: each ends with its name on what it did, nobody else waits, and as soon as its component is
//! a good one it works.

use std::time::{Duration, Instant};

use mizzen_tests::hollow::Hollow;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

use crate::guests::{Policy, Scheduler};

/// What anybody may have to wait beside such a plugin; on a busy machine kubectl alone takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn ready(cluster: &Cluster, kind: &str, name: &str) -> Option<(String, String, String)> {
    let object: Value = serde_json::from_str(&cluster.kubectl(&["get", kind, name, "-o", "json"]).ok()).expect("JSON");
    let conditions = object["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    let is_new = ready["observedGeneration"] == object["metadata"]["generation"];
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    is_new.then(|| (text("status"), text("reason"), text("message")))
}

/// Text of a loop that never ends.
fn forever(what: &str) -> String {
    format!("(loop $again {what} (br $again)) (unreachable)")
}

fn guard(cluster: &Cluster, name: &str, image: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: mizzen.dev/v1alpha1\nkind: ClusterAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  image: {image}\n  \
         refreshSeconds: 1\n  limits: {{memory: 16Mi, deadlineMilliseconds: 100}}\n  matchConstraints: {{resourceRules: \
         [{{apiGroups: [''], apiVersions: ['*'], operations: [CREATE], resources: [configmaps]}}]}}\n"
    ));
}

/// Others are answered meanwhile.
fn others_go_on(cluster: &Cluster, name: &str) {
    let begun = Instant::now();
    cluster.kubectl(&["create", "secret", "generic", name]).ok();
    cluster.kubectl(&["delete", "secret", name]).ok();
    assert!(begun.elapsed() < PATIENCE, "{name}: {:?}", begun.elapsed());
}

#[test]
fn policies_that_do_harm_at_their_start_are_not_put_to_work() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let (endless, deep) = (forever(""), "(func $deep (call $deep)) (start $deep)");
    let starts = format!("(func $endless {endless}) (start $endless)");
    let hoard = forever("(drop (memory.grow (i32.const 16)))");
    let cases = [
        ("start", Policy { imports: &starts, ..Policy::default() }),
        ("deep", Policy { imports: deep, ..Policy::default() }),
        ("hoard", Policy { configure: &hoard, ..Policy::default() }),
        // Memory that the module asks for before it runs.
        ("giant", Policy { imports: "(memory 60000)", ..Policy::default() }),
        // Needs without end: their list lies within the memory, a text for each of eight bytes.
        (
            "needy",
            Policy {
                configure: "(drop (memory.grow (i32.const 128))) (i32.store (i32.const 4) (i32.const 65536))
                    (i32.store (i32.const 8) (i32.const 200000)) (i32.const 0)",
                ..Policy::default()
            },
        ),
    ];
    for (name, policy) in cases {
        guard(&cluster, name, &images::component(&registry, &policy.bytes(), &format!("{name}:v1")));
        others_go_on(&cluster, name);
        let (reason, message) = eventually(&format!("{name} is refused"), || {
            let (status, reason, message) = ready(&cluster, "clusteradmissionpolicy", name)?;
            (status == "False" && reason != "Compiling").then_some((reason, message))
        });
        println!("{name}: {reason}: {message}");
        assert!(["NotStarted", "CapabilityMissing", "CompileFailed"].contains(&reason.as_str()), "{name}: {reason}: {message}");
        images::component(&registry, &Policy::default().bytes(), &format!("{name}:v1"));
        cluster.kubectl_wait("condition=Ready", &[&format!("clusteradmissionpolicy/{name}")]);
    }
    cluster.kubectl(&["create", "configmap", "a"]).ok();
}

#[test]
fn policies_that_do_harm_in_a_review_refuse_what_they_are_asked_about_and_nothing_else() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let log = forever("(call $log (i32.const 1) (i32.const 1100) (i32.const 5))");
    let metric = forever("(call $count (i32.const 1200) (i32.const 7) (f64.const nan))");
    let random = forever("(call $random (i32.const 4096) (i32.const 512))");
    let ask = forever(
        "(drop (call $objects (i32.const 0) (i32.const 65536) (i32.const 0) (i32.const 65536) (i32.const 0) (i32.const 65536)))",
    );
    let table = forever("(drop (table.grow $t (ref.null func) (i32.const 10000)))");
    // Where a response has its warnings: a place, and how many.
    let warnings = |grow: u32, count: u32| {
        format!(
            "(drop (memory.grow (i32.const {grow}))) (i32.store (i32.const 24) (i32.const 65536)) (i32.store (i32.const 28) \
             (i32.const {count})) (i32.const 0)"
        )
    };
    let (beyond, many) = (warnings(0, 0x0fff_ffff), warnings(200, 1_600_000));
    // Each of a thousand warnings is the same twelve megabytes.
    let same = "(drop (memory.grow (i32.const 200))) (loop $again
          (i32.store (i32.add (i32.const 2048) (i32.mul (i32.const 8) (global.get $reviews))) (i32.const 70000))
          (i32.store (i32.add (i32.const 2052) (i32.mul (i32.const 8) (global.get $reviews))) (i32.const 12000000))
          (global.set $reviews (i32.add (global.get $reviews) (i32.const 1)))
          (br_if $again (i32.lt_u (global.get $reviews) (i32.const 1000))))
        (i32.store (i32.const 24) (i32.const 2048)) (i32.store (i32.const 28) (i32.const 1000)) (i32.const 0)";
    // A message that is no UTF-8, and a decision that there is not.
    let garbage = "(i64.store (i32.const 1300) (i64.const -1)) (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 16) (i32.const 1300)) (i32.store (i32.const 20) (i32.const 8)) (i32.const 0)";
    let decision = "(i32.store8 (i32.const 0) (i32.const 77)) (i32.const 0)";
    let cases = [
        ("deep", "(func $deep (call $deep))", "(call $deep) (i32.const 0)"),
        ("log", "", log.as_str()),
        ("metric", "", &metric),
        ("random", "", &random),
        ("ask", "", &ask),
        ("table", "(table $t 1 funcref)", &table),
        ("beyond", "", &beyond),
        ("many", "", &many),
        ("same", "", same),
        ("garbage", "", garbage),
        ("decision", "", decision),
        ("address", "", "(i32.const -4)"),
    ];
    for (name, imports, review) in cases {
        let image = images::component(&registry, &Policy { imports, review, ..Policy::default() }.bytes(), &format!("{name}:v1"));
        guard(&cluster, name, &image);
        cluster.kubectl_wait("condition=Ready", &[&format!("clusteradmissionpolicy/{name}")]);
        let begun = Instant::now();
        let said = cluster.kubectl(&["create", "configmap", "a"]).err();
        println!("{name}: {:?}: {}", begun.elapsed(), said.trim());
        assert!(said.contains(&format!("failed calling admission policy {name:?}")), "{name}: {said}");
        assert!(begun.elapsed() < PATIENCE, "{name}: {:?}", begun.elapsed());
        others_go_on(&cluster, name);
        images::component(&registry, &Policy::default().bytes(), &format!("{name}:v1"));
        eventually(&format!("{name} works"), || (cluster.kubectl(&["create", "configmap", "a"]).code == Some(0)).then_some(()));
        cluster.kubectl(&["delete", "configmap", "a"]).ok();
        cluster.kubectl(&["delete", "clusteradmissionpolicy", name]).ok();
    }
}

#[test]
fn scheduler_plugins_that_do_harm_are_left_out_and_pods_are_placed() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let _nodes = Hollow::start(&cluster, &["--nodes", "4"], "");
    let all = "(i32.store8 (i32.const 256) (i32.const 9)) (i32.const 256)";
    let endless = forever("");
    let table = forever("(drop (table.grow $t (ref.null func) (i32.const 10000)))");
    let answer = |place: u32, count: u32, more: (u32, u32)| {
        let words = [place, count, more.0, more.1].into_iter().enumerate();
        let stores = words.map(|(n, word)| format!("(i32.store (i32.const {}) (i32.const {word}))", 4 * n));
        stores.collect::<String>() + "(i32.const 0)"
    };
    let (few, beyond, none) = (answer(900, 1, (0, 0)), answer(0, 0x0fff_ffff, (0, 0)), answer(70_000, 4, (0, 0)));
    // A rejection of each node, of which there is none.
    let none = none.replace("(i32.const 70000)", "(local.get $nodes)");
    let wild = "(i64.store (i32.const 800) (i64.const -9223372036854775808)) (i64.store (i32.const 808) (i64.const \
                9223372036854775807)) (i32.store (i32.const 0) (i32.const 800)) (i32.store (i32.const 4) (local.get $count)) \
                (i32.const 0)";
    let plain = Scheduler { describe: all, ..Scheduler::default() };
    let cases = [
        ("endless", Scheduler { filter: &endless, ..plain }),
        ("deep", Scheduler { imports: "(func $deep (call $deep))", filter: "(call $deep) (i32.const 0)", ..plain }),
        ("table", Scheduler { imports: "(table $t 1 funcref)", score: &table, ..plain }),
        ("few", Scheduler { filter: &few, ..plain }),
        ("beyond", Scheduler { filter: &beyond, ..plain }),
        ("none", Scheduler { filter: &none, ..plain }),
        ("few-scores", Scheduler { score: &few, ..plain }),
        ("beyond-scores", Scheduler { score: &beyond, ..plain }),
        ("wild-scores", Scheduler { score: wild, ..plain }),
        ("trap", Scheduler { pre_filter: "(unreachable)", ..plain }),
    ];
    for (name, plugin) in cases {
        let image = images::component(&registry, &plugin.bytes(), &format!("{name}:v1"));
        cluster.kubectl_apply(&format!(
            "apiVersion: mizzen.dev/v1alpha1\nkind: SchedulerPlugin\nmetadata: {{name: {name}}}\nspec:\n  image: {image}\n  \
             limits: {{memory: 16Mi, deadlineMilliseconds: 50}}\n"
        ));
        cluster.kubectl_wait("condition=Ready", &[&format!("schedulerplugin/{name}")]);
        let begun = Instant::now();
        cluster.kubectl(&["run", name, "--image=none"]).ok();
        cluster.kubectl_wait("condition=PodScheduled", &[&format!("pod/{name}")]);
        assert!(begun.elapsed() < PATIENCE, "{name}: {:?}", begun.elapsed());
        if name != "wild-scores" {
            eventually(&format!("the errors of {name} are counted"), || {
                let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
                let counter = format!("mizzen_scheduler_plugin_call_errors_total{{plugin={name:?}}} ");
                let errors = metrics.lines().find_map(|line| line.strip_prefix(&counter)?.parse::<u64>().ok());
                errors.filter(|errors| *errors > 0)
            });
        }
        cluster.kubectl(&["delete", "schedulerplugin", name]).ok();
    }
}
