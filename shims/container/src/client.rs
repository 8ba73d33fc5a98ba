//! One connection from an agent.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use mizzen_shim_protocol::frame::control;
use mizzen_shim_protocol::{Decoder, Kind, encode};
use serde::Serialize;

/// More unsent output than this stops the reading of an exec's streams.
pub(crate) const HIGH_WATER: usize = 256 * 1024;

/// An attached client that is so far behind is let go, for logs must not wait.
pub(crate) const TOO_SLOW: usize = 4 * HIGH_WATER;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Asking,
    Watching,
    /// Streams of the process with this number.
    Exec(u32),
    Attached,
}

pub(crate) struct Client {
    stream: UnixStream,
    pub(crate) decoder: Decoder,
    output: Vec<u8>,
    sent: usize,
    pub(crate) role: Role,
    /// Close once everything is sent.
    pub(crate) closing: bool,
    pub(crate) gone: bool,
}

impl Client {
    /// # Errors
    /// When the stream cannot be made non-blocking.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            decoder: Decoder::default(),
            output: Vec::new(),
            sent: 0,
            role: Role::Asking,
            closing: false,
            gone: false,
        })
    }

    pub(crate) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    pub(crate) fn message<T: Serialize>(&mut self, message: &T) {
        match control(message) {
            Ok(frame) => {
                self.output.extend_from_slice(&frame);
                self.flush();
            }
            Err(_) => self.gone = true,
        }
    }

    pub(crate) fn data(&mut self, kind: Kind, bytes: &[u8]) {
        encode(kind, bytes, &mut self.output);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while self.unsent() > 0 {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return self.gone = true,
                Ok(count) => self.sent += count,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.gone = true,
            }
        }
        self.output = Vec::new();
        self.sent = 0;
        if self.closing {
            self.gone = true;
        }
    }

    /// Takes what has arrived into the decoder.
    pub(crate) fn receive(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.gone = true,
            Ok(count) => self.decoder.push(&buffer[..count]),
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
