//! Frames with file descriptors beside them.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use mizzen_shim_protocol::{Decoder, Frame, wasm::MAX_DESCRIPTORS};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The next frame, and the files that came on the way; `None` at the end.
pub(crate) async fn receive(stream: &UnixStream, decoder: &mut Decoder) -> io::Result<Option<(Frame, Vec<File>)>> {
    let mut files = Vec::new();
    loop {
        if let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            return Ok(Some((frame, files)));
        }
        let mut bytes = [0; 8192];
        let received = stream.async_io(Interest::READABLE, || read(stream.as_raw_fd(), &mut bytes, &mut files)).await?;
        if received == 0 {
            return Ok(None);
        }
        decoder.push(&bytes[..received]);
    }
}

fn read(socket: RawFd, bytes: &mut [u8], files: &mut Vec<File>) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            // SAFETY: the kernel has just made them for us, and nobody else knows of them.
            files.extend(descriptors.into_iter().map(|descriptor| unsafe { File::from_raw_fd(descriptor) }));
        }
    }
    Ok(message.bytes)
}
