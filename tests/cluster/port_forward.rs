//! Forwarded ports by the plain WebSocket channels: the `kube` crate.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use mizzen_tests::{Cluster, Registry, images};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn kube_rs_forwards_several_ports_of_a_pod_and_hears_which_one_nobody_serves() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.run("web", &image);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let pods: Api<Pod> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
        let mut forwarder = pods.portforward("web", &[8080, 81]).await.unwrap();
        let failed = forwarder.take_error(81).unwrap().await.unwrap();
        assert!(failed.starts_with("error forwarding port 81 to pod web, uid "), "{failed}");
        assert!(failed.contains("connection refused"), "{failed}");

        let mut web = forwarder.take_stream(8080).unwrap();
        web.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut page = vec![0; 8192];
        let mut answer = String::new();
        while !answer.ends_with("hello from web:v1\n") {
            let read = web.read(&mut page).await.unwrap();
            assert_ne!(read, 0, "{answer}");
            answer.push_str(std::str::from_utf8(&page[..read]).unwrap());
        }
        assert!(answer.lines().next().is_some_and(|line| line.ends_with(" 200 OK")), "{answer}");

        let missing = pods.portforward("none", &[80]).await.map(drop).unwrap_err();
        assert!(missing.to_string().contains("404"), "{missing}");
    });
}
