//! The cluster's nftables tables, one for each family that pods have: masquerade for what leaves the pods' range, and host ports.
//!
//! Host ports are elements of two maps, so that a pod's ports come and go without touching a rule.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::hostports::host_address;
use crate::localnet::GUARD;
use crate::state::PodState;
use crate::{Family, HostPort, NetworkConfig, NetworkError, Protocol, Subnet, namespace, netlink};

/// Set on what Wasm pods send. They share one namespace, which takes no packet from outside that comes from an address of its
/// own: what is led from one of them to another has to come from the bridge's.
pub const WASM_MARK: u32 = 0x0400_0000;

/// A pod that host ports lead to, by its address of one family.
#[derive(Clone, Copy)]
pub(crate) struct Backend {
    pub(crate) address: IpAddr,
    pub(crate) wasm: bool,
}

impl Backend {
    /// One for each address of the pod.
    pub(crate) fn all(state: &PodState) -> impl Iterator<Item = Self> + use<> {
        let wasm = state.wasm;
        state.addresses().map(move |address| Self { address, wasm })
    }

    fn family(self) -> Family {
        Family::of(self.address)
    }

    /// (set, element): whose connections to the pod have to come from the bridge's address.
    fn veils(self) -> impl Iterator<Item = (&'static str, String)> {
        let Self { address, wasm } = self;
        let shared = wasm.then(|| ("wasm", address.to_string()));
        std::iter::once(("hairpin", format!("{address} . {address}"))).chain(shared)
    }

    /// (map, key, value) of each host port; those of the machine's addresses of the other family lead elsewhere.
    fn elements(self, ports: &[HostPort]) -> impl Iterator<Item = (&'static str, String, String)> {
        let own = ports.iter().filter(move |port| host_address(port).is_none_or(|ip| Family::of(ip) == self.family()));
        own.map(move |port| {
            let service = format!("{} . {}", protocol(port.protocol), port.host_port);
            let value = format!("{} . {}", self.address, port.container_port);
            match host_address(port) {
                None => ("any_address", service, value),
                Some(ip) => ("one_address", format!("{ip} . {service}"), value),
            }
        })
    }
}

pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// The whole table, replacing what is there in one transaction, so that a restarted agent repairs it.
pub(crate) fn table(config: &NetworkConfig, subnet: Subnet, ports: &[(Vec<HostPort>, Backend)], others: &[IpAddr]) -> String {
    let (table, bridge, tunnel) = (config.table(), config.bridge(), config.tunnel());
    let (ip, address, loopback) = (subnet.family().nft(), subnet.family().nft_type(), subnet.family().loopback());
    let gateway = subnet.gateway();
    let [a, b, c, d, e, f] = config.wasm_mac();
    let wasm_mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    // The guard: with route_localnet on the bridge, and on the links to other nodes, a pod or a neighbour could otherwise reach what
    // listens on the machine's loopback, or pose as a local client. What comes from loopback leaves only where services and host
    // ports lead it: those packets were for loopback, or for a cluster's bridge, when they were sent.
    // The masquerades: a client on loopback has no address that a pod could answer, and a pod that calls its own host
    // port must not see itself as the client. Other nodes and their pods see this node's pods by the addresses they have, and so
    // do those of this node that are on networks of plugins.
    // Names of the cluster are served at the bridge's address, whoever has that port of the machine.
    // The forward chain: pods that came before the tunnel have the MTU of the link.
    let mut text = format!(
        r#"table {ip} {table}
delete table {ip} {table}
table {ip} {table} {{
  map any_address {{ type inet_proto . inet_service : {address} . inet_service; }}
  map one_address {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
  set hairpin {{ type {address} . {address}; }}
  set wasm {{ type {address}; }}
  set blocks {{ type {address}; flags interval; }}
  set nodes {{ type {address}; }}
  set attached {{ type {address}; }}
  chain {GUARD} {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "lo" {ip} daddr {loopback} drop
    iifname != "lo" {ip} saddr {loopback} drop
  }}
  chain stay {{
    type filter hook output priority -90; policy accept;
    oifname != "lo" oifname != "mz*" {ip} saddr {loopback} reject
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    iifname "{bridge}" ether saddr {wasm_mac} meta mark set meta mark or {WASM_MARK:#x}
    fib daddr type local jump hostports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump hostports
  }}
  chain hostports {{
    {ip} daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 return
    meta l4proto {{ tcp, udp, sctp }} dnat {ip} to {ip} daddr . meta l4proto . th dport map @one_address
    meta l4proto {{ tcp, udp, sctp }} dnat {ip} to meta l4proto . th dport map @any_address
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    oifname != "lo" {ip} saddr {loopback} masquerade
    ct status dnat {ip} saddr . {ip} daddr @hairpin masquerade
    ct status dnat meta mark & {WASM_MARK:#x} == {WASM_MARK:#x} {ip} daddr @wasm masquerade
    {ip} saddr {subnet} {ip} daddr != {subnet} {ip} daddr != @blocks {ip} daddr != @nodes {ip} daddr != @attached oifname != "{bridge}" masquerade
  }}
  chain forward {{
    type filter hook forward priority -150; policy accept;
    oifname "{tunnel}" tcp flags syn / syn,rst tcp option maxseg size set rt mtu
  }}
}}
"#
    );
    for (ports, backend) in ports.iter().filter(|(_, backend)| backend.family() == subnet.family()) {
        text.push_str(&add(&table, ports, *backend));
    }
    text.extend(others.iter().filter(|other| Family::of(**other) == subnet.family()).map(|other| attached(&table, *other)));
    text
}

/// Where pods are seen by the addresses they have: among other nodes' pods, and by other nodes.
pub(crate) fn peers(family: Family, table: &str, blocks: &BTreeSet<Subnet>, nodes: &BTreeSet<IpAddr>) -> String {
    let ip = family.nft();
    let mut text = format!("flush set {ip} {table} blocks\nflush set {ip} {table} nodes\n");
    let mut fill = |set: &str, elements: Vec<String>| {
        if !elements.is_empty() {
            let _ = writeln!(text, "add element {ip} {table} {set} {{ {} }}", elements.join(", "));
        }
    };
    fill("blocks", blocks.iter().filter(|block| block.family() == family).map(ToString::to_string).collect());
    fill("nodes", nodes.iter().filter(|node| Family::of(**node) == family).map(ToString::to_string).collect());
    text
}

/// A pod of this node that is on a network of plugins: others of this node are seen by it as they are.
pub(crate) fn attached(table: &str, address: IpAddr) -> String {
    format!("add element {} {table} attached {{ {address} }}\n", Family::of(address).nft())
}

pub(crate) fn detached(table: &str, address: IpAddr) -> String {
    // Adding first makes deleting what is not there no error.
    let ip = Family::of(address).nft();
    format!("{}delete element {ip} {table} attached {{ {address} }}\n", attached(table, address))
}

/// Leads the ports to the pod, replacing what they led to.
pub(crate) fn add(table: &str, ports: &[HostPort], backend: Backend) -> String {
    say("add", table, ports, backend)
}

pub(crate) fn delete(table: &str, ports: &[HostPort], backend: Backend) -> String {
    // Adding first makes deleting what is not there no error, in one transaction with no moment of either.
    say("add", table, ports, backend) + &say("delete", table, ports, backend)
}

fn say(verb: &str, table: &str, ports: &[HostPort], backend: Backend) -> String {
    let (ip, mut text) = (backend.family().nft(), String::new());
    if ports.is_empty() {
        return text;
    }
    for (set, element) in backend.veils() {
        let _ = writeln!(text, "{verb} element {ip} {table} {set} {{ {element} }}");
    }
    for (map, key, value) in backend.elements(ports) {
        let _ = writeln!(text, "{verb} element {ip} {table} {map} {{ {key} : {value} }}");
    }
    text
}

/// Takes the tables of this name away, of whichever family; no error when there are none.
pub(crate) async fn delete_tables(table: &str) -> Result<(), NetworkError> {
    let all = list(table, &["tables"]).await?;
    let all: Value = serde_json::from_str(&all).map_err(|error| NetworkError::Nftables {
        table: table.to_owned(),
        message: format!("read the list of tables: {error}"),
    })?;
    let found = all["nftables"].as_array().into_iter().flatten().map(|item| &item["table"]);
    let families = found.filter(|found| found["name"] == table).filter_map(|found| found["family"].as_str());
    let text: String = families.map(|family| format!("delete table {family} {table}\n")).collect();
    if text.is_empty() { Ok(()) } else { apply(table, &text).await }
}

/// Runs one transaction on a table: all of it or nothing.
///
/// # Errors
/// [`NetworkError::Nftables`] with what nft said.
pub async fn apply(table: &str, rules: &str) -> Result<(), NetworkError> {
    apply_in(None, table, rules).await
}

/// The same in a pinned network namespace; `None` is this process's own.
///
/// # Errors
/// [`NetworkError::Nftables`] with what nft said.
pub async fn apply_in(namespace: Option<&Path>, table: &str, rules: &str) -> Result<(), NetworkError> {
    run(namespace, table, &["-f", "-"], rules).await.map(drop)
}

/// A listing (`list table ip x`, say) as nft's JSON (libnftables-json(5)).
///
/// # Errors
/// [`NetworkError::Nftables`] with what nft said; also when there is nothing of that name.
pub async fn list(table: &str, what: &[&str]) -> Result<String, NetworkError> {
    list_in(None, table, what).await
}

/// The same in a pinned network namespace; `None` is this process's own.
///
/// # Errors
/// [`NetworkError::Nftables`] with what nft said; also when there is nothing of that name.
pub async fn list_in(namespace: Option<&Path>, table: &str, what: &[&str]) -> Result<String, NetworkError> {
    let args: Vec<&str> = ["-j", "list"].into_iter().chain(what.iter().copied()).collect();
    run(namespace, table, &args, "").await
}

/// How many rules a chain has, by netlink: `nft` would read all elements of all maps to tell.
///
/// # Errors
/// When there is no such chain.
pub async fn count_rules_in(namespace: Option<&Path>, family: Family, table: &str, chain: &str) -> Result<usize, NetworkError> {
    let count = move |table: &str, chain: &str| {
        let failed = |error: std::io::Error| NetworkError::Nftables { table: table.to_owned(), message: error.to_string() };
        netlink::count_rules(family, table, chain).map_err(failed)
    };
    let Some(namespace) = namespace else { return count(table, chain) };
    let (table, chain) = (table.to_owned(), chain.to_owned());
    namespace::enter(namespace, move || count(&table, &chain)).await
}

/// Whether packets between pods of the bridge pass rules like all others.
pub fn sees_bridged(family: Family) -> bool {
    let path = format!("/proc/sys/net/bridge/bridge-nf-call-{}tables", family.nft());
    std::fs::read_to_string(path).is_ok_and(|set| set.trim() == "1")
}

async fn run(namespace: Option<&Path>, table: &str, args: &[&str], input: &str) -> Result<String, NetworkError> {
    let failed = |message: String| NetworkError::Nftables { table: table.to_owned(), message };
    let mut command = match namespace {
        None => Command::new("nft"),
        Some(pin) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", pin.display())).arg("nft");
            command
        }
    };
    let spawned =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = spawned.map_err(|e| failed(format!("cannot run nft (Debian package nftables): {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(|e| failed(format!("writing rules to nft: {e}")))?;
    }
    let output = child.wait_with_output().await.map_err(|e| failed(format!("waiting for nft: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// A key or value of a listing, as it is written in rules.
pub fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let (kind, inner) = fields.iter().next().map_or(("", &Value::Null), |(kind, inner)| (kind.as_str(), inner));
            match kind {
                "concat" => inner.as_array().into_iter().flatten().map(said).collect::<Vec<_>>().join(" . "),
                "goto" => format!("goto {}", inner["target"].as_str().unwrap_or_default()),
                "prefix" => format!("{}/{}", said(&inner["addr"]), inner["len"]),
                _ => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}
