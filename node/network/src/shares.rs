//! Limits on pods that share an interface, as Wasm pods do: a class of tc-htb(8) for each, which its addresses lead to
//! (tc-u32(8)), on the end that sends. What has no class passes unbounded.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use crate::bandwidth::{LATENCY, burst, tc};
use crate::{Family, NetworkError};

/// Classes and priorities of filters are 16 bits, and a pod takes two priorities: one of each family.
const LAST: u128 = 0x7fff;

/// Where pods are known by which of a packet's addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// What goes to pods.
    Destination,
    /// What comes from them.
    Source,
}

/// A pod on one end of a shared interface.
pub(crate) struct Share<'a> {
    /// Where the interface is; `None` for this process's own namespace.
    pub(crate) namespace: Option<&'a Path>,
    pub(crate) interface: &'a str,
    pub(crate) end: End,
    /// Of the pod, among all on the interface.
    pub(crate) number: u128,
    pub(crate) addresses: &'a [IpAddr],
}

impl Share<'_> {
    /// Limits what passes; repeatable. `None` is no limit.
    pub(crate) async fn limit(&self, bits_per_second: Option<u64>) -> Result<(), NetworkError> {
        let Some(rate) = bits_per_second else { return Ok(()) };
        if self.number > LAST {
            let why = format!("the pod is number {} on it, and limits are for the first {LAST}", self.number);
            return Err(NetworkError::Bandwidth { interface: self.interface.to_owned(), why });
        }
        // There mostly is one, and mostly are none: when neither is so, the rest says why.
        let queue = format!("qdisc add dev {} root handle 1: htb\n", self.interface);
        let _ = tc(self.namespace, self.interface, &(queue + &self.without())).await;
        tc(self.namespace, self.interface, &self.with(rate)).await
    }

    /// Takes the limit away, if there is one.
    pub(crate) async fn lift(&self) {
        let _ = tc(self.namespace, self.interface, &self.without()).await;
    }

    fn priority(&self, family: Family) -> u128 {
        self.number * 2 + u128::from(family == Family::V6)
    }

    fn with(&self, rate: u64) -> String {
        let Self { interface, number, .. } = self;
        let burst = burst(rate);
        let waiting = burst.saturating_add(rate / 8 * LATENCY / 1000);
        let mut lines = format!(
            "class replace dev {interface} parent 1: classid 1:{number:x} htb rate {rate}bit burst {burst}b cburst {burst}b\n\
             qdisc replace dev {interface} parent 1:{number:x} bfifo limit {waiting}b\n"
        );
        for address in self.addresses {
            let (family, priority) = (Family::of(*address), self.priority(Family::of(*address)));
            let (protocol, ip) = if family == Family::V6 { ("ipv6", "ip6") } else { ("ip", "ip") };
            let (end, bits) = (if matches!(self.end, End::Source) { "src" } else { "dst" }, family.bits());
            let _ = writeln!(
                lines,
                "filter add dev {interface} parent 1: protocol {protocol} pref {priority} u32 match {ip} {end} {address}/{bits} flowid 1:{number:x}"
            );
        }
        lines
    }

    /// Filters first: a class that one leads to stays.
    fn without(&self) -> String {
        let Self { interface, number, .. } = self;
        let filters = [Family::V4, Family::V6].map(|family| self.priority(family));
        let filters = filters.map(|priority| format!("filter del dev {interface} parent 1: pref {priority}\n")).concat();
        format!("{filters}class del dev {interface} classid 1:{number:x}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_of_a_pod_leads_to_its_class() {
        let addresses = ["10.64.3.10", "fd00::a"].map(|address| address.parse().expect("an address"));
        let share = Share { namespace: None, interface: "v1", end: End::Destination, number: 10, addresses: &addresses };
        let expected = "class replace dev v1 parent 1: classid 1:a htb rate 8000000bit burst 131072b cburst 131072b
qdisc replace dev v1 parent 1:a bfifo limit 181072b
filter add dev v1 parent 1: protocol ip pref 20 u32 match ip dst 10.64.3.10/32 flowid 1:a
filter add dev v1 parent 1: protocol ipv6 pref 21 u32 match ip6 dst fd00::a/128 flowid 1:a
";
        assert_eq!(share.with(8_000_000), expected);
        let gone = "filter del dev v1 parent 1: pref 20\nfilter del dev v1 parent 1: pref 21\nclass del dev v1 classid 1:a\n";
        assert_eq!(share.without(), gone);
    }

    #[tokio::test]
    async fn a_pod_whose_number_has_no_class_is_refused() {
        let share = Share { namespace: None, interface: "v1", end: End::Source, number: 40_000, addresses: &[] };
        assert!(share.limit(None).await.is_ok());
        assert!(share.limit(Some(1)).await.expect_err("there is none").to_string().contains("40000"));
    }
}
