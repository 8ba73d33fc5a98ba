//! A custom kind of the shape that real operators bring, with kubectl: nested, defaulted, validated, in two versions.

use mizzen_tests::{Cluster, Kubectl, eventually};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: certificates.pki.example.com
spec:
  group: pki.example.com
  scope: Namespaced
  names: {kind: Certificate, plural: certificates, singular: certificate, shortNames: [cert, certs], categories: [pki]}
  versions:
  - name: v1alpha1
    served: true
    storage: false
    deprecated: true
    deprecationWarning: pki.example.com/v1alpha1 Certificate is deprecated, use v1
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Secret, type: string, jsonPath: .spec.secretName}
    - {name: Issuer, type: string, jsonPath: .spec.issuerRef.name, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        description: A Certificate is kept in a Secret and renewed before it expires.
        type: object
        required: [spec]
        properties:
          spec:
            description: What the certificate should be.
            type: object
            required: [secretName, issuerRef]
            x-kubernetes-validations:
            - {rule: "has(self.dnsNames) || has(self.commonName)", message: at least one of dnsNames and commonName is needed}
            - {rule: "self.secretName == oldSelf.secretName", message: secretName is immutable, fieldPath: .secretName}
            properties:
              secretName: {description: The Secret that holds the key., type: string, minLength: 1, maxLength: 253}
              commonName: {type: string, maxLength: 64}
              duration: {type: string, format: duration, default: 2160h}
              replicas: {type: integer, format: int32, minimum: 0, default: 1}
              dnsNames: {type: array, x-kubernetes-list-type: set, maxItems: 20, items: {type: string, maxLength: 253}}
              usages:
                type: array
                default: [digital signature]
                items: {type: string, enum: [digital signature, key encipherment, server auth]}
              issuerRef:
                type: object
                required: [name]
                properties:
                  group: {type: string, default: pki.example.com}
                  kind: {type: string, default: Issuer}
                  name: {type: string}
              privateKey:
                type: object
                default: {}
                properties:
                  algorithm: {type: string, enum: [RSA, ECDSA], default: RSA}
                  size: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              webhook: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            properties:
              replicas: {type: integer}
              conditions:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [type]
                items:
                  type: object
                  required: [type, status]
                  properties: {type: {type: string}, status: {type: string, enum: ["True", "False", Unknown]}}
"#;

const CERTIFICATE: &str = r#"
apiVersion: pki.example.com/v1
kind: Certificate
metadata: {name: web}
spec:
  secretName: web-tls
  dnsNames: [example.com, www.example.com]
  issuerRef: {name: ca}
  privateKey: {size: 2048}
  webhook: {solver: {any: [thing, 1]}}
"#;

#[test]
fn kubectl_works_on_a_custom_kind_as_on_any_other() {
    let cluster = Cluster::up();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (definition, certificate) = (file("crd.yaml", DEFINITION), file("web.yaml", CERTIFICATE));
    cluster.kubectl(&["apply", "-f", &definition]).ok();
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/certificates.pki.example.com", "--timeout=120s"]).ok();
    assert_eq!(cluster.kubectl(&["apply", "-f", &certificate]).ok(), "certificate.pki.example.com/web created\n");
    assert_eq!(cluster.kubectl(&["apply", "-f", &certificate]).ok(), "certificate.pki.example.com/web unchanged\n");

    let explained = cluster.kubectl(&["explain", "certificates.spec.secretName"]).ok();
    assert!(explained.contains("The Secret that holds the key."), "{explained}");
    let explained = cluster.kubectl(&["explain", "cert"]).ok();
    assert!(
        explained.contains("KIND:       Certificate") && explained.contains("A Certificate is kept in a Secret"),
        "{explained}"
    );
    let resources = cluster.kubectl(&["api-resources", "--api-group=pki.example.com"]).ok();
    assert!(resources.contains("certificates   cert,certs   pki.example.com/v1   true         Certificate"), "{resources}");

    let field = |path: &str| cluster.kubectl(&["get", "cert", "web", "-o", &format!("jsonpath={{{path}}}")]).ok();
    assert_eq!(field(".spec.privateKey.algorithm"), "RSA");
    assert_eq!(field(".spec.issuerRef.kind"), "Issuer");
    assert_eq!(field(".spec.webhook.solver.any[1]"), "1");
    cluster
        .kubectl(&[
            "patch",
            "cert",
            "web",
            "--subresource=status",
            "--type=merge",
            "-p",
            r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#,
        ])
        .ok();
    let shown = cluster.kubectl(&["get", "certs"]).ok();
    assert!(shown.starts_with("NAME   READY   SECRET    AGE\nweb    True    web-tls   "), "{shown}");
    let wide = cluster.kubectl(&["get", "pki", "-o", "wide"]).ok();
    assert!(wide.contains("ISSUER"), "{wide}");

    let refused = cluster.kubectl(&["patch", "cert", "web", "--type=merge", "-p", r#"{"spec":{"secretName":"other"}}"#]).err();
    assert!(refused.contains("spec.secretName: Invalid value: \"object\": secretName is immutable"), "{refused}");
    let refused = cluster.kubectl(&["patch", "cert", "web", "--type=merge", "-p", r#"{"spec":{"usages":["any"]}}"#]).err();
    assert!(refused.contains("spec.usages[0]: Unsupported value: \"any\""), "{refused}");
    let unknown = file("unknown.yaml", &CERTIFICATE.replace("secretName", "secretNam: x\n  secretName"));
    let refused = cluster.kubectl(&["apply", "-f", &unknown]).err();
    assert!(refused.contains("unknown field \"spec.secretNam\""), "{refused}");
    assert_eq!(cluster.kubectl(&["scale", "cert/web", "--replicas=3"]).ok(), "certificate.pki.example.com/web scaled\n");
    assert_eq!(field(".spec.replicas"), "3");

    let old = cluster.kubectl(&["get", "certificates.v1alpha1.pki.example.com", "web", "-o", "jsonpath={.apiVersion}"]);
    assert_eq!(old.ok(), "pki.example.com/v1alpha1");
    let applied =
        cluster.kubectl(&["apply", "--server-side", "--field-manager=tool", "-f", &certificate, "--force-conflicts"]).ok();
    assert_eq!(applied, "certificate.pki.example.com/web serverside-applied\n");

    cluster.kubectl(&["delete", "cert", "web"]).ok();
    assert!(cluster.get(&["cert", "web"]).is_none());
    cluster.kubectl(&["apply", "-f", &certificate]).ok();
    cluster.kubectl(&["delete", "crd", "certificates.pki.example.com", "--timeout=120s"]).ok();
    eventually("the kind is gone", || {
        let resources = cluster.kubectl(&["api-resources", "--api-group=pki.example.com", "--no-headers"]).ok();
        resources.trim().is_empty().then_some(())
    });
}
