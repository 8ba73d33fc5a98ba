//! The cluster's zone by the Kubernetes DNS specification 1.1. Pure: it is told of services and slices, one at a time, and
//! asked for names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::DnsError;
use crate::records::{Pointer, Records, Target};
use crate::views::{ServiceView, SliceView};

/// Seconds. Pods come and go: whoever remembers a name longer than this would call those that are gone.
const TTL: u32 = 5;
/// What the record `dns-version` says.
const VERSION: &str = "1.1.0";
/// `_port._protocol.service.namespace.svc`: nothing in the zone has more labels before its domain.
const DEEPEST: usize = 5;

/// What the zone says to a question about a name of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name is another one for this.
    Alias(Name),
    /// The name is there, but has no such record.
    NoData,
    NoSuchName,
}

pub(crate) struct Zone {
    domain: Name,
    depth: usize,
    /// Where the zone is served.
    own: Vec<IpAddr>,
    namespaces: HashMap<Box<str>, HashMap<Box<str>, Entry>>,
    pointers: HashMap<IpAddr, Vec<Pointer>>,
    /// Counts changes.
    serial: u32,
    /// Counts answers: addresses take turns at being the first.
    turn: AtomicUsize,
}

/// A service, and the slices that bear its name, whichever came first.
#[derive(Default)]
struct Entry {
    service: Option<Arc<ServiceView>>,
    slices: BTreeMap<Box<str>, Arc<SliceView>>,
    records: Records,
}

impl Zone {
    /// # Errors
    /// When `domain` is no domain name.
    pub(crate) fn new(domain: &str, own: Vec<IpAddr>) -> Result<Self, DnsError> {
        let domain = parse_domain(domain)?;
        Ok(Self {
            depth: domain.iter().count(),
            domain,
            own,
            namespaces: HashMap::new(),
            pointers: HashMap::new(),
            serial: 1,
            turn: AtomicUsize::new(0),
        })
    }

    pub(crate) fn set_service(&mut self, namespace: &str, name: &str, service: Option<Arc<ServiceView>>) {
        self.change(namespace, name, |entry| entry.service = service);
    }

    pub(crate) fn set_slice(&mut self, namespace: &str, service: &str, slice: &str, view: Option<Arc<SliceView>>) {
        self.change(namespace, service, |entry| {
            match view {
                Some(view) => entry.slices.insert(slice.into(), view),
                None => entry.slices.remove(slice),
            };
        });
    }

