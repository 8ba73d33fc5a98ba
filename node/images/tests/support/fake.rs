//! A registry that misbehaves as told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone)]
pub(crate) enum Answer {
    Whole(Vec<u8>),
    /// Status and headers.
    Status(u16, &'static str),
    /// So many bytes, then silence.
    StallAfter(Vec<u8>, usize),
    /// So many bytes, then the connection breaks.
    CutAfter(Vec<u8>, usize),
    /// In four pieces with a pause before each.
    Slowly(Vec<u8>, Duration),
}

/// Answers by the last part of the path; a list is worked off and its last answer stays. HEAD takes none away.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<BTreeMap<String, Vec<Answer>>>>,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(crate) fn on(self, last: impl Into<String>, answers: Vec<Answer>) -> Self {
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

pub(crate) struct Fake {
    pub(crate) port: u16,
    pub(crate) script: Script,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
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

    pub(crate) fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }

    pub(crate) fn asked(&self, last: &str) -> usize {
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
