//! `mizzen logs`.

use futures::{AsyncReadExt, io::AsyncRead};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::io::AsyncWriteExt;

use super::kube_client::Connection;

#[derive(Debug, clap::Args)]
pub struct Args {
    pod: String,
    #[arg(short, long)]
    container: Option<String>,
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Go on as the log grows
    #[arg(short, long)]
    follow: bool,
    /// The container's last run before this one
    #[arg(short, long)]
    previous: bool,
    /// Only so many lines from the end
    #[arg(long)]
    tail: Option<i64>,
    #[arg(long)]
    timestamps: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(args.connection.client().await?, &args.namespace);
    let params = LogParams {
        container: args.container,
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        timestamps: args.timestamps,
        ..LogParams::default()
    };
    let log = pods.log_stream(&args.pod, &params).await?;
    copy(log, tokio::io::stdout()).await
}

/// The kube crate speaks futures' I/O traits, standard output tokio's.
async fn copy(log: impl AsyncRead, mut out: impl tokio::io::AsyncWrite + Unpin) -> anyhow::Result<()> {
    let mut log = std::pin::pin!(log);
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = log.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).await?;
        out.flush().await?;
    }
    Ok(())
}
