//! Volumes of a whole pod, on real directories and mounts. Needs root.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use mizzen_api::{GroupVersionResource, Object, Status};
use mizzen_client::{ApiRequest, ApiResponse, Body, Client, Discovery, ListOptions, ObjectList, WatchOptions, WatchStream};
use mizzen_volumes::{Mounted, PodContext, VolumeManager};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// An API that has objects and gives out numbered tokens.
#[derive(Default)]
struct Api {
    objects: Mutex<HashMap<String, Value>>,
    tokens: AtomicUsize,
    requests: Mutex<Vec<Value>>,
}

impl Api {
    fn put(&self, resource: &str, name: &str, object: Value) {
        self.objects.lock().insert(format!("{resource}/{name}"), object);
    }
}

fn object(value: &Value) -> Arc<Object> {
    Arc::new(Object::new(value.to_string().into_bytes(), 1))
}

#[async_trait]
impl Client for Api {
    async fn get(&self, resource: &GroupVersionResource, _: &str, name: &str) -> Result<Arc<Object>, Status> {
        let found = self.objects.lock().get(&format!("{}/{name}", resource.resource)).map(object);
        found.ok_or_else(|| Status::not_found(&resource.group_resource(), name))
    }

    async fn list(&self, _: &GroupVersionResource, _: &str, _: &ListOptions) -> Result<ObjectList, Status> {
        Err(Status::bad_request("nothing is listed here"))
    }

    async fn watch(&self, _: &GroupVersionResource, _: &str, _: &WatchOptions) -> Result<WatchStream, Status> {
        Err(Status::bad_request("nothing is watched here"))
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        let Body::Value(body) = request.body else { return Err(Status::bad_request("a value is expected")) };
        assert_eq!(
            (&*request.resource.resource, request.name.as_str(), request.subresource.as_str()),
            ("serviceaccounts", "sa", "token")
        );
        self.requests.lock().push(body);
        let number = self.tokens.fetch_add(1, Ordering::SeqCst);
        Ok(ApiResponse {
            code: 201,
            object: object(&json!({"status": {"token": format!("token-{number}")}})),
            warnings: Vec::new(),
        })
    }

    async fn discover(&self) -> Result<Arc<Discovery>, Status> {
        Err(Status::bad_request("nothing is discovered here"))
    }
}

