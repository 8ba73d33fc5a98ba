//! A private registry: TLS by an authority that nobody knows yet, and a login.

use mizzen_tests::authority::Authority;
use mizzen_tests::command::{Ran, run};
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Registry, eventually, images};

#[test]
fn a_private_registry_is_pulled_from_over_https_with_the_pods_secret_only() {
    let work = tempfile::tempdir().unwrap();
    let authority = Authority::new(work.path());
    let cluster = Cluster::up_with(&[("SSL_CERT_FILE", authority.file())]);
    // Registries on loopback are asked without TLS: this one stands on the pods' side of the node.
    let node = cluster.get(&["node", "test-node"]).unwrap();
    let host = node["status"]["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    let registry = Registry::with_tls(host, &authority, "robot", "secret");
    let image = registry.reference("private:v1");
    let layout = images::sleeper(work.path());

    let push = |password: &str, trusted: bool| -> Ran {
        let mut push = mizzen();
        push.args(["image", "push", layout.to_str().unwrap(), &image, "--username", "robot", "--password", password]);
        if trusted {
            push.env("SSL_CERT_FILE", authority.file());
        }
        run(&mut push)
    };
    let said = push("secret", false).err();
    assert!(said.contains("certificate") && said.contains("UnknownIssuer"), "{said}");
    assert!(push("wrong", true).err().contains("refused the credentials"));
    push("secret", true).ok();

    for (name, password) in [("right", "secret"), ("wrong", "guess")] {
        let login = serde_json::json!({"auths": {registry.address().to_string(): {"username": "robot", "password": password}}});
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/dockerconfigjson\nstringData: {{.dockerconfigjson: '{login}'}}\n"
        ));
    }
    let pod = |name: &str, secrets: &str| {
        cluster.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  imagePullSecrets: [{secrets}]\n  containers: [{{name: main, image: '{image}', imagePullPolicy: Always}}]\n"));
    };
    pod("anonymous", "");
    pod("mistaken", "{name: wrong}");
    for name in ["anonymous", "mistaken"] {
        let failed = eventually("the pod says why", || {
            cluster.events(name).into_iter().find(|message| message.contains("Failed to pull image"))
        });
        assert!(failed.contains("refused the credentials") && failed.contains("imagePullSecrets"), "{failed}");
    }
    pod("allowed", "{name: right}");
    cluster.ready("allowed");

    // The image is here now, and still not everybody's.
    let lazy = |name: &str, policy: &str, secrets: &str| {
        cluster.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  imagePullSecrets: [{secrets}]\n  containers: [{{name: main, image: '{image}', imagePullPolicy: {policy}}}]\n"));
    };
    lazy("thief", "IfNotPresent", "");
    lazy("never-thief", "Never", "");
    lazy("owner", "IfNotPresent", "{name: right}");
    lazy("never-owner", "Never", "{name: right}");
    cluster.ready("owner");
    cluster.ready("never-owner");
    for owner in ["owner", "never-owner"] {
        let events = eventually("it says that it may", || {
            Some(cluster.events(owner))
                .filter(|events| events.iter().any(|message| message.contains("can be accessed by the pod")))
        });
        assert!(!events.iter().any(|message| message.contains("Pulling image")), "{events:#?}");
    }
    eventually("the registry is asked for the one without a secret", || {
        cluster.events("thief").into_iter().find(|message| message.contains("refused the credentials"))
    });
    cluster.until(&["pod", "never-thief"], "has no image", |pod| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "ErrImageNeverPull").then_some(())
    });

    // An image that somebody brought to the node is free.
    let other = "example.com/brought:v1";
    let mut import = mizzen();
    import.args(["image", "import", layout.to_str().unwrap(), other, "--data-dir", cluster.data().to_str().unwrap()]);
    run(&mut import).ok();
    cluster.apply(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: guest}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers: [{{name: main, image: '{other}', imagePullPolicy: Never}}]\n"));
    cluster.ready("guest");
}
