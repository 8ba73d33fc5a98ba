//! The `kube` crate: typed and dynamic API, watcher, server-side apply, and a small controller with a finalizer.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, Discovery, ResourceExt};
use mizzen_tests::Cluster;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a scenario with a client of a new cluster, in bounded time.
pub(crate) fn with_client<F: Future<Output = ()>>(scenario: impl FnOnce(Client) -> F) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Cluster::up();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        tokio::time::timeout(PATIENCE, scenario(Client::try_from(config).unwrap())).await.expect("in time");
    });
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

#[test]
fn kube_rs_reads_and_writes_typed_and_dynamic_objects() {
    with_client(|client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let made = maps.create(&PostParams::default(), &config_map("typed", "v")).await.unwrap();
        assert!(made.uid().is_some());
        let mut stale = made.clone();
        let patch = Patch::Merge(json!({"metadata": {"labels": {"kept": "yes"}}}));
        maps.patch("typed", &PatchParams::default(), &patch).await.unwrap();
        stale.data = None;
        let refused = maps.replace("typed", &PostParams::default(), &stale).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"), "{refused}");
        let kept = maps.list(&ListParams::default().labels("kept=yes")).await.unwrap();
        assert_eq!(kept.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["typed"]);
        assert!(maps.get_opt("none").await.unwrap().is_none());

        // Found by discovery, without a type of its own.
        let discovery = Discovery::new(client.clone()).run().await.unwrap();
        let group = discovery.get("apps").unwrap();
        let (resource, capabilities) = group.recommended_kind("Deployment").unwrap();
        assert!(capabilities.subresources.iter().any(|(sub, _)| sub.plural == "deployments/scale" || sub.plural == "scale"));
        let deployments: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
        let document = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0,
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "localhost:1/web"}]}}}});
        let made = deployments.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap();
        assert_eq!(made.data["spec"]["strategy"]["type"], "RollingUpdate", "defaults are filled in");
        assert_eq!(deployments.get_scale("web").await.unwrap().spec.unwrap().replicas, Some(0));

        // Two managers of one field: the second is refused until it insists.
        let apply = |value: &str| {
            Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": value}}))
        };
        maps.patch("applied", &PatchParams::apply("one"), &apply("1")).await.unwrap();
        let refused = maps.patch("applied", &PatchParams::apply("two"), &apply("2")).await.unwrap_err();
        assert!(refused.to_string().contains("\"one\""), "{refused}");
        let forced = maps.patch("applied", &PatchParams::apply("two").force(), &apply("2")).await.unwrap();
        assert_eq!(forced.data.unwrap()["k"], "2");

        let namespaces: Api<Namespace> = Api::all(client);
        namespaces
            .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "brief"}})).unwrap())
            .await
            .unwrap();
        let uid = namespaces.get("brief").await.unwrap().uid().unwrap();
        namespaces.delete("brief", &DeleteParams::default()).await.unwrap();
        await_condition(namespaces, "brief", conditions::is_deleted(&uid)).await.unwrap();
    });
}

#[test]
fn kube_rs_watches_from_a_list_on_without_missing_a_change() {
    with_client(|client| async move {
        for strategy in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
            let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
            maps.create(&PostParams::default(), &config_map("there", "0")).await.unwrap();
            let mut events = watcher(maps.clone(), strategy.labels("!hidden").fields("metadata.name!=kube-root-ca.crt")).boxed();
            let mut initial = Vec::new();
            loop {
                match events.try_next().await.unwrap().unwrap() {
                    watcher::Event::InitApply(map) => initial.push(map.name_any()),
                    watcher::Event::InitDone => break,
                    _ => {}
                }
            }
            assert_eq!(initial, ["there"]);
            for value in 1..=50 {
                let patch = Patch::Merge(json!({"data": {"k": value.to_string()}}));
                maps.patch("there", &PatchParams::default(), &patch).await.unwrap();
            }
            for value in 1..=50 {
                let Some(watcher::Event::Apply(map)) = events.try_next().await.unwrap() else { panic!("a change") };
                assert_eq!(map.data.unwrap()["k"], value.to_string());
            }
            maps.delete("there", &DeleteParams::default()).await.unwrap();
            let Some(watcher::Event::Delete(map)) = events.try_next().await.unwrap() else { panic!("a deletion") };
            assert_eq!(map.name_any(), "there");
        }
    });
}

/// Every ConfigMap with the label gets a Secret of its name, which the finalizer takes away again.
async fn mirror(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.as_ref().clone());
    let secrets: Api<Secret> = Api::default_namespaced(client.as_ref().clone());
    finalizer(&maps, "tests.mizzen.dev/mirror", map, |event| async {
        match event {
            Event::Apply(map) => {
                let secret =
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": map.name_any()}, "stringData": map.data});
                secrets.patch(&map.name_any(), &PatchParams::apply("mirror").force(), &Patch::Apply(secret)).await?;
            }
            Event::Cleanup(map) => drop(secrets.delete(&map.name_any(), &DeleteParams::default()).await?),
        }
        Ok(Action::await_change())
    })
    .await
}

#[test]
fn a_kube_rs_controller_with_a_finalizer_makes_and_removes_what_belongs_to_an_object() {
    with_client(|client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let secrets: Api<Secret> = Api::default_namespaced(client.clone());
        let controller = Controller::new(maps.clone(), watcher::Config::default().labels("mirror=yes"))
            .run(mirror, |_, _, _| Action::requeue(Duration::from_millis(100)), Arc::new(client))
            .for_each(|done| async move {
                if let Err(error) = done {
                    eprintln!("the controller met: {error:?}")
                }
            });
        let controller = tokio::spawn(controller);

        let mut map = config_map("shown", "v");
        map.labels_mut().insert("mirror".into(), "yes".into());
        maps.create(&PostParams::default(), &map).await.unwrap();
        let holds = |value: &'static [u8]| {
            move |secret: Option<&Secret>| secret.and_then(|secret| secret.data.as_ref()).is_some_and(|data| data["k"].0 == value)
        };
        await_condition(secrets.clone(), "shown", holds(b"v")).await.unwrap();
        maps.patch("shown", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "w"}}))).await.unwrap();
        await_condition(secrets.clone(), "shown", holds(b"w")).await.unwrap();

        let map = maps.get("shown").await.unwrap();
        assert_eq!(map.finalizers(), ["tests.mizzen.dev/mirror"]);
        maps.delete("shown", &DeleteParams::default()).await.unwrap();
        await_condition(maps.clone(), "shown", conditions::is_deleted(&map.uid().unwrap())).await.unwrap();
        assert!(secrets.get_opt("shown").await.unwrap().is_none(), "the finalizer ran before the object went");
        controller.abort();
    });
}
