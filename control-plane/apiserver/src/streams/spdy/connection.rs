//! One connection: a task that reads and gives each stream its data, and one that writes what all of them send.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::{Decoder, FrameError, Incoming, Outgoing, ResetStatus, encode};
use super::headers::{Deflater, Headers};

/// A forwarded connection takes two.
const MAX_STREAMS: usize = 512;
/// How many parts of data wait for a stream's reader; those after them hold up the connection.
const QUEUE: usize = 2;
const READ: usize = 32 * 1024;
/// How long a client may take to leave once all was said: closing earlier could take from it what is on the way.
const LINGER: Duration = Duration::from_secs(5);

enum Command {
    Frame(Outgoing),
    /// Say goodbye and write no more.
    Close {
        last_good_stream: u32,
    },
}

/// A stream's state here, until both sides ended it.
struct Open {
    /// `None` when the peer ended its side.
    input: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
    is_sending: bool,
}

type Streams = Arc<Mutex<HashMap<u32, Open>>>;

pub(crate) struct Connection {
    /// Streams that the peer opened; each has its SYN_REPLY.
    pub(crate) streams: mpsc::Receiver<Stream>,
    /// Cancelled when the peer is gone.
    pub(crate) gone: CancellationToken,
    commands: mpsc::Sender<Command>,
    last_stream: Arc<std::sync::atomic::AtomicU32>,
}

pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) headers: Headers,
    pub(crate) input: Input,
    pub(crate) output: Output,
}

/// The peer's side of a stream.
pub(crate) struct Input {
    queue: mpsc::Receiver<Bytes>,
    reset: CancellationToken,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Data(Bytes),
    /// The peer sends no more, and still listens.
    End,
    /// The peer gave the stream up, or left.
    Reset,
}

impl Input {
    pub(crate) async fn receive(&mut self) -> Received {
        match self.queue.recv().await {
            Some(data) => Received::Data(data),
            None if self.reset.is_cancelled() => Received::Reset,
            None => Received::End,
        }
    }
}

/// Our side of a stream. Dropped without an end, it resets the stream as far as the connection has room for saying so.
pub(crate) struct Output {
    id: u32,
    commands: mpsc::Sender<Command>,
    streams: Streams,
    reset: CancellationToken,
    is_ended: bool,
}

impl Output {
    /// Waits for room on the connection; false when nobody listens any more.
    pub(crate) async fn send(&self, data: Bytes) -> bool {
        !self.reset.is_cancelled() && self.command(Outgoing::Data { stream: self.id, data, fin: false }).await
    }

    /// Ends our side.
    pub(crate) async fn finish(mut self) {
        self.is_ended = true;
        self.command(Outgoing::Data { stream: self.id, data: Bytes::new(), fin: true }).await;
        let mut streams = self.streams.lock();
        if let Some(open) = streams.get_mut(&self.id) {
            open.is_sending = false;
            if open.input.is_none() {
                streams.remove(&self.id);
            }
        }
    }

    /// Waits until the peer gives up the stream.
    pub(crate) async fn reset(&self) {
        self.reset.cancelled().await;
    }

    async fn command(&self, frame: Outgoing) -> bool {
        self.commands.send(Command::Frame(frame)).await.is_ok()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_ended && self.streams.lock().remove(&self.id).is_some() {
            let frame = Outgoing::Reset { stream: self.id, status: ResetStatus::Cancel };
            let _ = self.commands.try_send(Command::Frame(frame));
        }
    }
}

