use mizzen_runtime::{ContainerState, Runtime, WasmRuntime};

use crate::common::eventually;
use crate::support::{Node, kill};

#[tokio::test(flavor = "multi_thread")]
async fn two_http_pods_of_one_host_answer_on_one_port_at_their_own_addresses() {
    let node = Node::new();
    for (id, address) in [("one", "10.99.0.1"), ("two", "10.99.0.2")] {
        let mut spec = node.http(id, address);
        spec.process.env = vec![("GREETING".into(), format!("pod {id}"))];
        node.runtime.start(&spec).await.unwrap();
    }
    assert_eq!(node.hosts().len(), 1);
    assert!(node.get("10.99.0.1").await.contains("pod one at /there"));
    assert!(node.get("10.99.0.2").await.contains("pod two at /there"));
    assert!(node.ask("10.99.0.3", 8080, "").await.is_err(), "nobody else's address");
    node.runtime.remove("one").await.unwrap();
    assert!(node.ask("10.99.0.1", 8080, "").await.is_err());
    assert!(node.get("10.99.0.2").await.contains("pod two"));
    node.runtime.remove("two").await.unwrap();
    eventually("the host ends with its last pod", || async { node.hosts().is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_listen_everywhere_get_their_own_address_also_below_1024() {
    let node = Node::new();
    for (id, address) in [("one", "10.99.0.1"), ("two", "10.99.0.2")] {
        let mut spec = node.cli(id, &["serve", "80"]);
        spec.sandbox.addresses = vec![address.parse().unwrap()];
        node.runtime.start(&spec).await.unwrap();
        let answer = eventually("it answers", || async { node.ask(address, 80, "").await.ok() }).await;
        assert_eq!(answer, "hello from port 80\n");
    }
    assert!(node.ask("127.0.0.1", 80, "").await.is_err(), "the namespace's loopback is nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_an_error_of_the_start() {
    let node = Node::new();
    node.runtime.start(&node.http("one", "10.99.0.1")).await.unwrap();
    let error = node.runtime.start(&node.http("two", "10.99.0.1")).await.unwrap_err().to_string();
    assert!(error.contains("cannot listen on 10.99.0.1:8080"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_go_on_serving_while_the_agent_is_started_anew() {
    let mut node = Node::new();
    let started = node.runtime.start(&node.http("one", "10.99.0.1")).await.unwrap();
    node.restart();
    assert_eq!(node.runtime.status("one").await.unwrap(), started);
    assert!(node.get("10.99.0.1").await.contains("200 OK"));
    node.runtime.signal("one", libc::SIGTERM).await.unwrap();
    assert_eq!(node.exit("one").await.code, 0, "it drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_host_is_noticed_and_its_pods_can_be_started_anew() {
    let node = Node::new();
    node.runtime.start(&node.http("one", "10.99.0.1")).await.unwrap();
    node.hosts().into_iter().for_each(kill);
    let exit = node.exit("one").await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "ContainerStatusUnknown"));
    node.runtime.remove("one").await.unwrap();
    let again = node.runtime.start(&node.http("again", "10.99.0.1")).await.unwrap();
    assert!(matches!(again.state, ContainerState::Running { .. }));
    assert!(node.get("10.99.0.1").await.contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_pod_can_be_removed_and_does_not_stall_its_neighbours() {
    let node = Node::new();
    for id in ["spin-a", "spin-b", "spin-c", "spin-d"] {
        node.runtime.start(&node.cli(id, &["spin"])).await.unwrap();
    }
    node.runtime.start(&node.http("one", "10.99.0.2")).await.unwrap();
    assert!(node.get("10.99.0.2").await.contains("200 OK"));
    assert!(node.runtime.stats("spin-a").await.unwrap().memory > 0);
    node.runtime.remove("spin-a").await.unwrap();
    node.runtime.signal("spin-b", libc::SIGTERM).await.unwrap();
    assert_eq!(node.exit("spin-b").await.code, 143);
    assert!(node.get("10.99.0.2").await.contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_finished_before_a_serving_pod_ends() {
    let node = Node::new();
    node.runtime.start(&node.tryout("one", "10.99.0.1")).await.unwrap();
    let asking = node.get_path("10.99.0.1", "/wait/5000");
    let stopping = async {
        eventually("the component has the request", || async {
            node.entries("one").iter().any(|entry| entry.contains("waiting for 5000 ms")).then_some(())
        })
        .await;
        node.runtime.signal("one", libc::SIGTERM).await.unwrap();
        eventually("nobody new is let in", || async { node.ask("10.99.0.1", 8080, "").await.err() }).await;
        assert!(matches!(node.runtime.status("one").await.unwrap().state, ContainerState::Running { .. }), "it still answers");
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert!(answer.contains("200 OK") && answer.contains("waited for 5000 ms"), "{answer}");
    assert_eq!(node.exit("one").await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_that_two_agents_start_at_once_is_one_pod() {
    let node = Node::new();
    let other = WasmRuntime::new(node.config()).unwrap();
    // Keeps the host: bringing one up is for one agent alone.
    node.runtime.start(&node.http("first", "10.99.0.2")).await.unwrap();
    for round in 0..5 {
        let spec = node.http(&format!("pod-{round}"), "10.99.0.1");
        let (one, two) = tokio::join!(node.runtime.start(&spec), other.start(&spec));
        assert_eq!(one.unwrap().state, two.unwrap().state);
        assert!(node.get("10.99.0.1").await.contains("200 OK"));
        node.runtime.remove(&spec.id).await.unwrap();
        other.remove(&spec.id).await.unwrap();
    }
}
