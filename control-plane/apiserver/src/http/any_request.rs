//! No path, query or header makes what reads them panic, and what was encoded comes back.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;

use super::params::Params;
use super::{accept, gzip, path};

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_that_was_encoded_comes_back(name in "[a-z]{1,4}", value in "\\PC{0,12}") {
        let params = Params::parse(&format!("x=y&{name}0={}&&z", encoded(&value)));
        prop_assert_eq!(params.get(&format!("{name}0")), Some(value.as_str()));
        prop_assert_eq!(path::percent_decode(&encoded(&value)), value);
    }

    #[test]
    fn no_request_line_panics(
        path in "(/|api|apis|v1|watch|namespaces|pods|proxy|%2[fF]|%|%e|\\.\\.|\\PC){0,12}",
        query in "(&|=|\\+|%2|%zz|limit|timeoutSeconds|dryRun|watch|true|-1|99999999999999999999|continue|\\PC){0,12}",
    ) {
        path::parse(&path);
        let params = Params::parse(&query);
        let _ = (params.list(), params.watch(), params.write("CreateOptions", &path), params.delete(&Value::Null));
        let _ = params.flag("watch");
    }

    #[test]
    fn no_header_panics(
        near in "(application|/|\\*|json|yaml|;|=|,|q|0\\.|as|Table|PartialObjectMetadata|g|v|v1|meta\\.k8s\\.io|apidiscovery\\.k8s\\.io| ){0,16}",
        wild in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for value in [HeaderValue::from_str(&near).ok(), HeaderValue::from_bytes(&wild).ok()].into_iter().flatten() {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, value.clone());
            headers.insert(http::header::ACCEPT_ENCODING, value);
            let _ = accept::negotiate(&headers, accept::Endpoint::Answer { protobuf: true });
            accept::for_status(&headers);
            accept::aggregated_discovery(&headers);
            gzip::is_accepted(&headers);
        }
    }
}
