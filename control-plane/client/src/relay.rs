//! Two connections that are led into each other.

use std::future::pending;
use std::io;
use std::pin::pin;

use futures::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, sink, split};

const BUFFER: usize = 16 << 10;

/// How one direction ended.
enum Passed<R> {
    /// One side has said all that it has to say, and the other one knows.
    All,
    /// The other side takes nothing any more. This is where more comes from.
    Refused(R),
}

/// Leads two connections into each other, until neither has anything more to say, or one of them breaks. A side that takes nothing
/// any more may still have something to say: that arrives, while what it is told is thrown away.
///
/// # Errors
/// When a side breaks.
pub async fn relay(one: impl AsyncRead + AsyncWrite, other: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let ((from_one, to_one), (from_other, to_other)) = (split(one), split(other));
    let (there, back) = (pin!(pass(from_one, to_other)), pin!(pass(from_other, to_one)));
    match select(there, back).await {
        Either::Left((ended, back)) => outlast(ended?, back).await,
        Either::Right((ended, there)) => outlast(ended?, there).await,
    }
}

/// Waits for the direction that goes on.
async fn outlast<R: AsyncRead + Unpin, S>(ended: Passed<R>, rest: impl Future<Output = io::Result<Passed<S>>>) -> io::Result<()> {
    let Passed::Refused(mut from) = ended else { return rest.await.map(drop) };
    let discard = async {
        tokio::io::copy(&mut from, &mut sink()).await?;
        pending::<io::Result<()>>().await
    };
    tokio::select! {
        ended = rest => ended.map(drop),
        broken = discard => broken,
    }
}

async fn pass<R: AsyncRead + Unpin>(mut from: R, mut to: impl AsyncWrite + Unpin) -> io::Result<Passed<R>> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            // Who is not there to hear the end needs not hear it.
            let _ = to.shutdown().await;
            return Ok(Passed::All);
        }
        let written = match to.write_all(&buffer[..read]).await {
            Ok(()) => to.flush().await,
            refused => refused,
        };
        if written.is_err() {
            return Ok(Passed::Refused(from));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{DuplexStream, ReadBuf, duplex};

    use super::*;

    /// Takes so many bytes and then no more, or says so many and then breaks.
    struct Half {
        inside: DuplexStream,
        takes: usize,
        breaks: bool,
    }

    impl AsyncRead for Half {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.breaks {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Pin::new(&mut self.inside).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Half {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.takes < bytes.len() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.takes -= bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn both_say_all_that_they_have_to_say() {
        let ((mut client, one), (mut server, other)) = (duplex(64), duplex(64));
        let relayed = tokio::spawn(relay(one, other));
        client.write_all(b"a question").await.expect("writes");
        client.shutdown().await.expect("says that this is all");
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.expect("reads");
        assert_eq!(heard, "a question");
        server.write_all(b"an answer that comes after the end of the question").await.expect("writes");
        drop(server);
        heard.clear();
        client.read_to_string(&mut heard).await.expect("reads");
        assert_eq!(heard, "an answer that comes after the end of the question");
        relayed.await.expect("runs").expect("both ended well");
    }

    #[tokio::test]
    async fn who_listens_no_more_is_heard_to_the_end() {
        let ((mut client, one), (mut server, inside)) = (duplex(64), duplex(64));
        let relayed = tokio::spawn(relay(one, Half { inside, takes: 0, breaks: false }));
        // More than all buffers hold: what is refused is taken and thrown away.
        client.write_all(&[0; 4096]).await.expect("is taken");
        server.write_all(b"too large").await.expect("writes");
        drop(server);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.expect("reads");
        assert_eq!(heard, "too large");
        relayed.await.expect("runs").expect("ends, though the client has not");
    }

    #[tokio::test]
    async fn who_breaks_ends_all_of_it() {
        let ((mut client, one), (_server, inside)) = (duplex(64), duplex(64));
        let relayed = relay(one, Half { inside, takes: 0, breaks: true }).await;
        assert_eq!(relayed.expect_err("is broken").kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(client.read(&mut [0]).await.expect("is told"), 0);
    }
}
