//! Questions to a host, with files beside them.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mizzen_shim_protocol::frame::control;
use mizzen_shim_protocol::{Call, Decoder, PROTOCOL_VERSION, Reply, Request, files};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

pub(super) struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        // The whole path may be longer than a socket address.
        let handle = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(directory)?;
        let path = format!("/proc/self/fd/{}/{}", handle.as_raw_fd(), files::SOCKET);
        Ok(Self { stream: UnixStream::connect(path).await?, decoder: Decoder::default() })
    }

    pub(super) async fn send(&mut self, container: &str, call: &Call, files: &[File]) -> io::Result<()> {
        let request = Request { version: PROTOCOL_VERSION, container: container.to_owned(), call: call.clone() };
        let bytes = control(&request).map_err(io::Error::other)?;
        let descriptors: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let beside = if descriptors.is_empty() { &rights[..0] } else { &rights[..] };
        let socket = self.stream.as_raw_fd();
        let sent = self.stream.async_io(Interest::WRITABLE, || {
            let flags = MsgFlags::MSG_NOSIGNAL;
            Ok(sendmsg::<()>(socket, &[IoSlice::new(&bytes)], beside, flags, None)?)
        });
        let sent = sent.await?;
        self.stream.write_all(&bytes[sent..]).await
    }

    /// `None` when the host has closed the connection.
    pub(super) async fn reply(&mut self) -> io::Result<Option<Reply>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return Ok(Some(frame.message().map_err(io::Error::other)?));
            }
            let mut chunk = [0; 8192];
            match self.stream.read(&mut chunk).await? {
                0 => return Ok(None),
                count => self.decoder.push(&chunk[..count]),
            }
        }
    }
}
