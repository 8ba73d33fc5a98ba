//! The fields of the address families, as a cluster with IPv4 alone answers them (KEP-563).

use mizzen_api::status::Cause;
use mizzen_api::validate::invalid;
use serde_json::{Value, json};

fn text<'a>(service: &'a Value, pointer: &str) -> &'a str {
    service.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn length(service: &Value, pointer: &str) -> usize {
    service.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
}

fn is_headless_without_selector(service: &Value) -> bool {
    let selects = service.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    text(service, "/spec/clusterIP") == "None" && !selects
}

/// Fills in policy and families of a service that has an address or wants none.
///
/// # Errors
/// Names what the cluster does not have.
pub(super) fn settle(service: &mut Value, old: Option<&Value>) -> Result<(), Vec<Cause>> {
    let anything = is_headless_without_selector(service);
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
            if length(service, &format!("/spec/{field}")) > 1 {
                let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                causes.push(invalid("spec.ipFamilyPolicy", &json!(policy), why));
            }
        }
    }
    let ips = service.pointer("/spec/clusterIPs").and_then(Value::as_array).cloned().unwrap_or_default();
    let known = length(service, "/spec/ipFamilies");
    let v6 = |ip: &Value| ip.as_str().is_some_and(|ip| ip.contains(':'));
    if let Some(index) = ips.iter().enumerate().skip(known).position(|(_, ip)| v6(ip)).map(|at| at + known) {
        causes.push(invalid(format!("spec.clusterIPs[{index}]"), &json!(ips), "IPv6 is not configured on this cluster"));
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    if length(service, "/spec/ipFamilies") == 0 {
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
    }
    let families = service["spec"]["ipFamilies"].as_array().cloned().unwrap_or_default();
    if anything {
        // Whoever fills in the endpoints knows what families they are of.
        if let [only] = families.as_slice()
            && policy != "SingleStack"
        {
            let other = if only == "IPv4" { "IPv6" } else { "IPv4" };
            service["spec"]["ipFamilies"] = json!([only, other]);
        }
        return Ok(());
    }
    if policy == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        causes.push(invalid("spec.ipFamilyPolicy", &json!(policy), why));
    }
    for (index, family) in families.iter().enumerate().filter(|(_, family)| *family != "IPv4") {
        causes.push(invalid(format!("spec.ipFamilies[{index}]"), family, "not configured on this cluster"));
    }
    if causes.is_empty() { Ok(()) } else { Err(causes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(spec: Value) -> Result<(Value, Value), String> {
        let mut service = json!({"spec": spec});
        match settle(&mut service, None) {
            Ok(()) => Ok((service["spec"]["ipFamilyPolicy"].clone(), service["spec"]["ipFamilies"].clone())),
            Err(causes) => Err(format!("{}: {}", causes[0].field, causes[0].message)),
        }
    }

    #[test]
    fn a_cluster_with_one_family_answers_as_such() {
        let v4 = json!(["IPv4"]);
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
}
