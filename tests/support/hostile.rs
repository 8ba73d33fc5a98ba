//! A registry that misbehaves as told, and images made by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone)]
pub enum Answer {
    /// With status 200.
    Whole(Vec<u8>),
    /// Status and headers.
    Status(u16, &'static str),
    /// So many bytes, then silence; not even a status if none.
    StallAfter(Vec<u8>, usize),
    /// So many bytes, then the connection breaks.
    CutAfter(Vec<u8>, usize),
    /// In four pieces with a pause before each.
    Slowly(Vec<u8>, Duration),
}

/// Answers by the last part of the path; a list is worked off and its last answer stays. HEAD takes none away.
#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<BTreeMap<String, Vec<Answer>>>>,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub fn on(self, last: impl Into<String>, answers: Vec<Answer>) -> Self {
        self.answers.lock().insert(last.into(), answers);
        self
    }

    fn next(&self, method: &str, path: &str) -> Answer {
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        if method == "GET" {
            self.asked.lock().push(last.clone());
        }
        let mut answers = self.answers.lock();
        match answers.get_mut(&last) {
            Some(list) if list.len() > 1 && method == "GET" => list.remove(0),
            Some(list) => list[0].clone(),
            None => Answer::Status(404, ""),
        }
    }
}

pub struct Fake {
    pub port: u16,
    pub script: Script,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = script.on("", vec![Answer::Whole(b"{}".to_vec())]);
        let served = script.clone();
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let script = served.clone();
                connections.spawn(async move { serve(stream, &script).await.unwrap_or_default() });
            }
        });
        Self { port, script, server }
    }

    pub fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }

    pub fn asked(&self, last: &str) -> usize {
        self.script.asked.lock().iter().filter(|a| *a == last).count()
    }
}

async fn serve(mut stream: TcpStream, script: &Script) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let answer = script.next(method, path);
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    match answer {
        Answer::Status(status, headers) => {
            let text = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await?;
        }
        Answer::Whole(body) => {
            stream.write_all(ok(body.len()).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::StallAfter(body, bytes) => {
            if bytes > 0 {
                stream.write_all(ok(body.len()).as_bytes()).await?;
                stream.write_all(&body[..bytes]).await?;
            }
            std::future::pending::<()>().await;
        }
        Answer::CutAfter(body, bytes) => {
            stream.write_all(ok(body.len()).as_bytes()).await?;
            stream.write_all(&body[..bytes]).await?;
        }
        Answer::Slowly(body, pause) => {
            stream.write_all(ok(body.len()).as_bytes()).await?;
            for piece in body.chunks(body.len().div_ceil(4)) {
                tokio::time::sleep(pause).await;
                stream.write_all(piece).await?;
                stream.flush().await?;
            }
        }
    }
    stream.shutdown().await
}

/// An image of one layer that does what `entrypoint` says, unless something is wrong with it.
pub struct Handmade {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
}

impl Handmade {
    /// `layer` is what the registry sends, `tar` what it should unpack to.
    pub fn new(tar: &[u8], layer: &[u8], media_type: &str, entrypoint: &[&str]) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}});
        let config = config.to_string().into_bytes();
        let blob = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob("application/vnd.oci.image.config.v1+json", &config), "layers": [blob(media_type, layer)]});
        Self { manifest: manifest.to_string().into_bytes(), config, layer: layer.to_owned() }
    }

    /// An image of one uncompressed layer.
    pub fn of(tar: &[u8], entrypoint: &[&str]) -> Self {
        Self::new(tar, tar, "application/vnd.oci.image.layer.v1.tar", entrypoint)
    }

    /// The script with this image under a tag, its layer sent as told.
    #[must_use]
    pub fn tagged(&self, script: Script, tag: &str, layer: Answer) -> Script {
        script
            .on(tag, vec![Answer::Whole(self.manifest.clone())])
            .on(digest(&self.config), vec![Answer::Whole(self.config.clone())])
            .on(digest(&self.layer), vec![layer])
    }
}

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A tar archive whose names are written as they are.
pub struct Tar(Builder<Vec<u8>>);

impl Default for Tar {
    fn default() -> Self {
        Self(Builder::new(Vec::new()))
    }
}

impl Tar {
    /// A file, directory, device or link.
    ///
    /// # Panics
    /// When the name is too long for the header.
    #[must_use]
    pub fn entry(mut self, kind: EntryType, name: &str, target: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        // The tar crate refuses to write what tries to escape.
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("fits in memory");
        self
    }

    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    /// # Panics
    /// Never: memory takes it.
    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("fits in memory")
    }
}