    fn change(&mut self, namespace: &str, name: &str, change: impl FnOnce(&mut Entry)) {
        let services = self.namespaces.entry(namespace.into()).or_default();
        let entry = services.entry(name.into()).or_default();
        change(entry);
        // A name that is too long for DNS is not told.
        let full = Name::from_labels([name.as_bytes(), namespace.as_bytes(), b"svc"]).and_then(|n| n.append_domain(&self.domain));
        let records = match (&entry.service, full) {
            (Some(service), Ok(full)) => Records::of(&full, service, entry.slices.values().map(|slice| &**slice)),
            _ => Records::default(),
        };
        let before = std::mem::replace(&mut entry.records, records);
        let after = entry.records.pointers.clone();
        if entry.service.is_none() && entry.slices.is_empty() {
            services.remove(name);
            if services.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
        for (address, pointer) in before.pointers {
            if let Some(known) = self.pointers.get_mut(&address) {
                known.retain(|known| *known != pointer);
                if known.is_empty() {
                    self.pointers.remove(&address);
                }
            }
        }
        for (address, pointer) in after {
            self.pointers.entry(address).or_default().push(pointer);
        }
        self.serial = self.serial.wrapping_add(1);
    }

    /// Whether the name is of the zone, there or not.
    pub(crate) fn has(&self, name: &Name) -> bool {
        self.domain.zone_of(name)
    }

    /// What goes with an answer that a name, or a record of it, is not there (RFC 2308).
    pub(crate) fn authority(&self) -> Record {
        let (server, person) = (self.below(&["ns", "dns"]), self.below(&["hostmaster"]));
        let soa = SOA::new(server, person, self.serial, 7200, 1800, 86400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// What is known of a name; `None` where it is another's to say.
    pub(crate) fn lookup(&self, name: &Name, kind: RecordType) -> Option<Found> {
        if !self.has(name) {
            return self.reverse(name, kind);
        }
        let mut buffer = [0; Name::MAX_LENGTH];
        let Some(labels) = Labels::before(name, self.depth, &mut buffer) else { return Some(Found::NoSuchName) };
        let ask = Ask { zone: self, name, kind };
        Some(match *labels.slice() {
            [] => ask.apex(),
            ["dns-version"] => ask.one(RecordType::TXT, || RData::TXT(TXT::new(vec![VERSION.to_owned()]))),
            ["dns"] | ["svc"] | ["pod"] | ["pod", _] => Found::NoData,
            ["dns", "ns"] => ask.addresses(&self.own),
            ["svc", namespace] => match self.namespaces.get(namespace) {
                Some(services) if services.values().any(|entry| entry.records.named) => Found::NoData,
                _ => Found::NoSuchName,
            },
            ["svc", namespace, service] => ask.service(self.records(namespace, service)),
            ["svc", namespace, service, host] => ask.host(self.records(namespace, service), host),
            ["svc", namespace, service, protocol, port] => ask.port(self.records(namespace, service), protocol, port),
            ["pod", _, address] => match pod_address(address) {
                Some(address) => ask.addresses(&[address]),
                None => Found::NoSuchName,
            },
            _ => Found::NoSuchName,
        })
    }

    fn records(&self, namespace: &str, service: &str) -> Option<&Records> {
        self.namespaces.get(namespace)?.get(service).map(|entry| &entry.records).filter(|records| records.named)
    }

    /// The names of an address, if any is known here: others may know the others.
    fn reverse(&self, name: &Name, kind: RecordType) -> Option<Found> {
        if !matches!(kind, RecordType::PTR | RecordType::ANY) {
            return None;
        }
        let pointers = self.pointers.get(&reversed(name)?)?;
        let given = pointers.iter().any(|pointer| !pointer.assigned);
        let told = pointers.iter().filter(|pointer| pointer.assigned != given);
        let answers = told.map(|pointer| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(pointer.name.clone()))));
        Some(Found::Records { answers: answers.collect(), additionals: Vec::new() })
    }

    /// A name of a few short labels below the domain. A domain that leaves no room for them stands for itself.
    fn below(&self, labels: &[&str]) -> Name {
        let name =
            Name::from_labels(labels.iter().map(|label| label.as_bytes())).and_then(|name| name.append_domain(&self.domain));
        name.unwrap_or_else(|_| self.domain.clone())
    }

    fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// # Errors
/// When it is none.
pub(crate) fn parse_domain(name: &str) -> Result<Name, DnsError> {
    let wrong = |why: String| DnsError::Domain { name: name.to_owned(), why };
    let mut domain = Name::from_ascii(name.to_ascii_lowercase()).map_err(|error| wrong(error.to_string()))?;
    domain.set_fqdn(true);
    if domain.is_root() { Err(wrong("it is empty".to_owned())) } else { Ok(domain) }
}

/// One question about a name of the zone.
struct Ask<'a> {
    zone: &'a Zone,
    name: &'a Name,
    kind: RecordType,
}

impl Ask<'_> {
    fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }

    fn one(&self, kind: RecordType, data: impl FnOnce() -> RData) -> Found {
        let wanted = self.wants(kind).then(|| Record::from_rdata(self.name.clone(), TTL, data()));
        records(wanted.into_iter().collect())
    }

    fn apex(&self) -> Found {
        let mut answers = Vec::new();
        if self.wants(RecordType::SOA) {
            let mut authority = self.zone.authority();
            authority.name = self.name.clone();
            answers.push(authority);
        }
        if self.wants(RecordType::NS) {
            answers.push(Record::from_rdata(self.name.clone(), TTL, RData::NS(NS(self.zone.below(&["ns", "dns"])))));
        }
        records(answers)
    }

    /// Those of the family that is asked for, another one first each time.
    fn addresses(&self, addresses: &[IpAddr]) -> Found {
        let mut answers = Vec::with_capacity(addresses.len());
        answers.extend(in_turn(self.zone, addresses).filter_map(|address| self.address(self.name, *address)));
        records(answers)
    }

    fn address(&self, name: &Name, address: IpAddr) -> Option<Record> {
        let kind = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        self.wants(kind).then(|| record_of(name, address))
    }

    fn service(&self, service: Option<&Records>) -> Found {
        match service {
            None => Found::NoSuchName,
            Some(Records { alias: Some(alias), .. }) => Found::Alias(alias.clone()),
            // The specification asks for SRV records of named ports alone; peers of a StatefulSet look for each other by these.
            Some(service) if self.kind == RecordType::SRV => self.targets(service.ports.iter().flat_map(|port| &port.targets)),
            Some(service) => self.addresses(&service.addresses),
        }
    }

    fn host(&self, service: Option<&Records>, label: &str) -> Found {
        let Some(service) = service else { return Found::NoSuchName };
        if let Some(addresses) = service.hosts.get(label) {
            return self.addresses(addresses);
        }
        // Above the names of ports.
        let is_protocol = |protocol: &str| label.strip_prefix('_') == Some(protocol);
        match service.ports.iter().any(|port| !port.name.is_empty() && is_protocol(port.protocol)) {
            true => Found::NoData,
            false => Found::NoSuchName,
        }
    }

    fn port(&self, service: Option<&Records>, protocol: &str, name: &str) -> Found {
        let (Some(protocol), Some(name)) = (protocol.strip_prefix('_'), name.strip_prefix('_')) else { return Found::NoSuchName };
        let port = service.and_then(|service| service.ports.iter().find(|p| p.protocol == protocol && *p.name == *name));
        let Some(port) = port.filter(|_| !name.is_empty()) else { return Found::NoSuchName };
        if self.wants(RecordType::SRV) { self.targets(port.targets.iter()) } else { Found::NoData }
    }

    /// SRV records, another target first each time, and where these are.
    fn targets<'t>(&self, targets: impl Iterator<Item = &'t Target>) -> Found {
        let targets: Vec<&Target> = targets.collect();
        if targets.is_empty() {
            return Found::NoData;
        }
        let weight = u16::try_from(100 / targets.len()).unwrap_or(0).max(1);
        let srv = |target: &Target| RData::SRV(SRV::new(0, weight, target.port, target.name.clone()));
        let answers = in_turn(self.zone, &targets).map(|target| Record::from_rdata(self.name.clone(), TTL, srv(target)));
        let answers = answers.collect();
        // Several ports of one target: it is told once where that is.
        let mut told = HashSet::new();
        let places = targets.iter().flat_map(|target| target.addresses.iter().map(move |at| (&target.name, *at)));
        let additionals = places.filter(|place| told.insert(*place)).map(|(name, at)| record_of(name, at)).collect();
        Found::Records { answers, additionals }
    }
}

