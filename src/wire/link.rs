//! The two directions of a connection, and everything that can interrupt work on it.
//!
//! While a statement runs four things may end it early: its client closes, someone cancels it, its
//! time is up, the server stops. [`Link::run`] races a piece of work against all of them; whoever
//! loses is dropped, and dropping is what cancels in this house. Sending races against them too, so
//! a client that does not read can be cancelled like any other. What goes out is gathered as whole
//! messages, so an error can always be added behind them.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use pgwire::messages::PgWireBackendMessage as Reply;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::framing::{Frame, FrameReader};
use super::report;
use crate::error::{Error, Result, SqlState, panicked};
use crate::limits;
use crate::session::{CommitGate, MessageMemory};

/// Why work on a connection stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The statement failed; the connection goes on.
    Error(Error),
    /// The connection cannot go on; the client is told why.
    Fatal(Error),
    /// The client has gone.
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

/// A connection after login.
pub(super) struct Link {
    signals: Interrupts,
    outgoing: OwnedWriteHalf,
    /// Whole messages that wait to be sent.
    pub out: BytesMut,
}

/// What can interrupt.
struct Interrupts {
    incoming: FrameReader,
    cancel: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    deadline: Option<Instant>,
    /// Once a commit has passed it, work goes on to its end.
    gate: Arc<CommitGate>,
}

impl Link {
    pub fn new(
        incoming: FrameReader,
        outgoing: OwnedWriteHalf,
        cancel: watch::Receiver<u64>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let signals =
            Interrupts { incoming, cancel, shutdown, deadline: None, gate: Arc::default() };
        Self { signals, outgoing, out: BytesMut::new() }
    }

    /// Adds a message to what goes out.
    pub fn put(&mut self, reply: &Reply) -> Result<()> {
        report::put(reply, &mut self.out)
    }

    /// From now on a statement runs that may take this long.
    pub fn limit(&mut self, time: Option<Duration>) {
        // A limit beyond what the clock can name is none.
        self.signals.deadline = time.and_then(crate::clock::deadline);
    }

    /// Where the client's messages are counted.
    pub fn count(&mut self, memory: MessageMemory) {
        self.signals.incoming.count(memory);
    }

    /// The gate that this connection's commits pass.
    pub fn set_gate(&mut self, gate: Arc<CommitGate>) {
        self.signals.gate = gate;
    }

    /// Requests to cancel that came until now are void: nothing was running.
    pub fn forget_cancel(&mut self) {
        self.signals.cancel.mark_unchanged();
    }

    /// Does a piece of a statement's work, unless something interrupts it. A panic in it is an
    /// error of its own.
    pub async fn run<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T, Stop> {
        self.signals.gate.open();
        let mut work = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
        tokio::select! {
            biased;
            stop = self.signals.interrupted() => {
                if self.signals.gate.shut() {
                    return Err(stop);
                }
            }
            done = &mut work => return flatten(done),
        }
        flatten(work.await)
    }

    /// Does a piece of work to its end, whatever asks it to stop. A panic in it is an error of its
    /// own.
    pub async fn finish<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T, Stop> {
        flatten(AssertUnwindSafe(work).catch_unwind().await)
    }

    /// The next item of a live stream. What was gathered goes out before the stream is waited for.
    pub async fn next_live<T>(
        &mut self,
        stream: &mut BoxStream<'static, Result<T>>,
    ) -> Result<Option<T>, Stop> {
        let ready = {
            let mut next = AssertUnwindSafe(stream.next()).catch_unwind();
            futures::poll!(&mut next)
        };
        match ready {
            Poll::Ready(item) => match self.signals.interrupted().now_or_never() {
                Some(stop) => Err(stop),
                None => flatten(item.map(Option::transpose)),
            },
            Poll::Pending => {
                self.flush().await?;
                self.run(async { stream.next().await.transpose() }).await
            }
        }
    }

    /// Sends what was gathered, as part of a statement.
    pub async fn flush(&mut self) -> Result<(), Stop> {
        while !self.out.is_empty() {
            tokio::select! {
                biased;
                stop = self.signals.interrupted() => return Err(stop),
                sent = self.outgoing.write_buf(&mut self.out) => sent_some(sent)?,
            }
        }
        Ok(())
    }

