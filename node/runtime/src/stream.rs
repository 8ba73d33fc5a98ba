//! Streams of a process: exec and attach.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::RuntimeError;

#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub terminal: bool,
    pub stdin: bool,
}

/// A running exec or an attached container. Dropping it ends the connection, not the process.
pub struct Session {
    /// `None` when no stdin was asked for. Shutting it down is the process's end of file.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// With a terminal, everything comes here.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// (columns, rows); ignored without a terminal.
    pub resize: mpsc::Sender<(u16, u16)>,
    /// The exit code; for attach, that of the container. 128 + signal when a signal ended it.
    pub exit: oneshot::Receiver<Result<i32, RuntimeError>>,
}
