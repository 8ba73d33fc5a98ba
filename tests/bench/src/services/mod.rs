//! Services: what leading packets to endpoints costs them, and what changes cost the node, few services or many.

mod changes;
mod kernel;
mod rolling;
mod traffic;
mod world;

use mizzen_tests::{Agent, Cluster, Registry, images};

use crate::table::Table;
use changes::Changes;
use traffic::{Compared, Ends};
use world::World;

/// Beside those that are measured by.
const FEW: usize = 10;
/// Enough changes for a 99th percentile.
const CHANGES: usize = 200;
const GOAL: &str = "within 3 % of pod to pod";

/// `counts` are the numbers of services, ascending, at each of which changes are measured.
pub(crate) async fn measure(table: &mut Table, counts: &[usize]) -> anyhow::Result<()> {
    let registry = Registry::start();
    let image = images::busybox(&registry, "bench:v1");
    let few = World::new(Cluster::up(), &image).await?;
    few.grow(FEW).await?;
    compare(table, few.ends())?;
    rolling::measure(table, &few, &image).await?;

    // As on a cluster of several machines, the node's agent is a process of its own; the server's node has rules as well.
    let cluster = Cluster::up();
    let agent = Agent::join(&cluster, "second");
    let many = World::new(cluster, &image).await?;
    let mut changes = Changes::new(&many, &agent).await?;
    for count in counts {
        many.grow(*count).await?;
        changes.measure(table, *count, CHANGES).await?;
    }
    if let Some(most) = counts.last() {
        first_packets(table, few.ends(), many.ends(), *most)?;
    }
    table.note("services: clients and servers are this process's threads in the pods' network namespaces".to_owned());
    Ok(())
}

fn compare(table: &mut Table, ends: &Ends) -> anyhow::Result<()> {
    let mut row = |what: &str, compared: Compared, unit: &str, scale: f64| {
        let Compared { direct, service, share } = compared;
        let measured = format!("{:.1}{unit}, {:.1} % of direct", service / scale, share * 100.0);
        table.row(what, measured, GOAL, format!("direct {:.1}{unit}", direct / scale));
    };
    row("Service: short TCP connections by ClusterIP, 4 clients (connections/s)", ends.compare_connections()?, "/s", 1.0);
    for connections in [1, 4] {
        let what = format!("Service: throughput by ClusterIP, {connections} connections (median of rounds)");
        row(&what, ends.compare_throughput(connections)?, " GB/s", 1e9);
    }
    Ok(())
}

fn first_packets(table: &mut Table, few: &Ends, many: &Ends, count: usize) -> anyhow::Result<()> {
    let (low, high, share) = traffic::compare_first_packets(few, many)?;
    let what = format!("Service: first packet, connect() by ClusterIP beside {count} services (p50 / p99)");
    let measured = format!("{}, p50 {:.1} % of that beside {FEW}", high.summary(), share * 100.0);
    table.row(&what, measured, &format!("within 10 % of {FEW} services"), format!("{FEW} services {}", low.summary()));
    Ok(())
}
