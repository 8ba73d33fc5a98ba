use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Published samples of every generally available kind, each as JSON, YAML and protobuf; they are not part of this
/// repository. `visit` gets the name and what is in the three files.
fn samples(mut visit: impl FnMut(&str, &Value, &[u8], &[u8])) -> bool {
    let folder = Path::new("/work/shared/oracle/testdata");
    if !folder.is_dir() {
        println!("skipped: {} is not here", folder.display());
        return false;
    }
    let mut seen = 0;
    for (_, schema) in mizzen_api::schema::builtin().iter() {
        let mizzen_api::schema::Shape::Object(shape) = &schema.shape else { continue };
        for kind in shape.kinds.iter().filter(|kind| !kind.kind.ends_with("List")) {
            let group = if kind.group.is_empty() { "core" } else { &*kind.group };
            let name = format!("{group}.{}.{}", kind.version, kind.kind);
            let read = |extension: &str| std::fs::read(folder.join(format!("{name}.{extension}")));
            let (Ok(json), Ok(yaml), Ok(bytes)) = (read("json"), read("yaml"), read("pb")) else {
                println!("no sample of {name}");
                continue;
            };
            seen += 1;
            visit(&name, &serde_json::from_slice(&json).expect("a JSON sample"), &yaml, &bytes);
        }
    }
    assert!(seen > 60, "only {seen} samples");
    true
}

#[test]
fn every_published_sample_decodes_to_its_json() {
    let mut differing = Vec::new();
    samples(|name, json, _, bytes| {
        let got = decode(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        differences(name, json, &got, &mut differing);
    });
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_published_sample_encodes_to_its_bytes() {
    let mut differing = Vec::new();
    samples(|name, json, _, bytes| {
        let got = encode(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        if got != bytes {
            let at = got.iter().zip(bytes).position(|(got, wanted)| got != wanted).unwrap_or(got.len().min(bytes.len()));
            let (start, end) = (at.saturating_sub(24), (at + 24).min(bytes.len()));
            differing.push(format!("{name} at {at} of {}: wanted {}", bytes.len(), bytes[start..end].escape_ascii()));
            differing.push(format!("    got {}", got[start.min(got.len())..end.min(got.len())].escape_ascii()));
        }
        let back = decode(&got).unwrap_or_else(|error| panic!("{name}: {error}"));
        differences(name, json, &back, &mut differing);
    });
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_published_sample_in_yaml_is_its_json() {
    let mut differing = Vec::new();
    samples(|name, json, yaml, _| {
        let parsed = crate::pipeline::body::parse(mizzen_client::Body::Yaml(yaml.to_vec().into()));
        let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(parsed.duplicates.is_empty());
        differences(name, json, &parsed.value, &mut differing);
    });
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Every place where two documents differ.
fn differences(path: &str, wanted: &Value, got: &Value, found: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(wanted), Value::Object(got)) => {
            for (key, value) in wanted {
                differences(&format!("{path}.{key}"), value, got.get(key).unwrap_or(&Value::Null), found);
            }
            found.extend(got.keys().filter(|key| !wanted.contains_key(*key)).map(|key| format!("{path}.{key} is too much")));
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            for (index, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                differences(&format!("{path}[{index}]"), wanted, got, found);
            }
        }
        _ if wanted == got => {}
        _ => found.push(format!("{path}: wanted {wanted}, got {got}")),
    }
}

#[test]
fn broken_bodies_are_errors_and_no_panics() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
    let mut body = b"k8s\0".to_vec();
    body.extend_from_slice(&[0x0a, 0x0d, 0x0a, 0x02, b'v', b'1', 0x12, 0x07]);
    body.extend_from_slice(b"Nothing");
    assert!(matches!(decode(&body), Err(ProtobufError::UnknownKind { .. })));
    for length in 0..body.len() {
        let _ = decode(&body[..length]);
    }
    assert!(decode(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
}

#[test]
fn what_the_encoding_cannot_leave_out_is_absent_when_it_is_zero() {
    // apps/v1 Deployment {spec {replicas: 0, minReadySeconds: 0, paused: false}}
    let type_meta = [b"\x0a\x07apps/v1".as_slice(), b"\x12\x0aDeployment"].concat();
    let spec = [0x08, 0x00, 0x28, 0x00, 0x38, 0x00];
    let raw = [&[0x12, 6][..], &spec].concat();
    let mut body = b"k8s\0".to_vec();
    body.extend([&[0x0a, type_meta.len() as u8][..], &type_meta, &[0x12, raw.len() as u8], &raw].concat());
    assert_eq!(decode(&body).expect("decodes")["spec"], json!({"replicas": 0}));
}

#[test]
fn pointers_tell_zero_from_absent_and_other_fields_do_not() {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"},
        "spec": {"storageClassName": "", "volumeName": ""}});
    let back = decode(&encode(&claim).expect("encodes")).expect("decodes");
    assert_eq!(back["spec"], json!({"storageClassName": ""}));
}

#[test]
fn a_struct_without_fields_is_there_or_not() {
    let definition = |subresources: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"group": "example.com", "versions": [{"name": "v1", "subresources": subresources}]}})
    };
    for subresources in [json!({"status": {}}), json!({})] {
        let back = decode(&encode(&definition(subresources.clone())).expect("encodes")).expect("decodes");
        assert_eq!(back["spec"]["versions"][0]["subresources"], subresources);
    }
}

