use proptest::prelude::*;

use super::*;
use crate::testing::{cluster_ip, external, headless, ip, name, slice, zone};

/// Answers in the words of zone files, sorted; or what there is instead.
fn ask(zone: &Zone, of: &str, kind: RecordType) -> Vec<String> {
    match zone.lookup(&name(of), kind) {
        None => vec!["elsewhere".to_owned()],
        Some(Found::NoData) => vec!["no data".to_owned()],
        Some(Found::NoSuchName) => vec!["no such name".to_owned()],
        Some(Found::Alias(target)) => vec![format!("CNAME {target}")],
        Some(Found::Records { answers, .. }) => {
            assert!(answers.iter().all(|record| record.name == name(of)), "answers bear the name that was asked for");
            let mut said: Vec<_> = answers.iter().map(|record| format!("{} {}", record.record_type(), record.data)).collect();
            said.sort();
            said
        }
    }
}

fn world() -> Zone {
    let mut zone = zone();
    zone.set_service("default", "web", cluster_ip(&["10.96.0.5", "fd00::5"], &[("http", "tcp", 80), ("", "udp", 53)]));
    zone.set_slice(
        "default",
        "web",
        "web-1",
        slice(&[("10.64.0.9", "", true), ("10.64.0.8", "named", true)], &[("http", "tcp", 8080)]),
    );
    zone.set_service("default", "sql", headless(false));
    let endpoints = [("10.64.0.7", "db-0", true), ("10.64.0.6", "", true), ("10.64.0.5", "db-1", false)];
    zone.set_slice("default", "sql", "sql-1", slice(&endpoints, &[("pg", "tcp", 5432)]));
    zone.set_service("default", "early", headless(true));
    zone.set_slice("default", "early", "early-1", slice(&[("10.64.0.5", "", false)], &[]));
    zone.set_service("other", "site", external("www.example.com."));
    zone.set_service("other", "empty", headless(false));
    zone
}

#[test]
fn a_service_has_its_addresses_the_records_of_its_named_ports_and_the_name_of_its_address() {
    let zone = world();
    assert_eq!(ask(&zone, "web.default.svc.cluster.local.", RecordType::A), ["A 10.96.0.5"]);
    assert_eq!(ask(&zone, "WEB.Default.SVC.Cluster.Local.", RecordType::AAAA), ["AAAA fd00::5"]);
    assert_eq!(ask(&zone, "web.default.svc.cluster.local.", RecordType::ANY), ["A 10.96.0.5", "AAAA fd00::5"]);
    assert_eq!(ask(&zone, "web.default.svc.cluster.local.", RecordType::MX), ["no data"]);
    let srv = "SRV 0 100 80 web.default.svc.cluster.local.";
    assert_eq!(ask(&zone, "_http._tcp.web.default.svc.cluster.local.", RecordType::SRV), [srv]);
    assert_eq!(ask(&zone, "_http._tcp.web.default.svc.cluster.local.", RecordType::A), ["no data"]);
    assert_eq!(ask(&zone, "_http._udp.web.default.svc.cluster.local.", RecordType::SRV), ["no such name"]);
    assert_eq!(ask(&zone, "_tcp.web.default.svc.cluster.local.", RecordType::SRV), ["no data"]);
    assert_eq!(ask(&zone, "5.0.96.10.in-addr.arpa.", RecordType::PTR), ["PTR web.default.svc.cluster.local."]);
    let six = format!("5.{}0.0.d.f.ip6.arpa.", "0.".repeat(27));
    assert_eq!(ask(&zone, &six, RecordType::PTR), ["PTR web.default.svc.cluster.local."]);
    assert_eq!(ask(&zone, "named.web.default.svc.cluster.local.", RecordType::A), ["A 10.64.0.8"]);
    assert_eq!(ask(&zone, "10-64-0-9.web.default.svc.cluster.local.", RecordType::A), ["no such name"]);
}

