//! Sockets of the HTTP side, which are few and wait for nobody for long.
//!
//! Whoever connects and says nothing, or half of a request, would keep a descriptor for ever, and
//! the store needs descriptors to write. So only so many sockets are taken at a time (others wait
//! in the kernel), and one on which no answer has been sent for a while is closed. Bytes that come
//! in do not count: they can be sent one by one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// How many sockets there may be, and how long each may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpLimits {
    pub(super) sockets: usize,
    pub(super) patience: Duration,
}

/// Accepts sockets while there are permits.
pub(super) struct Acceptor {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, limits: HttpLimits) -> Acceptor {
        Acceptor {
            listener,
            permits: Arc::new(Semaphore::new(limits.sockets)),
            patience: limits.patience,
        }
    }
}

impl Listener for Acceptor {
    type Io = GuardedSocket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedSocket, SocketAddr) {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            // Nobody closes it.
            return std::future::pending().await;
        };
        let (socket, address) = Listener::accept(&mut self.listener).await;
        let patience = Box::pin(sleep(self.patience));
        (GuardedSocket { socket, patience, renewed: self.patience, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket, as long as its patience lasts.
pub(super) struct GuardedSocket {
    socket: TcpStream,
    patience: Pin<Box<Sleep>>,
    renewed: Duration,
    _permit: OwnedSemaphorePermit,
}

impl GuardedSocket {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.patience.as_mut().poll(cx).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for GuardedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for GuardedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        let renewed = self.renewed;
        self.patience.set(sleep(renewed));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