fn in_turn<'a, T>(zone: &Zone, all: &'a [T]) -> impl Iterator<Item = &'a T> {
    let first = if all.len() > 1 { zone.turn() % all.len() } else { 0 };
    all[first..].iter().chain(&all[..first])
}

fn records(answers: Vec<Record>) -> Found {
    if answers.is_empty() { Found::NoData } else { Found::Records { answers, additionals: Vec::new() } }
}

fn record_of(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name.clone(), TTL, data)
}

/// The record of an alias.
pub(crate) fn alias(name: Name, target: Name) -> Record {
    Record::from_rdata(name, TTL, RData::CNAME(CNAME(target)))
}

/// `10-1-2-3` and `fd00--1` (section 2.6).
fn pod_address(label: &str) -> Option<IpAddr> {
    let four = || label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    let six = || label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    four().or_else(six)
}

/// The address of a name below `in-addr.arpa` or `ip6.arpa`, if it is whole.
fn reversed(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

/// The labels of a name before those of the domain, from the domain on, in lower case.
struct Labels<'a> {
    found: [&'a str; DEEPEST],
    count: usize,
}

impl<'a> Labels<'a> {
    /// `None` when there are more than any name has, or one is no text.
    fn before(name: &Name, depth: usize, buffer: &'a mut [u8]) -> Option<Self> {
        let mut labels = Labels { found: [""; DEEPEST], count: 0 };
        let mut rest = buffer;
        for label in name.iter().rev().skip(depth) {
            let (own, after) = rest.split_at_mut_checked(label.len())?;
            own.copy_from_slice(label);
            own.make_ascii_lowercase();
            *labels.found.get_mut(labels.count)? = std::str::from_utf8(own).ok()?;
            labels.count += 1;
            rest = after;
        }
        Some(labels)
    }

    fn slice(&self) -> &[&'a str] {
        &self.found[..self.count]
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
