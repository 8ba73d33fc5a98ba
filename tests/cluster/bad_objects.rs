//! Objects that are wrong: refused as Kubernetes refuses them, with every wrong field named.

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::kube_rs::with_client;

const PODS: &str = "/api/v1/namespaces/default/pods";

struct Answer {
    status: StatusCode,
    warnings: Vec<String>,
    body: Value,
}

async fn post(client: &Client, path: &str, body: &[u8]) -> Answer {
    let request = Request::post(path).header("Content-Type", "application/json").body(Body::from(body.to_vec())).unwrap();
    let answer = client.send(request).await.unwrap();
    let warnings = answer.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    let status = answer.status();
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    Answer { status, warnings, body: serde_json::from_slice(&bytes).unwrap() }
}

impl Answer {
    /// The wrong fields and what is wrong with them.
    fn causes(&self) -> Vec<(&str, &str)> {
        let causes = self.body["details"]["causes"].as_array().unwrap();
        let mut fields: Vec<_> =
            causes.iter().map(|cause| (cause["field"].as_str().unwrap(), cause["reason"].as_str().unwrap())).collect();
        fields.sort_unstable();
        fields
    }
}

#[test]
fn unknown_and_repeated_fields_are_ignored_warned_of_or_refused_as_asked() {
    with_client(|client| async move {
        let document = |name: &str| {
            format!(
                r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","colour":"blue"}},"spec":{{"containers":[{{"name":"a","name":"b","image":"localhost:1/x","imagePullPolice":"Never"}}]}}}}"#
            )
            .into_bytes()
        };
        let create = async |directive: &str, name: &str| {
            post(&client, &format!("{PODS}?dryRun=All&fieldValidation={directive}"), &document(name)).await
        };
        let ignored = create("Ignore", "ignored").await;
        assert_eq!((ignored.status, ignored.warnings.as_slice()), (StatusCode::CREATED, &[][..]), "{}", ignored.body);
        let warned = create("Warn", "warned").await;
        assert_eq!(warned.status, StatusCode::CREATED, "{}", warned.body);
        let wrong = [
            r#"unknown field "metadata.colour""#,
            r#"unknown field "spec.containers[0].imagePullPolice""#,
            r#"duplicate field "spec.containers[0].name""#,
        ];
        for part in wrong {
            // In a header, quotes are escaped.
            let escaped = part.replace('"', "\\\"");
            assert!(
                warned.warnings.iter().any(|warning| warning.starts_with("299 - ") && warning.contains(&escaped)),
                "{part} in {:?}",
                warned.warnings
            );
        }
        let refused = create("Strict", "refused").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains("strict decoding error") && wrong.iter().all(|part| message.contains(part)), "{message}");
        assert!(create("Sometimes", "unknown").await.status.is_client_error(), "a directive that is none");
    });
}

#[test]
fn an_invalid_object_is_refused_with_every_wrong_field_named() {
    with_client(|client| async move {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "Upper_Case", "labels": {"bad key!": "x"}},
        "spec": {"restartPolicy": "Sometimes", "volumes": [{"name": "twice", "emptyDir": {}}, {"name": "twice", "emptyDir": {}}],
            "containers": [
                {"name": "a", "image": "", "ports": [{"containerPort": 70000}]},
                {"name": "a", "image": "localhost:1/x", "volumeMounts": [{"name": "none", "mountPath": "/x"}],
                    "resources": {"limits": {"memory": "-1"}}},
            ]}});
        let refused = post(&client, PODS, &serde_json::to_vec(&pod).unwrap()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
        assert_eq!(refused.body["reason"], "Invalid");
        let expected = [
            ("metadata.labels", "FieldValueInvalid"),
            ("metadata.name", "FieldValueInvalid"),
            ("spec.containers[0].image", "FieldValueRequired"),
            ("spec.containers[0].ports[0].containerPort", "FieldValueInvalid"),
            ("spec.containers[1].name", "FieldValueDuplicate"),
            ("spec.containers[1].resources.limits[memory]", "FieldValueInvalid"),
            // What is limited and asks for nothing asks for its limit.
            ("spec.containers[1].resources.requests[memory]", "FieldValueInvalid"),
            ("spec.containers[1].volumeMounts[0].name", "FieldValueNotFound"),
            ("spec.restartPolicy", "FieldValueNotSupported"),
            ("spec.volumes[1].name", "FieldValueDuplicate"),
        ];
        assert_eq!(refused.causes(), expected, "{:#}", refused.body);
        let message = refused.body["message"].as_str().unwrap();
        assert!(
            message.starts_with("Pod \"Upper_Case\" is invalid: [") && expected.iter().all(|(field, _)| message.contains(field)),
            "{message}"
        );

        // What is no object at all.
        for (body, status) in [
            (&b"{"[..], StatusCode::BAD_REQUEST),
            (b"[]", StatusCode::BAD_REQUEST),
            (br#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}"#, StatusCode::BAD_REQUEST),
            (
                br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":"none"}}"#,
                StatusCode::BAD_REQUEST,
            ),
        ] {
            let answer = post(&client, PODS, body).await;
            assert_eq!((answer.status, &answer.body["kind"]), (status, &json!("Status")), "{}", answer.body);
        }
    });
}
