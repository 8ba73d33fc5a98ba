//! Gives a service the addresses and node ports that it asks for or lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use mizzen_api::PortRange;
use mizzen_api::service_addresses::{allocates_node_ports, has_address, has_health_check, has_node_ports};
use mizzen_api::status::Cause;
use mizzen_api::validate::invalid;
use mizzen_store::Store;
use serde_json::{Value, json};

use super::claim::{self, Claim, Holder};
use super::families::{self, Family};
use super::metadata;
use super::ranges::Ranges;

pub(super) enum Refused {
    /// It asks for what it cannot have.
    Field(Vec<Cause>),
    /// Nothing is left.
    Exhausted(&'static str),
}

pub(super) struct Allocation<'a> {
    store: &'a dyn Store,
    ranges: &'a Ranges,
    ports: PortRange,
    /// The service as the request has it: claims go by its name.
    service: Value,
    /// What it has already.
    before: BTreeSet<Claim>,
    /// The node ports that it asks for, or has been given here.
    picked: Vec<u16>,
    /// Differs from service to service, so that writers at the same time seldom want the same.
    seed: u64,
}

/// 422: no range has the address.
pub(super) fn no_range(address: IpAddr) -> Vec<Cause> {
    let why = format!("failed to allocate IP {address}: the provided network does not match the current range");
    vec![invalid("spec.clusterIPs", &json!([address]), why)]
}

fn refuse(field: impl std::fmt::Display, value: &Value, why: impl std::fmt::Display) -> Refused {
    Refused::Field(vec![invalid(field, value, why)])
}

fn text<'a>(service: &'a Value, pointer: &str) -> &'a str {
    service.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn number(port: &Value, field: &str) -> u64 {
    port.get(field).and_then(Value::as_u64).unwrap_or(0)
}

impl<'a> Allocation<'a> {
    pub(super) fn new(store: &'a dyn Store, ranges: &'a Ranges, ports: PortRange, service: &Value, old: Option<&Value>) -> Self {
        let mut hasher = DefaultHasher::new();
        metadata::text(service, "uid").hash(&mut hasher);
        Self {
            store,
            ranges,
            ports,
            service: json!({"metadata": service.get("metadata")}),
            before: old.map(claim::held).unwrap_or_default(),
            picked: Vec::new(),
            seed: hasher.finish(),
        }
    }

    /// Fills in what `service` lacks.
    ///
    /// # Errors
    /// When it asks for what it cannot have, or nothing is left.
    pub(super) fn give(mut self, service: &mut Value, old: Option<&Value>) -> Result<(), Refused> {
        if service.get("spec").is_none_or(|spec| !spec.is_object()) {
            // The kind's own checks tell.
            return Ok(());
        }
        if has_address(service) {
            families::settle(service, old, &self.ranges.families()).map_err(Refused::Field)?;
            self.addresses(service)?;
        }
        if has_node_ports(service) {
            self.node_ports(service)?;
        }
        if has_health_check(service) {
            self.health_check_port(service)?;
        }
        Ok(())
    }

    fn is_free(&self, claim: Claim) -> bool {
        self.before.contains(&claim) || claim.holder(self.store, &self.service) != Holder::Other
    }

    /// One of each family that the service has, the primary one first.
    fn addresses(&self, service: &mut Value) -> Result<(), Refused> {
        let asked = service.pointer("/spec/clusterIPs").and_then(Value::as_array).cloned().unwrap_or_default();
        let primary = text(service, "/spec/clusterIP").to_owned();
        match primary.as_str() {
            "" if !asked.is_empty() => {
                return Err(refuse("spec.clusterIPs", &json!(asked), "must be empty when `clusterIP` is not specified"));
            }
            "None" => return Ok(()),
            _ => {}
        }
        let asked = if asked.is_empty() && !primary.is_empty() { vec![json!(primary)] } else { asked };
        // What is no address at all is told by the kind's own checks.
        for address in asked.iter().filter_map(|ip| ip.as_str()?.parse().ok()) {
            self.check_address(address)?;
        }
        let mut given = asked.clone();
        for family in families::families(service).into_iter().skip(asked.len()) {
            given.push(json!(self.pick_address(family)?));
        }
        service["spec"]["clusterIP"] = given.first().cloned().unwrap_or_default();
        service["spec"]["clusterIPs"] = json!(given);
        Ok(())
    }

