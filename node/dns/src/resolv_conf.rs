//! resolv.conf(5), as far as the kubelet reads it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// As they are written: an address of a link may name it.
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

impl ResolvConf {
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().take_while(|word| !word.starts_with(['#', ';']));
            match words.next() {
                Some("nameserver") => parsed.servers.extend(words.next().map(str::to_owned)),
                // The last one holds.
                Some("search" | "domain") => parsed.searches = words.map(without_dot).collect(),
                Some("options") => parsed.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        parsed
    }

    /// The addresses of its servers.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.servers.iter().filter_map(|server| server.parse().ok())
    }
}

fn without_dot(domain: &str) -> String {
    if domain == "." { domain.to_owned() } else { domain.trim_end_matches('.').to_owned() }
}

/// The machine's resolv.conf. Where that names nothing but a resolver on loopback, systemd's, which pods cannot reach, it is
/// the one that the resolver itself goes by.
pub fn of_machine() -> PathBuf {
    const USUAL: &str = "/etc/resolv.conf";
    const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
    const RESOLVED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
    let text = std::fs::read_to_string(USUAL).unwrap_or_default();
    let only_resolved = ResolvConf::parse(&text).addresses().eq([RESOLVED]);
    if only_resolved && Path::new(BEHIND_RESOLVED).exists() { BEHIND_RESOLVED.into() } else { USUAL.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_searches_and_options_are_read_as_the_c_library_does() {
        let text = "# by hand\nnameserver 192.0.2.1\nnameserver fe80::1%eth0 ; a link\nsearch old.example\n\
            search corp.example. . # here\noptions ndots:2\noptions edns0 trust-ad\nnonsense\nnameserver\n";
        let parsed = ResolvConf::parse(text);
        assert_eq!(parsed.servers, ["192.0.2.1", "fe80::1%eth0"]);
        assert_eq!(parsed.searches, ["corp.example", "."]);
        assert_eq!(parsed.options, ["ndots:2", "edns0", "trust-ad"]);
        assert_eq!(parsed.addresses().collect::<Vec<_>>(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