#[test]
fn a_headless_service_is_its_ready_endpoints_each_with_a_name() {
    let zone = world();
    assert_eq!(ask(&zone, "sql.default.svc.cluster.local.", RecordType::A), ["A 10.64.0.6", "A 10.64.0.7"]);
    assert_eq!(ask(&zone, "sql.default.svc.cluster.local.", RecordType::AAAA), ["no data"]);
    assert_eq!(ask(&zone, "db-0.sql.default.svc.cluster.local.", RecordType::A), ["A 10.64.0.7"]);
    assert_eq!(ask(&zone, "10-64-0-6.sql.default.svc.cluster.local.", RecordType::A), ["A 10.64.0.6"]);
    assert_eq!(ask(&zone, "db-1.sql.default.svc.cluster.local.", RecordType::A), ["no such name"], "it is not ready");
    let targets = ["SRV 0 50 5432 10-64-0-6.sql.default.svc.cluster.local.", "SRV 0 50 5432 db-0.sql.default.svc.cluster.local."];
    assert_eq!(ask(&zone, "_pg._tcp.sql.default.svc.cluster.local.", RecordType::SRV), targets);
    assert_eq!(ask(&zone, "7.0.64.10.in-addr.arpa.", RecordType::PTR), ["PTR db-0.sql.default.svc.cluster.local."]);
    assert_eq!(ask(&zone, "early.default.svc.cluster.local.", RecordType::A), ["A 10.64.0.5"], "it publishes all");
    assert_eq!(ask(&zone, "empty.other.svc.cluster.local.", RecordType::A), ["no such name"], "it has no endpoints");
}

#[test]
fn peers_find_each_other_by_the_srv_records_of_the_services_own_name() {
    let zone = world();
    let peers = ["SRV 0 50 5432 10-64-0-6.sql.default.svc.cluster.local.", "SRV 0 50 5432 db-0.sql.default.svc.cluster.local."];
    assert_eq!(ask(&zone, "sql.default.svc.cluster.local.", RecordType::SRV), peers);
    let all = ["SRV 0 50 53 web.default.svc.cluster.local.", "SRV 0 50 80 web.default.svc.cluster.local."];
    assert_eq!(ask(&zone, "web.default.svc.cluster.local.", RecordType::SRV), all, "ports without a name are among them");
    assert_eq!(ask(&zone, "early.default.svc.cluster.local.", RecordType::SRV), ["no data"], "it has no ports");
    assert_eq!(ask(&zone, "_._udp.web.default.svc.cluster.local.", RecordType::SRV), ["no such name"]);
}

#[test]
fn the_helpful_records_of_an_srv_answer_are_the_addresses_of_its_targets() {
    let Some(Found::Records { additionals, .. }) =
        world().lookup(&name("_pg._tcp.sql.default.svc.cluster.local."), RecordType::SRV)
    else {
        panic!("there are records")
    };
    let mut told: Vec<_> = additionals.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
    told.sort();
    let expected = ["10-64-0-6.sql.default.svc.cluster.local. 10.64.0.6", "db-0.sql.default.svc.cluster.local. 10.64.0.7"];
    assert_eq!(told, expected);
}

#[test]
fn names_above_and_beside_those_of_services_are_there_or_not() {
    let zone = world();
    assert_eq!(ask(&zone, "site.other.svc.cluster.local.", RecordType::A), ["CNAME www.example.com."]);
    assert_eq!(ask(&zone, "dns-version.cluster.local.", RecordType::TXT), ["TXT 1.1.0"]);
    for (of, what) in [
        ("cluster.local.", "no data"),
        ("svc.cluster.local.", "no data"),
        ("default.svc.cluster.local.", "no data"),
        ("nobody.svc.cluster.local.", "no such name"),
        ("no.default.svc.cluster.local.", "no such name"),
        ("a.b.c.d.e.f.svc.cluster.local.", "no such name"),
        ("web.default.cluster.local.", "no such name"),
        ("www.example.com.web.default.svc.cluster.local.", "no such name"),
        ("local.", "elsewhere"),
        ("notcluster.local.", "elsewhere"),
        ("www.example.com.", "elsewhere"),
        ("9.0.96.10.in-addr.arpa.", "elsewhere"),
        ("96.10.in-addr.arpa.", "elsewhere"),
        (".", "elsewhere"),
    ] {
        assert_eq!(ask(&zone, of, RecordType::A), [what], "{of}");
    }
    assert_eq!(ask(&zone, "9.0.96.10.in-addr.arpa.", RecordType::PTR), ["elsewhere"]);
    assert_eq!(ask(&zone, "cluster.local.", RecordType::NS), ["NS ns.dns.cluster.local."]);
    assert_eq!(ask(&zone, "ns.dns.cluster.local.", RecordType::A), ["A 10.64.0.1"]);
    assert!(ask(&zone, "cluster.local.", RecordType::SOA)[0].starts_with("SOA ns.dns.cluster.local. hostmaster.cluster.local. "));
}