    fn check_address(&self, asked: IpAddr) -> Result<(), Refused> {
        if self.before.contains(&Claim::Address(asked)) {
            return Ok(());
        }
        if !self.ranges.contain(asked) {
            return Err(Refused::Field(no_range(asked)));
        }
        if self.is_free(Claim::Address(asked)) {
            return Ok(());
        }
        let why = format!("failed to allocate IP {asked}: provided IP is already allocated");
        Err(refuse("spec.clusterIPs", &json!([asked]), why))
    }

    fn pick_address(&self, family: Family) -> Result<IpAddr, Refused> {
        // The first is for the service `kubernetes`, which asks for it by name.
        let first = self.ranges.own.range.first();
        let mut candidates = self.ranges.candidates(family, self.seed).filter(|address| *address != first);
        let free = candidates.find(|address| self.store.get(&Claim::Address(*address).key()).is_none());
        free.ok_or(Refused::Exhausted("failed to allocate a serviceIP: range is full"))
    }

    fn node_ports(&mut self, service: &mut Value) -> Result<(), Refused> {
        let gives = allocates_node_ports(service);
        let Some(ports) = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return Ok(()) };
        self.picked = ports.iter().filter_map(|port| u16::try_from(number(port, "nodePort")).ok()).collect();
        // Ports of the same number and another protocol share a node port, also one that a later of them asks for.
        let mut shared: BTreeMap<u64, u64> = BTreeMap::new();
        for port in ports.iter().filter(|port| number(port, "nodePort") != 0) {
            shared.entry(number(port, "port")).or_insert_with(|| number(port, "nodePort"));
        }
        let mut used = BTreeSet::new();
        for (index, port) in ports.iter_mut().enumerate() {
            let protocol = text(port, "/protocol").to_owned();
            let given = match (number(port, "nodePort"), shared.get(&number(port, "port"))) {
                (0, _) if !gives => continue,
                (0, Some(same)) if !used.contains(&(protocol.clone(), *same)) => *same,
                (0, _) => u64::from(self.pick_port("failed to allocate a nodePort: range is full")?),
                (asked, _) => {
                    let why = |why| refuse(format!("spec.ports[{index}].nodePort"), &json!(asked), why);
                    self.check_port(asked).map_err(why)?;
                    asked
                }
            };
            shared.entry(number(port, "port")).or_insert(given);
            if !used.insert((protocol.clone(), given)) {
                let twice = json!({"protocol": protocol, "nodePort": given});
                let cause = mizzen_api::validate::duplicate(format!("spec.ports[{index}].nodePort"), &twice);
                return Err(Refused::Field(vec![cause]));
            }
            if let Some(port) = port.as_object_mut() {
                port.insert("nodePort".to_owned(), json!(given));
            }
        }
        Ok(())
    }

    fn health_check_port(&mut self, service: &mut Value) -> Result<(), Refused> {
        let asked = service.get("spec").map_or(0, |spec| number(spec, "healthCheckNodePort"));
        let given = match asked {
            0 => u64::from(self.pick_port("failed to allocate a HealthCheck NodePort: range is full")?),
            asked => {
                let why = |why| {
                    refuse(
                        "spec.healthCheckNodePort",
                        &json!(asked),
                        format!("failed to allocate requested HealthCheck NodePort: {why}"),
                    )
                };
                self.check_port(asked).map_err(why)?;
                asked
            }
        };
        service["spec"]["healthCheckNodePort"] = json!(given);
        Ok(())
    }

    /// # Errors
    /// Why the service cannot have the port.
    fn check_port(&self, asked: u64) -> Result<(), String> {
        let port = u16::try_from(asked).ok();
        if port.is_some_and(|port| self.before.contains(&Claim::Port(port))) {
            return Ok(());
        }
        match port.filter(|port| self.ports.contains(*port)) {
            None => {
                let range = self.ports;
                Err(format!("provided port is not in the valid range. The range of valid ports is {range}"))
            }
            Some(port) if self.is_free(Claim::Port(port)) => Ok(()),
            Some(_) => Err("provided port is already allocated".to_owned()),
        }
    }

    fn pick_port(&mut self, full: &'static str) -> Result<u16, Refused> {
        let is_free = |port: &u16| !self.picked.contains(port) && self.store.get(&Claim::Port(*port).key()).is_none();
        let port = self.ports.candidates(self.seed).find(is_free).ok_or(Refused::Exhausted(full))?;
        self.picked.push(port);
        Ok(port)
    }
}
