//! Wasm pods whose component is in the store.

use k8s_openapi::api::core::v1::Pod;
use mizzen_tests::{Cluster, Registry, images};
use serde_json::json;

use crate::pods::Pods;
use crate::samples::Samples;
use crate::table::Table;

const SINGLE: usize = 30;

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let registry = Registry::start();
    let image = images::wasm(&registry, "hello_http", "bench-wasm:v1");
    let cluster = Cluster::up();
    let mut pods = Pods::of(&cluster).await?;
    if let Err(error) = pods.one_of(server("warm", &image)).await {
        table.note(format!("Wasm pods are left out: the first one did not run ({error:#})."));
        return Ok(());
    }
    let (mut running, mut gone) = (Samples::default(), Samples::default());
    for number in 0..SINGLE {
        let (started, ended) = pods.one_of(server(&format!("wasm-{number}"), &image)).await?;
        running.push(started);
        gone.push(ended);
    }
    let what = format!("Wasm pod, component present: create to Running seen by a watch (p50 / p99 of {SINGLE})");
    table.row(&what, running.summary(), "p50 20 ms", String::new());
    let what = format!("Wasm pod: delete to gone from a watch (p50 / p99 of {SINGLE})");
    table.row(&what, gone.summary(), "", String::new());
    Ok(())
}

fn server(name: &str, image: &str) -> Pod {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image}]},
    });
    serde_json::from_value(pod).expect("is a Pod")
}