impl Connection {
    /// Writes what was sent before, says goodbye, and gives the peer some time to close.
    pub(crate) async fn close(mut self) {
        let last_good_stream = self.last_stream.load(std::sync::atomic::Ordering::Relaxed);
        let _ = self.commands.send(Command::Close { last_good_stream }).await;
        // Streams that come too late are not for anybody.
        let drain = async { while self.streams.recv().await.is_some() {} };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

/// Serves the server's side of a connection. It ends with the peer, or when the [`Connection`] is dropped.
pub(crate) fn serve<R, W>(reader: R, writer: W) -> Connection
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (commands, queue) = mpsc::channel(16);
    let (opened, streams) = mpsc::channel(16);
    let gone = CancellationToken::new();
    let last_stream = Arc::default();
    let incoming = Reader {
        opened,
        commands: commands.clone(),
        streams: Streams::default(),
        gone: gone.clone(),
        last_stream: Arc::clone(&last_stream),
    };
    let cancelled = gone.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = write(writer, queue) => {}
        }
    });
    let cancelled = gone.clone();
    tokio::spawn(async move {
        let streams = Arc::clone(&incoming.streams);
        tokio::select! {
            () = cancelled.cancelled() => {}
            ended = incoming.read(reader) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "SPDY connection ended");
                }
            }
        }
        cancelled.cancel();
        streams.lock().clear();
    });
    Connection { streams, gone, commands, last_stream }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Command>) {
    let (mut deflater, mut bytes) = (Deflater::default(), BytesMut::new());
    let mut is_open = true;
    while is_open && let Some(command) = queue.recv().await {
        let frame = match command {
            Command::Frame(frame) => frame,
            Command::Close { last_good_stream } => {
                is_open = false;
                Outgoing::GoAway { last_good_stream }
            }
        };
        encode(&frame, &mut deflater, &mut bytes);
        // What came meanwhile goes with it.
        if is_open && !queue.is_empty() && bytes.len() < READ {
            continue;
        }
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        bytes.clear();
    }
    let _ = writer.shutdown().await;
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("read: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

struct Reader {
    opened: mpsc::Sender<Stream>,
    commands: mpsc::Sender<Command>,
    streams: Streams,
    gone: CancellationToken,
    last_stream: Arc<std::sync::atomic::AtomicU32>,
}

impl Reader {
    async fn read(self, mut reader: impl AsyncRead + Unpin) -> Result<(), ReadError> {
        let (mut decoder, mut bytes) = (Decoder::new(), BytesMut::new());
        loop {
            while let Some(frame) = decoder.decode(&mut bytes)? {
                self.take(frame).await;
            }
            bytes.reserve(READ);
            if reader.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn take(&self, frame: Incoming) {
        match frame {
            Incoming::SynStream { stream, headers, fin, unidirectional } => {
                self.open(stream, headers, fin, unidirectional).await;
            }
            Incoming::Data { stream, data, fin } => {
                let input = self.streams.lock().get(&stream).and_then(|open| open.input.clone());
                if let Some(input) = input
                    && !data.is_empty()
                {
                    // Nobody may read any more; then it is dropped.
                    let _ = input.send(data).await;
                }
                if fin {
                    self.ended(stream);
                }
            }
            Incoming::Fin { stream } => self.ended(stream),
            Incoming::Reset { stream } => {
                if let Some(open) = self.streams.lock().remove(&stream) {
                    open.reset.cancel();
                }
            }
            // The client's have odd numbers; others would answer pings of ours.
            Incoming::Ping { id } if id % 2 == 1 => self.send(Outgoing::Ping { id }).await,
            Incoming::Ping { .. } | Incoming::GoAway | Incoming::Other => {}
        }
    }

    async fn open(&self, id: u32, headers: Headers, fin: bool, unidirectional: bool) {
        use std::sync::atomic::Ordering::Relaxed;
        // Numbers of a client are odd and only grow.
        let is_next = id % 2 == 1 && id > self.last_stream.load(Relaxed);
        let refused = match (is_next, self.streams.lock().len() < MAX_STREAMS) {
            (false, _) => Some(ResetStatus::ProtocolError),
            (true, false) => Some(ResetStatus::RefusedStream),
            (true, true) => None,
        };
        if let Some(status) = refused {
            return self.send(Outgoing::Reset { stream: id, status }).await;
        }
        self.last_stream.store(id, Relaxed);
        let (input, queue) = mpsc::channel(QUEUE);
        let reset = self.gone.child_token();
        let open = Open { input: (!fin).then_some(input), reset: reset.clone(), is_sending: !unidirectional };
        self.streams.lock().insert(id, open);
        self.send(Outgoing::SynReply { stream: id }).await;
        let output = Output {
            id,
            commands: self.commands.clone(),
            streams: Arc::clone(&self.streams),
            reset: reset.clone(),
            is_ended: unidirectional,
        };
        let _ = self.opened.send(Stream { id, headers, input: Input { queue, reset }, output }).await;
    }

    /// The peer's side of a stream has ended.
    fn ended(&self, stream: u32) {
        let mut streams = self.streams.lock();
        if let Some(open) = streams.get_mut(&stream) {
            open.input = None;
            if !open.is_sending {
                streams.remove(&stream);
            }
        }
    }

    async fn send(&self, frame: Outgoing) {
        let _ = self.commands.send(Command::Frame(frame)).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex, split};

    use super::*;

    /// `SYN_STREAM` without headers: the first block of a connection brings zlib's header.
    fn syn(id: u8, first: bool) -> Vec<u8> {
        let mut block = if first { vec![0x78, 0x01] } else { Vec::new() };
        block.extend([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        let mut frame = vec![0x80, 3, 0, 1, 0, 0, 0, u8::try_from(10 + block.len()).expect("is short")];
        frame.extend([0, 0, 0, id, 0, 0, 0, 0, 0, 0]);
        frame.extend(block);
        frame
    }

    fn data(id: u8, flags: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, id, flags, 0, 0, u8::try_from(data.len()).expect("is short")];
        frame.extend(data);
        frame
    }

    struct Client(DuplexStream, BytesMut, Decoder);

    impl Client {
        fn connect() -> (Self, Connection) {
            let (ours, theirs) = duplex(1 << 16);
            let (reader, writer) = split(theirs);
            (Self(ours, BytesMut::new(), Decoder::new()), serve(reader, writer))
        }

        async fn send(&mut self, frame: &[u8]) {
            self.0.write_all(frame).await.expect("writes");
        }

        async fn next(&mut self) -> Option<Incoming> {
            loop {
                match self.2.decode(&mut self.1).expect("decodes") {
                    Some(frame) => return Some(frame),
                    None if self.0.read_buf(&mut self.1).await.expect("reads") == 0 => return None,
                    None => {}
                }
            }
        }
    }

    #[tokio::test]
    async fn each_side_of_a_stream_ends_by_itself() {
        let (mut client, mut connection) = Client::connect();
        client.send(&syn(1, true)).await;
        client.send(&data(1, 1, b"ask")).await;
        let mut stream = connection.streams.recv().await.expect("opens");
        assert_eq!(client.next().await, Some(Incoming::Other), "the reply");
        assert_eq!(stream.input.receive().await, Received::Data(Bytes::from_static(b"ask")));
        assert_eq!(stream.input.receive().await, Received::End);
        assert!(stream.output.send(Bytes::from_static(b"answer")).await);
        stream.output.finish().await;
        let answer = Bytes::from_static(b"answer");
        assert_eq!(client.next().await, Some(Incoming::Data { stream: 1, data: answer, fin: false }));
        assert_eq!(client.next().await, Some(Incoming::Data { stream: 1, data: Bytes::new(), fin: true }));
        let (closed, last) = tokio::join!(connection.close(), async {
            let last = client.next().await;
            assert_eq!(client.next().await, None, "nothing after the goodbye");
            drop(client);
            last
        });
        assert_eq!((closed, last), ((), Some(Incoming::GoAway)));
    }

    #[tokio::test]
    async fn a_reset_stream_is_told_from_one_that_ended_and_the_others_go_on() {
        let (mut client, mut connection) = Client::connect();
        client.send(&[syn(1, true), syn(3, false), vec![0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 5]].concat()).await;
        let mut first = connection.streams.recv().await.expect("opens");
        let mut second = connection.streams.recv().await.expect("opens");
        assert_eq!(first.input.receive().await, Received::Reset);
        first.output.reset().await;
        assert!(!first.output.send(Bytes::from_static(b"late")).await);
        client.send(&data(3, 0, b"on")).await;
        assert_eq!(second.input.receive().await, Received::Data(Bytes::from_static(b"on")));
        drop(client);
        assert_eq!(second.input.receive().await, Received::Reset, "who leaves resets everything");
        connection.gone.cancelled().await;
    }

    #[tokio::test]
    async fn streams_are_bounded_numbered_upwards_and_pings_answered() {
        let (mut client, _connection) = Client::connect();
        client.send(&[syn(3, true), syn(1, false), syn(2, false)].concat()).await;
        client.send(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]).await;
        assert_eq!(client.next().await, Some(Incoming::Other), "the reply");
        assert_eq!(client.next().await, Some(Incoming::Reset { stream: 1 }));
        assert_eq!(client.next().await, Some(Incoming::Reset { stream: 2 }));
        assert_eq!(client.next().await, Some(Incoming::Ping { id: 9 }));
    }
}
