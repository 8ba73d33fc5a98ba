//! An API server on loopback over a store in memory, where everybody may do everything: for trying clients.
//!
//! `cargo run -p mizzen-apiserver --example serve -- 127.0.0.1:7443 /tmp/kubeconfig`

#[path = "../tests/support/mod.rs"]
mod support;

use mizzen_client::ApiRequest;
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7443".to_owned());
    let (server, client) = support::server().await;
    let node = json!({"metadata": {"name": "node-1"}});
    client.write(ApiRequest::create(&support::gvr("", "v1", "nodes"), "", node)).await?;
    let (_, tls) = support::tls();
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    if let Some(path) = arguments.next() {
        std::fs::write(path, kubeconfig(&address.to_string()))?;
    }
    println!("serving https://{address}");
    let shutdown = CancellationToken::new();
    let on_signal = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        on_signal.cancel();
    });
    server.serve(listener, tls, shutdown).await;
    Ok(())
}

fn kubeconfig(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- name: a\n  cluster: {{server: 'https://{address}', \
         insecure-skip-tls-verify: true}}\nusers:\n- name: a\n  user: {{token: a}}\ncontexts:\n- name: a\n  context: \
         {{cluster: a, user: a}}\n"
    )
}