#[test]
fn a_list_is_its_head_and_the_messages_of_its_items() {
    let objects: Vec<Object> = (0..3)
        .map(|index| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{index}")},
            "data": {"x": "y".repeat(100 * index)}})
        })
        .map(|value| Object::new(value.to_string(), 1))
        .collect();
    let messages: Vec<Bytes> = objects.iter().map(|object| message_of(object).expect("encodes")).collect();
    let metadata = json!({"resourceVersion": "7", "continue": "c"});
    let mut list = list_head("v1", "ConfigMapList", &metadata, messages.iter().map(Bytes::len));
    for message in &messages {
        list.extend(item_head(message.len()));
        list.extend_from_slice(message);
    }
    list.extend_from_slice(ENVELOPE_TAIL);
    let back = decode(&list).expect("decodes");
    assert_eq!(back["metadata"], metadata);
    assert_eq!(back["items"][2]["metadata"]["name"], "c2");
    assert_eq!(back["items"].as_array().map(Vec::len), Some(3));
}

#[test]
fn kinds_that_are_not_built_in_are_refused() {
    let other = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}});
    assert!(matches!(encode(&other), Err(ProtobufError::NotEncodable { .. })));
    let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a"}});
    assert_eq!(decode(&encode(&partial).expect("encodes")), Ok(partial));
}

/// A pod with a little of everything: texts, numbers, maps, times, quantities, and messages in messages.
fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "labels": {"x": "y"}, "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
        "spec": {"activeDeadlineSeconds": 0, "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{"name": "c", "env": [{"name": "A", "value": "b"}], "stdin": true,
                "resources": {"limits": {"cpu": "100m"}}, "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_decoding_panic(
        kind in prop::sample::select(vec!["Pod", "Node", "Event", "ConfigMap", "Secret", "Service", "PersistentVolume"]),
        bytes in prop::collection::vec(any::<u8>(), 0..96),
    ) {
        let _ = decode(&bytes);
        let _ = decode(&[MAGIC, &bytes].concat());
        let _ = decode(&wrapped("v1", kind, &bytes));
    }

    #[test]
    fn a_body_that_was_damaged_is_an_error_or_another_document(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut body = encode(&pod()).expect("encodes").to_vec();
        for (place, byte) in places {
            let place = place.index(body.len());
            body[place] = byte;
        }
        for body in [&body[..], &body[..end.index(body.len())]] {
            if let Ok(document) = decode(body) {
                let again = encode(&document).expect("what was decoded is of a known kind");
                prop_assert!(decode(&again).is_ok(), "{}", document);
            }
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(
        name in "\\PC{1,8}",
        labels in prop::collection::btree_map("\\PC{0,4}", "\\PC{0,4}", 1..4),
        data in prop::collection::btree_map("\\PC{0,4}", "\\PC{0,200}", 1..4),
        generation in 1..i64::MAX,
    ) {
        let document = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": name, "labels": labels, "generation": generation}});
        let mut back = decode(&encode(&document).expect("encodes")).expect("decodes");
        // A time that is not there is null.
        if let Some(metadata) = back["metadata"].as_object_mut() {
            metadata.remove("creationTimestamp");
        }
        prop_assert_eq!(back, document);
    }
}
