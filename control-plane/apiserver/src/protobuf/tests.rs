use std::path::Path;

use mizzen_api::Registry;

use super::*;

fn document(bytes: &[u8]) -> Result<Value, ProtobufError> {
    decode(&Registry::builtin().schemas(), bytes)
}

/// Published samples of every kind, each as protobuf and as JSON; they are not part of this repository.
#[test]
fn every_published_sample_decodes_to_its_json() {
    let folder = Path::new("/work/shared/oracle/testdata");
    if !folder.is_dir() {
        println!("skipped: {} is not here", folder.display());
        return;
    }
    // Kinds with messages that the table has no numbers for.
    let later = ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "ResourceSlice", "CSIDriver"];
    let (mut compared, mut differing) = (0, Vec::new());
    for descriptor in Registry::builtin().iter().filter(|descriptor| !later.contains(&&*descriptor.kind)) {
        let group = if descriptor.group.is_empty() { "core" } else { &*descriptor.group };
        let name = format!("{group}.{}.{}", descriptor.storage_version(), descriptor.kind);
        let (Ok(bytes), Ok(json)) =
            (std::fs::read(folder.join(format!("{name}.pb"))), std::fs::read(folder.join(format!("{name}.json"))))
        else {
            println!("no sample of {name}");
            continue;
        };
        let wanted: Value = serde_json::from_slice(&json).expect("a JSON sample");
        let got = document(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        compared += 1;
        differences(&name, &wanted, &got, &mut differing);
    }
    assert!(compared > 15, "only {compared} samples");
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
    assert_eq!(document(b"{}"), Err(ProtobufError::NoMagic));
    let mut body = b"k8s\0".to_vec();
    body.extend_from_slice(&[0x0a, 0x0d, 0x0a, 0x02, b'v', b'1', 0x12, 0x07]);
    body.extend_from_slice(b"Nothing");
    assert!(matches!(document(&body), Err(ProtobufError::UnknownKind { .. })));
    for length in 0..body.len() {
        let _ = document(&body[..length]);
    }
    assert!(document(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
}

#[test]
fn what_the_encoding_cannot_leave_out_is_absent_when_it_is_zero() {
    // apps/v1 Deployment {spec {replicas: 0, minReadySeconds: 0, paused: false}}
    let type_meta = [b"\x0a\x07apps/v1".as_slice(), b"\x12\x0aDeployment"].concat();
    let spec = [0x08, 0x00, 0x28, 0x00, 0x38, 0x00];
    let raw = [&[0x12, 6][..], &spec].concat();
    let mut body = b"k8s\0".to_vec();
    body.extend([&[0x0a, type_meta.len() as u8][..], &type_meta, &[0x12, raw.len() as u8], &raw].concat());
    assert_eq!(document(&body).expect("decodes")["spec"], json!({"replicas": 0}));
}
