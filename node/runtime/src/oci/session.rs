//! Exec and attach: streams over one connection to a shim.

use std::io;

use bytes::Bytes;
use mizzen_shim_protocol::frame::control;
use mizzen_shim_protocol::{Control, Decoder, Kind, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::connection::Connection;
use crate::RuntimeError;
use crate::stream::Session;

/// Bytes of a stream that wait for their reader.
const BUFFER: usize = 64 * 1024;

/// To be called after the shim has answered that it streams.
pub(super) fn session(id: String, connection: Connection, stdin: bool, terminal: bool) -> Session {
    let Connection { stream, decoder } = connection;
    let (from_shim, to_shim) = stream.into_split();
    let (stdin_near, stdin_far) = duplex(BUFFER);
    let (stdout_near, stdout_far) = duplex(BUFFER);
    let (stderr_near, stderr_far) = duplex(BUFFER);
    let (resize, resizes) = mpsc::channel(4);
    let (mut exit_sender, exit) = oneshot::channel();
    let stdin_far = stdin.then_some(stdin_far);
    let (over, ended) = oneshot::channel::<()>();
    tokio::spawn(async move {
        // Ends with the process, or when the shim goes.
        let sending = send(to_shim, stdin_far, resizes);
        tokio::select! {
            _ = ended => {}
            _ = sending => {}
        }
    });
    tokio::spawn(async move {
        let receiving = receive(from_shim, decoder, stdout_far, (!terminal).then_some(stderr_far));
        let result = tokio::select! {
            result = receiving => result,
            // Dropping the session ends the connection.
            () = exit_sender.closed() => return,
        };
        let result = match result {
            Ok(Control::Exit { code }) => Ok(code),
            Ok(Control::Failed { message }) => Err(RuntimeError::Start { id, reason: "StartError".into(), message }),
            Ok(Control::Resize { .. }) => Err(RuntimeError::Unreachable { id, why: "it sent no exit code".into() }),
            Err(err) => Err(RuntimeError::Unreachable { id, why: err.to_string() }),
        };
        // Whoever asked may have gone.
        let _ = exit_sender.send(result);
        drop(over);
    });
    Session {
        stdin: stdin.then_some(Box::new(stdin_near) as _),
        stdout: Box::new(stdout_near),
        stderr: (!terminal).then_some(Box::new(stderr_near) as _),
        resize,
        exit,
    }
}

/// Passes input and sizes on until the session is dropped.
async fn send(
    mut shim: OwnedWriteHalf,
    mut stdin: Option<tokio::io::DuplexStream>,
    mut resizes: mpsc::Receiver<(u16, u16)>,
) -> io::Result<()> {
    let mut chunk = vec![0; 16 * 1024];
    let mut resizing = true;
    while stdin.is_some() || resizing {
        let mut frame = Vec::new();
        tokio::select! {
            size = resizes.recv(), if resizing => match size {
                Some((columns, rows)) => frame = control(&Control::Resize { columns, rows }).map_err(io::Error::other)?,
                None => resizing = false,
            },
            count = read(&mut stdin, &mut chunk), if stdin.is_some() => {
                let count = count?;
                encode(Kind::Stdin, &chunk[..count], &mut frame);
                if count == 0 {
                    stdin = None;
                }
            }
        }
        shim.write_all(&frame).await?;
    }
    // The other half still receives: keep this one open until it is done.
    std::future::pending().await
}

async fn read(stdin: &mut Option<tokio::io::DuplexStream>, chunk: &mut [u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.read(chunk).await,
        None => std::future::pending().await,
    }
}

/// Passes output on until the shim's last word.
async fn receive(
    mut shim: OwnedReadHalf,
    mut decoder: Decoder,
    mut stdout: tokio::io::DuplexStream,
    mut stderr: Option<tokio::io::DuplexStream>,
) -> io::Result<Control> {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            let bytes = Bytes::from(frame.payload);
            match frame.kind {
                // A reader that has gone away does not end the process.
                Kind::Stdout => drop(stdout.write_all(&bytes).await),
                Kind::Stderr => {
                    if let Some(stderr) = &mut stderr {
                        let _ = stderr.write_all(&bytes).await;
                    }
                }
                Kind::Control => return serde_json::from_slice(&bytes).map_err(io::Error::other),
                Kind::Stdin => {}
            }
        }
        match shim.read(&mut chunk).await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shim has gone")),
            count => decoder.push(&chunk[..count]),
        }
    }
}
