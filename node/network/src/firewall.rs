//! Getting along with the machine's own firewall.
//!
//! Docker, ufw and others drop what is forwarded unless a rule of the iptables FORWARD chain allows it; with
//! bridge-nf-call-iptables that is also what pods say to each other. Where that chain exists, the cluster's range is allowed
//! at its top, by rules that bear the cluster's name; where it does not, nothing is made.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Stdio;

use tokio::process::Command;

use crate::{Family, NetworkConfig, NetworkError, Subnet, nft};

const CHAIN: &str = "filter FORWARD";

/// `None` when there is no such chain.
async fn listing(family: Family) -> Option<String> {
    let mut command = Command::new("nft");
    command.args(["-a", "list", "chain", family.nft()]).args(CHAIN.split(' ')).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Handles of the rules that bear this name.
fn ours(listing: &str, name: &str) -> Vec<u64> {
    let mark = format!("comment \"{name}\"");
    let rules = listing.lines().filter(|line| line.contains(&mark));
    rules.filter_map(|line| line.rsplit_once("# handle ")?.1.trim().parse().ok()).collect()
}

fn rules(family: Family, listing: &str, name: &str, subnets: &[Subnet]) -> String {
    let (ip, mut text) = (family.nft(), String::new());
    for handle in ours(listing, name) {
        let _ = writeln!(text, "delete rule {ip} {CHAIN} handle {handle}");
    }
    let all: Vec<_> = subnets.iter().filter(|subnet| subnet.family() == family).map(ToString::to_string).collect();
    if !all.is_empty() {
        let all = all.join(", ");
        let _ = writeln!(text, "insert rule {ip} {CHAIN} {ip} saddr {{ {all} }} accept comment \"{name}\"");
        let _ = writeln!(text, "insert rule {ip} {CHAIN} {ip} daddr {{ {all} }} accept comment \"{name}\"");
    }
    text
}

/// Lets what goes to and from these ranges pass, and no others that were let pass by this name.
pub(crate) async fn set(name: &str, subnets: &[Subnet]) -> Result<(), NetworkError> {
    for family in Family::ALL {
        let Some(listing) = listing(family).await else { continue };
        let rules = rules(family, &listing, name, subnets);
        if !rules.is_empty() {
            nft::apply("filter", &rules).await?;
        }
    }
    Ok(())
}

/// `others` are the ranges of other nodes' pods, which this node's services lead to.
pub(crate) async fn allow(
    config: &NetworkConfig,
    own: impl Iterator<Item = Subnet>,
    others: &BTreeSet<Subnet>,
) -> Result<(), NetworkError> {
    let all: Vec<_> = own.chain(others.iter().copied()).collect();
    set(&config.table(), &all).await
}

pub(crate) async fn withdraw(config: &NetworkConfig) -> Result<(), NetworkError> {
    set(&config.table(), &[]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"table ip filter {
	chain FORWARD { # handle 2
		type filter hook forward priority filter; policy drop;
		ip daddr 10.64.0.0/24 accept comment "mizzen_00000001" # handle 9
		ip saddr 10.64.1.0/24 accept comment "mizzen_00000002" # handle 7
		counter packets 0 bytes 0 jump DOCKER-USER # handle 4
	}
}"#;

    #[test]
    fn only_rules_of_the_clusters_own_name_are_replaced() {
        assert_eq!(ours(LISTING, "mizzen_00000001"), [9]);
        let text = rules(Family::V4, LISTING, "mizzen_00000002", &[]);
        assert_eq!(text, "delete rule ip filter FORWARD handle 7\n");
        let six = ["fd00::/64".parse().unwrap()];
        assert_eq!(rules(Family::V4, LISTING, "mizzen_00000003", &six), "", "of the other family");
        assert!(
            rules(Family::V6, "", "mizzen_00000003", &six).starts_with("insert rule ip6 filter FORWARD ip6 saddr { fd00::/64 }")
        );
    }
}
