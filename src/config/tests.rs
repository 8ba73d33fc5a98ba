//! Which settings hold, and how a wrong one is named.

use mizzen_agent::{LogLimits, Thresholds};

use super::node_limits::LOG_LIMITS;
use super::*;

fn flags() -> Flags {
    Flags {
        config: None,
        data_dir: None,
        api_address: None,
        kubeconfig: None,
        node_name: None,
        node_api_address: None,
        registration: registration::Flags::default(),
    }
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let file: File = serde_yaml_ng::from_str("dataDir: /a\nnodeName: from-file\n").expect("parses");
    let config = Config::resolve(Flags { data_dir: Some("/b".into()), ..flags() }, file, || None).expect("is valid");
    assert_eq!(config.data_dir, Path::new("/b"));
    assert_eq!(config.node_name, "from-file");
    assert_eq!(config.kubeconfig, Path::new("/b/kubeconfig"));
    assert_eq!(config.api_address, DEFAULT_API_ADDRESS);
}

#[test]
fn the_nodes_limits_are_the_kubelets_unless_told_otherwise() {
    let resolve = |text: &str| {
        let file: File = serde_yaml_ng::from_str(text).expect("parses");
        Config::resolve(flags(), file, || Some("n".into())).map(|config| config.node).map_err(|error| error.to_string())
    };
    let default = resolve("{}").expect("is valid");
    assert_eq!((default.log, default.image_gc), (LOG_LIMITS, Thresholds { high: 85, low: 80 }));
    let text = "containerLogMaxSize: 1Mi\ncontainerLogMaxFiles: 2\nimageGCHighThresholdPercent: 50\n\
        imageGCLowThresholdPercent: 40\nmaxImageLayerSize: 2Gi\n";
    let own = resolve(text).expect("is valid");
    assert_eq!(own.log, LogLimits { max_bytes: 1 << 20, max_files: 2 });
    assert_eq!((own.image_gc, own.image_layer), (Thresholds { high: 50, low: 40 }, 2 << 30));
    for (text, field) in [
        ("containerLogMaxSize: some", "containerLogMaxSize: \"some\""),
        ("containerLogMaxSize: \"0\"", "containerLogMaxSize: \"0\""),
        ("containerLogMaxFiles: 1", "containerLogMaxFiles: 1"),
        ("imageGCHighThresholdPercent: 101", "imageGCHighThresholdPercent: 101"),
        ("imageGCLowThresholdPercent: 85", "imageGCLowThresholdPercent: 85"),
        ("maxImageLayerSize: -1Gi", "maxImageLayerSize: \"-1Gi\""),
    ] {
        let error = resolve(text).expect_err("is wrong");
        assert!(error.starts_with(field), "{error}");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let relative = Config::resolve(Flags { data_dir: Some("x".into()), ..flags() }, File::default(), || None);
    assert_eq!(relative.expect_err("is relative").to_string(), "dataDir: x is not an absolute path");
    let name = Config::resolve(Flags { node_name: Some("a_b".into()), ..flags() }, File::default(), || None);
    assert!(name.expect_err("is no name").to_string().starts_with("nodeName: \"a_b\""));
    let none: File = serde_yaml_ng::from_str("maxRequestsInflight: 0\nmaxMutatingRequestsInflight: 0\n").expect("parses");
    let none = Config::resolve(flags(), none, || None).expect_err("lets nothing run").to_string();
    assert!(none.starts_with("maxRequestsInflight: "), "{none}");
    let unknown = serde_yaml_ng::from_str::<File>("dataDirr: /a\n").expect_err("is unknown").to_string();
    assert!(unknown.contains("dataDirr"), "{unknown}");
    for (text, field) in [
        ("serviceCIDR: 10.0.0.1/16", "serviceCIDR: \"10.0.0.1/16\""),
        ("serviceCIDR: fd00::/112", "serviceCIDR: one network of IPv4"),
        ("serviceCIDR: 'fd00::/112,10.96.0.0/16'", "serviceCIDR: one network of IPv4"),
        ("serviceCIDR: '10.96.0.0/16,fd00::/112'", "serviceCIDR: services have IPv6"),
        ("podNetwork: {ipv6: 10.0.0.0/8}", "podNetwork.ipv6: 10.0.0.0/8"),
        ("loadBalancerAddresses: [fd00::x]", "loadBalancerAddresses: \"fd00::x\""),
        ("serviceNodePortRange: 9-1", "serviceNodePortRange: \"9-1\""),
        ("policyAuditInterval: daily", "policyAuditInterval: \"daily\""),
        ("policyAuditInterval: 0s", "policyAuditInterval: 0"),
        ("clusterSigningDuration: 0s", "clusterSigningDuration: a certificate"),
        ("server: https://192.0.2.1", "server: an agent's"),
    ] {
        let file: File = serde_yaml_ng::from_str(text).expect("parses");
        let why = Config::resolve(flags(), file, || None).expect_err("is wrong").to_string();
        assert!(why.starts_with(field), "{why}");
    }
    let file: File = serde_yaml_ng::from_str("apiServerNames: [api.example, 192.0.2.7, A_B]\n").expect("parses");
    let name = Config::resolve(flags(), file, || None).expect_err("is no name").to_string();
    assert!(name.starts_with("apiServerNames: \"A_B\""), "{name}");
}