    /// Sends what was gathered when a client that answers slowly should have it if it is large.
    pub async fn flush_if_large(&mut self) -> Result<(), Stop> {
        if self.out.len() >= limits::SEND_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends what was gathered between statements, when there is nothing to cancel.
    pub async fn flush_between(&mut self) -> Result<(), Stop> {
        while !self.out.is_empty() {
            tokio::select! {
                biased;
                () = raised(&mut self.signals.shutdown) => return Err(shutting_down()),
                sent = self.outgoing.write_buf(&mut self.out) => sent_some(sent)?,
            }
        }
        Ok(())
    }

    /// The next message if it is there already.
    pub fn buffered(&mut self) -> Result<Option<Frame>, Stop> {
        self.signals.incoming.buffered().map_err(Stop::Fatal)
    }

    /// Waits for the next message while nothing runs; `idle` bounds how long, None is without
    /// limit.
    pub async fn frame(&mut self, idle: Option<Duration>) -> Result<Frame, Stop> {
        let until = idle.and_then(crate::clock::deadline);
        tokio::select! {
            biased;
            () = raised(&mut self.signals.shutdown) => Err(shutting_down()),
            frame = self.signals.incoming.frame() => frame.map_err(Stop::Fatal)?.ok_or(Stop::Gone),
            () = reached(until) => Err(Stop::Fatal(Error::new(
                SqlState::IdleInTransaction,
                "terminating connection due to idle-in-transaction timeout",
            ))),
        }
    }

    /// Waits for the next message as part of a statement (COPY FROM STDIN).
    pub async fn frame_for_statement(&mut self) -> Result<Frame, Stop> {
        if let Some(frame) = self.buffered()? {
            return Ok(frame);
        }
        self.flush().await?;
        let Interrupts { incoming, cancel, shutdown, deadline, gate: _ } = &mut self.signals;
        tokio::select! {
            biased;
            stop = asked_to_stop(cancel, shutdown, *deadline) => Err(stop),
            frame = incoming.frame() => frame.map_err(Stop::Fatal)?.ok_or(Stop::Gone),
        }
    }

    /// Tells the client why the connection ends, and ends it; waits a little for the client to take
    /// it.
    pub async fn close(mut self, error: &Error) {
        if self.put(&report::error("FATAL", error)).is_err() {
            return;
        }
        let farewell = async {
            if self.outgoing.write_all_buf(&mut self.out).await.is_ok()
                && self.outgoing.shutdown().await.is_ok()
            {
                // Closing with bytes unread would reset the connection and take the error back.
                self.signals.incoming.drain().await;
            }
        };
        // Whoever does not take its leave in time goes without.
        let _ = timeout(Duration::from_secs(limits::FAREWELL_SECONDS), farewell).await;
    }
}

impl Interrupts {
    /// Ends when the work in hand must end.
    async fn interrupted(&mut self) -> Stop {
        tokio::select! {
            biased;
            stop = asked_to_stop(&mut self.cancel, &mut self.shutdown, self.deadline) => stop,
            () = self.incoming.gone() => Stop::Gone,
        }
    }
}

async fn asked_to_stop(
    cancel: &mut watch::Receiver<u64>,
    shutdown: &mut watch::Receiver<bool>,
    deadline: Option<Instant>,
) -> Stop {
    let cancelled = |message: &str| Stop::Error(Error::new(SqlState::Cancelled, message));
    tokio::select! {
        biased;
        () = raised(shutdown) => shutting_down(),
        Ok(()) = cancel.changed() => cancelled("canceling statement due to user request"),
        () = reached(deadline) => cancelled("canceling statement due to statement timeout"),
    }
}

/// Ends when the flag is true; never when nobody is left to raise it.
pub(super) async fn raised(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending().await
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn shutting_down() -> Stop {
    Stop::Fatal(shutting_down_error())
}

/// What clients are told when the server stops.
pub(super) fn shutting_down_error() -> Error {
    Error::new(SqlState::ShuttingDown, "terminating connection due to administrator command")
}

fn sent_some(sent: std::io::Result<usize>) -> Result<(), Stop> {
    match sent {
        Ok(0) | Err(_) => Err(Stop::Gone),
        Ok(_) => Ok(()),
    }
}

fn flatten<T>(done: Result<Result<T>, Box<dyn Any + Send>>) -> Result<T, Stop> {
    done.unwrap_or_else(|panic| Err(panicked("the statement", &*panic))).map_err(Stop::Error)
}