#[test]
fn a_pods_name_is_its_address() {
    let zone = world();
    assert_eq!(ask(&zone, "10-1-2-3.default.pod.cluster.local.", RecordType::A), ["A 10.1.2.3"]);
    assert_eq!(ask(&zone, "10-1-2-3.default.pod.cluster.local.", RecordType::AAAA), ["no data"]);
    assert_eq!(ask(&zone, "fd00--1.default.pod.cluster.local.", RecordType::AAAA), ["AAAA fd00::1"]);
    for of in ["10-1-2.default.pod.cluster.local.", "10-1-2-300.default.pod.cluster.local.", "x.default.pod.cluster.local."] {
        assert_eq!(ask(&zone, of, RecordType::A), ["no such name"], "{of}");
    }
    assert_eq!(ask(&zone, "default.pod.cluster.local.", RecordType::A), ["no data"]);
}

#[test]
fn addresses_take_turns_at_being_the_first() {
    let mut zone = zone();
    zone.set_service("n", "s", headless(false));
    zone.set_slice("n", "s", "s-1", slice(&[("10.0.0.1", "", true), ("10.0.0.2", "", true), ("10.0.0.3", "", true)], &[]));
    let first = || match zone.lookup(&name("s.n.svc.cluster.local."), RecordType::A) {
        Some(Found::Records { answers, .. }) => answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    let mut firsts = [first(), first(), first()];
    firsts.sort();
    assert_eq!(firsts, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn slices_that_come_before_their_service_and_what_is_gone_leave_nothing_behind() {
    let mut zone = zone();
    let of = "s.n.svc.cluster.local.";
    zone.set_slice("n", "s", "s-1", slice(&[("10.0.0.1", "a", true)], &[]));
    assert_eq!(ask(&zone, of, RecordType::A), ["no such name"]);
    zone.set_service("n", "s", headless(false));
    zone.set_slice("n", "s", "s-2", slice(&[("10.0.0.1", "a", true), ("10.0.0.2", "a", true)], &[]));
    assert_eq!(ask(&zone, of, RecordType::A), ["A 10.0.0.1", "A 10.0.0.2"]);
    assert_eq!(ask(&zone, "a.s.n.svc.cluster.local.", RecordType::A), ["A 10.0.0.1", "A 10.0.0.2"]);
    zone.set_service("n", "s", external("b.example."));
    assert_eq!(ask(&zone, of, RecordType::A), ["CNAME b.example."]);
    assert_eq!(ask(&zone, "1.0.0.10.in-addr.arpa.", RecordType::PTR), ["elsewhere"]);
    zone.set_service("n", "s", None);
    zone.set_slice("n", "s", "s-1", None);
    zone.set_slice("n", "s", "s-2", None);
    assert!(zone.namespaces.is_empty() && zone.pointers.is_empty());
}

#[test]
fn an_address_of_several_names_is_called_by_those_that_somebody_gave_it() {
    let mut zone = zone();
    for (service, hostname) in [("a", ""), ("b", "db"), ("c", "")] {
        zone.set_service("n", service, headless(false));
        zone.set_slice("n", service, "1", slice(&[("10.0.0.1", hostname, true)], &[]));
    }
    let of = "1.0.0.10.in-addr.arpa.";
    assert_eq!(ask(&zone, of, RecordType::PTR), ["PTR db.b.n.svc.cluster.local."]);
    zone.set_service("n", "b", None);
    let assigned = ["PTR 10-0-0-1.a.n.svc.cluster.local.", "PTR 10-0-0-1.c.n.svc.cluster.local."];
    assert_eq!(ask(&zone, of, RecordType::PTR), assigned);
}

#[test]
fn the_domain_is_the_clusters_own() {
    let mut zone = Zone::new("k8s.Example.org", vec![]).unwrap();
    zone.set_service("n", "s", cluster_ip(&["10.0.0.1"], &[]));
    assert_eq!(ask(&zone, "s.n.svc.k8s.example.org.", RecordType::A), ["A 10.0.0.1"]);
    assert_eq!(ask(&zone, "s.n.svc.cluster.local.", RecordType::A), ["elsewhere"]);
    assert_eq!(ask(&zone, "ns.dns.k8s.example.org.", RecordType::A), ["no data"]);
    for wrong in ["", ".", "a..b", &"x".repeat(64)] {
        assert!(Zone::new(wrong, vec![]).is_err(), "{wrong:?}");
    }
}

/// One change to a small world.
#[derive(Clone, Debug)]
enum Step {
    Service(u8, u8),
    Slice(u8, u8, u8),
}

fn apply(zone: &mut Zone, step: &Step) {
    const SERVICES: [&str; 3] = ["a", "b", "c"];
    match step {
        Step::Service(which, what) => {
            let view = match what {
                0 => None,
                1 => cluster_ip(&[["10.96.0.1", "10.96.0.2", "10.96.0.3"][usize::from(*which)]], &[("p", "tcp", 1)]),
                2 => headless(false),
                3 => headless(true),
                _ => external("x.example."),
            };
            zone.set_service("n", SERVICES[usize::from(*which)], view);
        }
        Step::Slice(which, slot, what) => {
            let view = match what {
                0 => None,
                1 => slice(&[], &[]),
                2 => slice(&[("10.0.0.1", "", true), ("10.0.0.2", "h", true)], &[("p", "tcp", 2)]),
                3 => slice(&[("10.0.0.2", "h", false), ("10.0.0.3", "", true)], &[("p", "tcp", 3), ("", "udp", 4)]),
                _ => slice(&[("fd00::1", "h", true)], &[("p", "tcp", 2)]),
            };
            zone.set_slice("n", SERVICES[usize::from(*which)], ["1", "2"][usize::from(*slot)], view);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, 0..5_u8).prop_map(|(which, what)| Step::Service(which, what)),
        (0..3_u8, 0..2_u8, 0..5_u8).prop_map(|(which, slot, what)| Step::Slice(which, slot, what)),
    ]
}

/// Everything that can be asked about the small world.
fn everything(zone: &Zone) -> Vec<Vec<String>> {
    let mut said = Vec::new();
    for service in ["a", "b", "c"] {
        for host in ["", "h.", "10-0-0-1.", "10-0-0-2.", "10-0-0-3.", "fd00--1.", "_tcp.", "_p._tcp."] {
            for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV] {
                said.push(ask(zone, &format!("{host}{service}.n.svc.cluster.local."), kind));
            }
        }
    }
    for address in ["10.96.0.1", "10.96.0.2", "10.96.0.3", "10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"] {
        said.push(ask(zone, &Name::from(ip(address)).to_string(), RecordType::PTR));
    }
    said.push(ask(zone, "n.svc.cluster.local.", RecordType::A));
    said
}

proptest! {
    #[test]
    fn a_zone_is_what_it_holds_however_it_came_there(steps in prop::collection::vec(step(), 1..40)) {
        let mut zone = zone();
        let mut last = std::collections::BTreeMap::new();
        for step in &steps {
            apply(&mut zone, step);
            let slot = match step {
                Step::Service(which, _) => (*which, 9),
                Step::Slice(which, slot, _) => (*which, *slot),
            };
            last.insert(slot, step);
        }
        let mut fresh = crate::testing::zone();
        for step in last.values().rev() {
            apply(&mut fresh, step);
        }
        prop_assert_eq!(everything(&zone), everything(&fresh));
        for step in last.values() {
            let gone = match step {
                Step::Service(which, _) => Step::Service(*which, 0),
                Step::Slice(which, slot, _) => Step::Slice(*which, *slot, 0),
            };
            apply(&mut zone, &gone);
        }
        prop_assert!(zone.namespaces.is_empty() && zone.pointers.is_empty());
    }
}
