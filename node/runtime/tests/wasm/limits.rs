//! Processor time, as the kernel counts it for the host process.

use std::time::{Duration, Instant};

use mizzen_runtime::{ContainerSpec, Resources, Runtime};

use crate::common::eventually;
use crate::support::Node;

/// A container of its own Kubernetes namespace, and so in a host of its own, with a limit of so many milliseconds in 100.
fn limited(mut spec: ContainerSpec, namespace: &str, quota: Option<i64>) -> ContainerSpec {
    spec.sandbox.namespace = namespace.into();
    spec.resources = Resources { cpu_quota: quota.map(|ms| ms * 1000), cpu_period: Some(100_000), ..Resources::default() };
    spec
}

/// What a process's threads have had of processors, and how long they have waited for one, from their schedstat (kernel
/// documentation, scheduler/sched-stats).
#[derive(Clone, Copy)]
struct Time {
    ran: Duration,
    waited: Duration,
}

impl Time {
    fn of(pid: i32) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let mut all = Self { ran: Duration::ZERO, waited: Duration::ZERO };
        // A thread may end meanwhile.
        for text in threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok()) {
            let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().unwrap()).collect();
            all.ran += Duration::from_nanos(fields[0]);
            all.waited += Duration::from_nanos(fields[1]);
        }
        all
    }
}

async fn started(node: &Node, spec: &ContainerSpec) -> i32 {
    let before = node.hosts();
    node.runtime.start(spec).await.unwrap();
    node.hosts().into_iter().find(|pid| !before.contains(pid)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_without_end_gets_what_its_limit_says_and_others_answer_meanwhile() {
    let node = Node::new();
    let slow = started(&node, &limited(node.cli("slow", &["spin"]), "slow", Some(20))).await;
    let free = started(&node, &limited(node.cli("free", &["spin"]), "free", None)).await;
    node.runtime.start(&limited(node.http("beside", "10.99.0.2"), "slow", None)).await.unwrap();

    assert!(node.get("10.99.0.2").await.contains("200 OK"));
    // Nobody is asked while it is measured: the neighbour's work is the same process's.
    let (begun, slow_before, free_before) = (Instant::now(), Time::of(slow), Time::of(free));
    eventually("the limited pod goes on", || async {
        (Time::of(slow).ran - slow_before.ran > Duration::from_millis(300)).then_some(())
    })
    .await;
    let (elapsed, slow_after, free_after) = (begun.elapsed().as_secs_f64(), Time::of(slow), Time::of(free));
    let limited = (slow_after.ran - slow_before.ran).as_secs_f64() / elapsed;
    // On a machine under load a pod that nobody limits waits for a processor as well; what it wants is the whole of one, or
    // of what the machine's owner leaves.
    let ran = (free_after.ran - free_before.ran).as_secs_f64() / elapsed;
    let wanted = ran + (free_after.waited - free_before.waited).as_secs_f64() / elapsed;
    println!("limited to 0.2: ran {limited:.3}; without a limit: ran {ran:.3}, wanted {wanted:.3} of a processor");
    // A period at either end.
    assert!(limited < 0.3, "{limited}");
    assert!(wanted >= 2.0 * limited, "{wanted} without a limit, {limited} with one");
    assert!(node.get("10.99.0.2").await.contains("200 OK"));
    let told = Duration::from_nanos(node.runtime.stats("slow").await.unwrap().cpu);
    assert!(told > Duration::from_millis(250) && told <= Time::of(slow).ran, "{told:?}");

    node.runtime.signal("slow", libc::SIGKILL).await.unwrap();
    assert_eq!(node.exit("slow").await.code, 137, "also a pod that is held can be killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_a_serving_pod_share_its_limit() {
    let node = Node::new();
    node.runtime.start(&limited(node.tryout("one", "10.99.0.1"), "default", Some(10))).await.unwrap();
    let begun = Instant::now();
    let (first, second) = tokio::join!(node.get_path("10.99.0.1", "/work/150"), node.get_path("10.99.0.1", "/work/150"));
    assert!(first.contains("200 OK") && second.contains("200 OK"), "{first}{second}");
    let (took, used) = (begun.elapsed(), Duration::from_nanos(node.runtime.stats("one").await.unwrap().cpu));
    println!("{used:?} of processor time took {took:?}");
    assert!(used > Duration::from_millis(60), "there was something to do: {used:?}");
    // A tenth of a processor: the first period's share is there at once, and the last turn of each handler is paid later.
    assert!(took >= (used.saturating_sub(Duration::from_millis(30))) * 9, "{used:?} in {took:?}");
}