/// Unmounts also when the test fails.
struct Place {
    dir: tempfile::TempDir,
    api: Arc<Api>,
    manager: Arc<VolumeManager>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let api = Arc::new(Api::default());
        api.put(
            "configmaps",
            "cm",
            json!({"metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}, "binaryData": {"c": "AP8="}}),
        );
        api.put("secrets", "s", json!({"metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}));
        let manager = Arc::new(VolumeManager::open(dir.path().canonicalize().unwrap(), api.clone()).unwrap());
        Self { dir, api, manager }
    }

    async fn setup(&self, pod: &Pod) -> Result<Mounted, String> {
        self.manager.setup(&context(pod)).await.map_err(|(volume, error)| format!("{volume}: {error}"))
    }

    fn mounts(&self) -> usize {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.contains(self.dir.path().to_str().unwrap())).count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut points: Vec<_> = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|at| Path::new(at).starts_with(self.dir.path()))
            .collect();
        points.reverse();
        for point in points {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

fn context(pod: &Pod) -> PodContext<'_> {
    PodContext {
        pod,
        node_name: "node",
        host_ips: &[],
        pod_ips: &[],
        allocatable_cpu: 2000,
        allocatable_memory: 1 << 30,
        reader: None,
    }
}

fn pod(security: Value, volumes: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u1", "labels": {"app": "x"}},
        "spec": {"serviceAccountName": "sa", "securityContext": security, "volumes": volumes, "containers": [{"name": "c"}]}
    }))
    .unwrap()
}

fn read(mounted: &Mounted, volume: &str, file: &str) -> String {
    fs::read_to_string(mounted[volume].join(file)).unwrap_or_else(|error| panic!("{volume}/{file}: {error}"))
}

#[tokio::test]
async fn config_maps_are_projected_and_follow_changes() {
    let place = Place::new();
    let pod = pod(
        json!({}),
        json!([
            {"name": "all", "configMap": {"name": "cm", "defaultMode": 0o440}},
            {"name": "some", "configMap": {"name": "cm", "items": [{"key": "a", "path": "deep/x"}]}},
            {"name": "none", "configMap": {"name": "missing", "optional": true}},
        ]),
    );
    let mounted = place.setup(&pod).await.unwrap();
    assert_eq!((read(&mounted, "all", "a"), read(&mounted, "some", "deep/x")), ("1".into(), "1".into()));
    assert_eq!(fs::read(mounted["all"].join("c")).unwrap(), [0, 255]);
    assert_eq!(fs::metadata(mounted["all"].join("a")).unwrap().permissions().mode() & 0o777, 0o440);
    assert!(mounted["none"].is_dir());

    place.api.put("configmaps", "cm", json!({"metadata": {"name": "cm"}, "data": {"a": "new"}}));
    let mounted = place.setup(&pod).await.unwrap();
    assert_eq!((read(&mounted, "all", "a"), read(&mounted, "some", "deep/x")), ("new".into(), "new".into()));
    assert!(!mounted["all"].join("b").exists());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let place = Place::new();
    let of = |volume: Value| pod(json!({}), json!([volume]));
    let error = place.setup(&of(json!({"name": "v", "configMap": {"name": "missing"}}))).await.unwrap_err();
    assert_eq!(error, "v: configmap \"missing\" not found");
    let error = place
        .setup(&of(json!({"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "k"}]}})))
        .await
        .unwrap_err();
    assert_eq!(error, "v: references non-existent secret key: k");
    let error = place.setup(&of(json!({"name": "v", "iscsi": {"targetPortal": "x", "iqn": "y", "lun": 0}}))).await.unwrap_err();
    assert!(error.contains("of a kind that this node does not have"), "{error}");
}

#[tokio::test]
async fn secrets_and_tokens_stay_in_memory_and_everything_goes_with_the_pod() {
    let place = Place::new();
    let pod = pod(
        json!({}),
        json!([
            {"name": "s", "secret": {"secretName": "s"}},
            {"name": "api", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"configMap": {"name": "cm", "items": [{"key": "a", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}},
            {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "self", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]),
    );
    let mounted = place.setup(&pod).await.unwrap();
    assert_eq!(read(&mounted, "s", "password"), "hunter2");
    assert_eq!(
        (read(&mounted, "api", "token"), read(&mounted, "api", "ca.crt"), read(&mounted, "api", "namespace")),
        ("token-0".into(), "1".into(), "n".into())
    );
    assert_eq!(read(&mounted, "self", "labels"), "app=\"x\"");
    assert_eq!(place.mounts(), 3, "a tmpfs each for the secret, the token and the scratch space");
    let full = fs::write(mounted["scratch"].join("big"), vec![0; 2 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    fs::write(mounted["disk"].join("kept"), "x").unwrap();

    let request = place.api.requests.lock()[0].clone();
    assert_eq!(request["spec"]["boundObjectRef"], json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"}));
    assert_eq!(request["spec"]["expirationSeconds"], 3607);

    let again = place.setup(&pod).await.unwrap();
    assert_eq!(
        (read(&again, "api", "token"), read(&again, "disk", "kept")),
        ("token-0".into(), "x".into()),
        "nothing is made twice"
    );
    assert_eq!(place.mounts(), 3);

    place.manager.teardown("u1").await.unwrap();
    place.manager.teardown("u1").await.unwrap();
    assert_eq!(place.mounts(), 0);
    assert!(!place.manager.pod_dir("u1").exists() && place.manager.pods().is_empty());
}

#[tokio::test]
async fn a_group_gets_access_to_volumes_but_not_to_paths_of_the_node() {
    let place = Place::new();
    let host = tempfile::tempdir().unwrap();
    let pod = pod(
        json!({"fsGroup": 4321}),
        json!([
            {"name": "e", "emptyDir": {}},
            {"name": "cm", "configMap": {"name": "cm", "defaultMode": 0o400}},
            {"name": "s", "secret": {"secretName": "s", "items": [{"key": "password", "path": "deep/password"}]}},
            {"name": "api", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "h", "hostPath": {"path": host.path()}},
        ]),
    );
    let mounted = place.setup(&pod).await.unwrap();
    let is = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o7777)
    };
    for (path, wanted) in [
        (mounted["e"].clone(), 0o2777),
        (mounted["cm"].clone(), 0o2777),
        (mounted["cm"].join("a"), 0o440),
        (mounted["s"].clone(), 0o3777),
        (mounted["s"].join("deep"), 0o2755),
        (mounted["s"].join("deep/password"), 0o644),
        (mounted["api"].join("token"), 0o640),
    ] {
        assert_eq!(is(&path), (0, 4321, wanted), "{}", path.display());
    }
    assert_ne!(is(&mounted["h"]).1, 4321);
}

#[tokio::test]
async fn a_token_is_the_one_users_as_whom_all_containers_run() {
    let place = Place::new();
    let volumes = json!([{"name": "api", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "cm"}},
    ]}}]);
    let is = |mounted: &Mounted, file: &str| {
        let metadata = fs::metadata(mounted["api"].join(file)).unwrap();
        (metadata.uid(), metadata.permissions().mode() & 0o777)
    };
    let mut one = pod(json!({"runAsUser": 1234}), volumes);
    let mounted = place.setup(&one).await.unwrap();
    assert_eq!((is(&mounted, "token"), is(&mounted, "a")), ((1234, 0o600), (0, 0o644)));
    place.manager.teardown("u1").await.unwrap();
    let other = json!([{"name": "c"}, {"name": "d", "securityContext": {"runAsUser": 7}}]);
    one.spec.as_mut().unwrap().containers = serde_json::from_value(other).unwrap();
    assert_eq!(is(&place.setup(&one).await.unwrap(), "token"), (0, 0o644), "two users share it");
}

#[tokio::test]
async fn who_reads_for_a_whole_pod_owns_what_was_published_for_it_and_finds_no_other_pod() {
    let place = Place::new();
    let pod = pod(
        json!({"runAsUser": 1234, "runAsNonRoot": true, "fsGroup": 4321}),
        json!([
            {"name": "api", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
            {"name": "cm", "configMap": {"name": "cm"}},
        ]),
    );
    let is = |mounted: &Mounted, volume: &str, file: &str| {
        let metadata = fs::metadata(mounted[volume].join(file)).unwrap();
        (metadata.uid(), metadata.permissions().mode() & 0o777)
    };
    // Images say what a pod is when its volumes are there already.
    let mounted = place.setup(&pod).await.unwrap();
    assert_eq!(is(&mounted, "api", "token"), (1234, 0o640));
    for _ in 0..2 {
        let read_by = PodContext { reader: Some(65534), ..context(&pod) };
        let mounted = place.manager.setup(&read_by).await.map_err(|(_, error)| error).unwrap();
        assert_eq!(is(&mounted, "api", "token"), (65534, 0o640));
        assert_eq!((is(&mounted, "s", "password"), is(&mounted, "cm", "a")), ((65534, 0o440), (65534, 0o644)));
        assert_eq!(read(&mounted, "api", "token"), "token-0");
    }
    assert_eq!(fs::metadata(place.manager.root()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_sub_path_is_a_mount_of_its_own_and_cannot_leave_its_volume() {
    let place = Place::new();
    let pod = pod(json!({}), json!([{"name": "e", "emptyDir": {}}, {"name": "cm", "configMap": {"name": "cm"}}]));
    let mounted = place.setup(&pod).await.unwrap();
    let mount = |name: &str| serde_json::from_value(json!({"name": name, "mountPath": "/x"})).unwrap();
    let (e, cm) = (mount("e"), mount("cm"));
    let source =
        async |index: usize, mount, path: &str| place.manager.source("u1", "c", &mounted, (index, mount), Some(path)).await;

    let dir = source(0, &e, "a/b").await.unwrap();
    fs::write(dir.join("f"), "through").unwrap();
    assert_eq!(read(&mounted, "e", "a/b/f"), "through");
    assert_eq!(fs::read_to_string(source(1, &cm, "a").await.unwrap()).unwrap(), "1");
    place.api.put("configmaps", "cm", json!({"metadata": {"name": "cm"}, "data": {"a": "2"}}));
    place.setup(&pod).await.unwrap();
    assert_eq!(fs::read_to_string(source(1, &cm, "a").await.unwrap()).unwrap(), "2", "the next attempt gets what is there now");
    for path in ["../x", "/etc"] {
        assert!(source(2, &e, path).await.is_err(), "{path}");
    }
    std::os::unix::fs::symlink("/etc", mounted["e"].join("out")).unwrap();
    assert!(source(3, &e, "out/passwd").await.is_err());
    assert!(source(4, &mount("none"), "a").await.is_err());
    place.manager.teardown("u1").await.unwrap();
    assert_eq!(place.mounts(), 0);
}
