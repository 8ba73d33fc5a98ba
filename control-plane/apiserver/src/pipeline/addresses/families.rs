//! The fields of the address families: policy, families and addresses agree with each other and with what the cluster has
//! (KEP-563).

use std::net::IpAddr;

use mizzen_api::ServiceRange;
use mizzen_api::status::Cause;
use mizzen_api::validate::invalid;
use serde_json::{Value, json};

/// A family of addresses, as `spec.ipFamilies` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) fn of_range(range: ServiceRange) -> Self {
        if range.is_ipv6() { Self::V6 } else { Self::V4 }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn named(name: &Value) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|family| name == family.name())
    }

    fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

fn text<'a>(service: &'a Value, pointer: &str) -> &'a str {
    service.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(service: &'a Value, pointer: &str) -> &'a [Value] {
    service.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_headless(service: &Value) -> bool {
    text(service, "/spec/clusterIP") == "None"
}

fn is_headless_without_selector(service: &Value) -> bool {
    let selects = service.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    is_headless(service) && !selects
}

/// Families that somebody named, as far as they are any.
pub(super) fn families(service: &Value) -> Vec<Family> {
    list(service, "/spec/ipFamilies").iter().filter_map(Family::named).collect()
}

/// Drops the second family and address where an update asks for one alone: those that it leaves as they were, or leaves out.
fn downgrade(service: &mut Value, old: &Value) {
    let is_single = |service: &Value| text(service, "/spec/ipFamilyPolicy") == "SingleStack";
    if !is_single(service) || is_single(old) {
        return;
    }
    for field in ["clusterIPs", "ipFamilies"] {
        let pointer = format!("/spec/{field}");
        if list(old, &pointer).len() == 2 && list(service, &pointer) == list(old, &pointer) {
            service["spec"][field] = json!([list(old, &pointer)[0]]);
        }
    }
}

/// Fills in policy and families of a service that has an address or wants none. `cluster` is what the cluster has, the primary
/// family first.
///
/// # Errors
/// Names what the cluster does not have.
pub(super) fn settle(service: &mut Value, old: Option<&Value>, cluster: &[Family]) -> Result<(), Vec<Cause>> {
    if let Some(old) = old {
        downgrade(service, old);
    }
    let anything = is_headless_without_selector(service);
    let is_dual = cluster.len() > 1;
    let addresses: Vec<Option<IpAddr>> =
        list(service, "/spec/clusterIPs").iter().map(|ip| ip.as_str().and_then(|ip| ip.parse().ok())).collect();
    let of_addresses: Vec<Family> = addresses.iter().flatten().map(|ip| Family::of(*ip)).collect();
    let named = families(service);
    if text(service, "/spec/ipFamilyPolicy").is_empty() {
        let before = old.map_or("", |old| text(old, "/spec/ipFamilyPolicy"));
        let policy = match before {
            "" if anything => "RequireDualStack",
            "" => "SingleStack",
            before => before,
        };
        service["spec"]["ipFamilyPolicy"] = json!(policy);
    }
    let policy = text(service, "/spec/ipFamilyPolicy").to_owned();
    let mut causes = Vec::new();
    if policy == "SingleStack" {
        for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if list(service, &format!("/spec/{field}")).len() > 1 {
                let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                causes.push(invalid("spec.ipFamilyPolicy", &json!(policy), why));
            }
        }
    }
    if policy == "RequireDualStack" && !is_dual && !anything {
        causes.push(invalid("spec.ipFamilyPolicy", &json!(policy), "this cluster is not configured for dual-stack services"));
    }
    // Those with a family named beside them are told of there.
    for (index, family) in of_addresses.iter().enumerate().skip(named.len()) {
        if !cluster.contains(family) {
            let why = format!("{} is not configured on this cluster", family.name());
            let all = json!(list(service, "/spec/clusterIPs"));
            causes.push(invalid(format!("spec.clusterIPs[{index}]"), &all, why));
        }
    }
    for (index, family) in named.iter().enumerate().filter(|(_, family)| !anything && !cluster.contains(family)) {
        causes.push(invalid(format!("spec.ipFamilies[{index}]"), &json!(family.name()), "not configured on this cluster"));
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    let mut settled: Vec<_> = named.iter().copied().chain(of_addresses.into_iter().skip(named.len())).collect();
    if settled.is_empty() {
        settled.extend(cluster.first());
    }
    // Whoever fills in the endpoints of one that selects none knows what families they are of.
    let wants_two = match policy.as_str() {
        "RequireDualStack" => true,
        "PreferDualStack" => is_dual || anything,
        _ => false,
    };
    if let (true, [only]) = (wants_two, settled.as_slice()) {
        settled.push(only.other());
    }
    let names: Vec<_> = settled.iter().map(|family| family.name()).collect();
    service["spec"]["ipFamilies"] = json!(names);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: &[Family] = &[Family::V4];
    const DUAL: &[Family] = &[Family::V4, Family::V6];

    fn updated(spec: Value, old: Option<Value>, cluster: &[Family]) -> Result<(Value, Value), String> {
        let (mut service, old) = (json!({"spec": spec}), old.map(|spec| json!({"spec": spec})));
        match settle(&mut service, old.as_ref(), cluster) {
            Ok(()) => Ok((service["spec"]["ipFamilyPolicy"].clone(), service["spec"]["ipFamilies"].clone())),
            Err(causes) => Err(format!("{}: {}", causes[0].field, causes[0].message)),
        }
    }

    fn settled(spec: Value, cluster: &[Family]) -> Result<(Value, Value), String> {
        updated(spec, None, cluster)
    }

    #[test]
    fn a_cluster_with_one_family_answers_as_such() {
        let v4 = json!(["IPv4"]);
        let settled = |spec| settled(spec, SINGLE);
        assert_eq!(settled(json!({})), Ok((json!("SingleStack"), v4.clone())));
        assert_eq!(settled(json!({"ipFamilyPolicy": "PreferDualStack"})), Ok((json!("PreferDualStack"), v4.clone())));
        let headless = json!({"clusterIP": "None", "clusterIPs": ["None"]});
        assert_eq!(settled(headless), Ok((json!("RequireDualStack"), json!(["IPv4", "IPv6"]))));
        let selecting = json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}});
        assert_eq!(settled(selecting), Ok((json!("SingleStack"), v4)));
        for (spec, why) in [
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (json!({"ipFamilies": ["IPv6"]}), "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"),
            (
                json!({"clusterIPs": ["fd00::1"]}),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
        ] {
            assert_eq!(settled(spec), Err(why.to_owned()));
        }
    }

    #[test]
    fn a_cluster_with_two_gives_those_that_are_asked_for_in_their_order() {
        let (four, six) = (json!(["IPv4", "IPv6"]), json!(["IPv6", "IPv4"]));
        let settled = |spec| settled(spec, DUAL);
        assert_eq!(settled(json!({})), Ok((json!("SingleStack"), json!(["IPv4"]))));
        for policy in ["PreferDualStack", "RequireDualStack"] {
            assert_eq!(settled(json!({"ipFamilyPolicy": policy})), Ok((json!(policy), four.clone())));
            let turned = json!({"ipFamilyPolicy": policy, "ipFamilies": ["IPv6"]});
            assert_eq!(settled(turned), Ok((json!(policy), six.clone())), "the one that is named comes first");
            let headless = json!({"ipFamilyPolicy": policy, "clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}});
            assert_eq!(settled(headless), Ok((json!(policy), four.clone())));
        }
        assert_eq!(settled(json!({"ipFamilies": ["IPv6"]})), Ok((json!("SingleStack"), json!(["IPv6"]))));
        assert_eq!(settled(json!({"clusterIPs": ["fd00::1"]})), Ok((json!("SingleStack"), json!(["IPv6"]))));
        let turned = json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]});
        assert_eq!(settled(turned), Ok((json!("PreferDualStack"), six)));
        let both = json!({"ipFamilies": ["IPv4", "IPv6"]});
        let why = "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
        assert_eq!(settled(both), Err(why.to_owned()));
    }

    #[test]
    fn an_update_may_add_the_second_family_and_take_it_back() {
        let one = json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"], "clusterIPs": ["fd00::7"]});
        let mut more = one.clone();
        more["ipFamilyPolicy"] = json!("PreferDualStack");
        assert_eq!(updated(more, Some(one), DUAL), Ok((json!("PreferDualStack"), json!(["IPv6", "IPv4"]))));
        let two =
            json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.96.0.7", "fd00::7"]});
        let mut fewer = two.clone();
        fewer["ipFamilyPolicy"] = json!("SingleStack");
        assert_eq!(updated(fewer.clone(), Some(two.clone()), DUAL), Ok((json!("SingleStack"), json!(["IPv4"]))));
        fewer["ipFamilies"] = json!(["IPv6", "IPv4"]);
        updated(fewer, Some(two), DUAL).expect_err("it names two, and others than before");
    }
}
