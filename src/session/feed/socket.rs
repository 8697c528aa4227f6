//! The lines of a socket, written as they come.
//!
//! ```text
//!  connect ─▶ bytes ─▶ complete records ─▶ one write of all that is there ─▶ the next
//!     ▲                     └─ the other side goes within one: rejected, and connected again
//!     └── waiting longer and longer while it is in vain
//! ```
//! The other side keeps nothing of what it has sent, and is told nothing: what was on its way when
//! this server or the connection broke off is lost. What has been written is not. While it is being
//! written, or while writers are held back, nothing is read, so that the other side waits as well.

use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::super::message_memory::MessageMemory;
use super::super::write::FedWrite;
use super::stream::FedStream;
use crate::clock;
use crate::connect::feeder::{FedPart, FedRecords};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::limits;
use crate::memory::MemoryPart;

/// Bytes that are asked for at a time.
const READ: usize = 64 << 10;

/// Follows a socket until its stream is no more.
pub(super) async fn follow(engine: Arc<Engine>, stream: FedStream, host: String, port: u16) {
    let (id, name) = (stream.relation.id, stream.relation.shown_name());
    let mut pause = limits::SOCKET_RETRY_MS;
    loop {
        let accounts = engine.planner.accounts();
        let mut line = SocketLine {
            engine: &engine,
            stream: &stream,
            buffer: Vec::new(),
            held: MessageMemory::new(accounts.reserve(MemoryPart::Messages)),
            has_read: false,
        };
        let end = match connect(&engine, &host, port).await {
            Ok(socket) => {
                tracing::info!("stream {name}: connected to {host}:{port}");
                engine.sockets.connected(id, engine.now_ms());
                line.read(socket).await
            }
            Err(error) => Err(Error::from(error).context("cannot connect")),
        };
        if line.has_read {
            pause = limits::SOCKET_RETRY_MS;
        }
        let why = match end {
            Ok(()) => "the other side has ended the connection".to_owned(),
            // It was dropped.
            Err(error) if error.state() == SqlState::UndefinedTable => return,
            Err(error) => error.to_string(),
        };
        tracing::warn!("stream {name}: {host}:{port}: {why}; connecting again");
        engine.sockets.ended(id, engine.now_ms(), why);
        engine.clock().sleep(Duration::from_millis(pause)).await;
        pause = (pause * 2).min(limits::SOCKET_RETRY_MOST_MS);
    }
}

async fn connect(engine: &Engine, host: &str, port: u16) -> Result<TcpStream, IoError> {
    let patience = Duration::from_millis(limits::SOCKET_CONNECT_MS);
    let connecting = TcpStream::connect((host, port));
    let connected = clock::timeout(engine.clock(), patience, connecting).await;
    connected.unwrap_or_else(|| Err(ErrorKind::TimedOut.into()))
}

/// One connection.
struct SocketLine<'a> {
    engine: &'a Arc<Engine>,
    stream: &'a FedStream,
    /// What has come and is not written.
    buffer: Vec<u8>,
    /// What it takes of `--memory-limit`.
    held: MessageMemory,
    has_read: bool,
}

impl SocketLine<'_> {
    /// Until the other side ends it.
    async fn read(&mut self, mut socket: TcpStream) -> Result<()> {
        let feeder = &self.stream.feeder;
        let mut records = feeder.records(feeder.usual_type(), self.engine.now_ms())?;
        let broken = loop {
            let before = self.buffer.len();
            match self.fill(&mut socket).await {
                Ok(true) => {
                    self.has_read = true;
                    let ends = memchr::memchr(b'\n', &self.buffer[before..]).is_some();
                    if ends || self.buffer.len() >= limits::RECORD_BYTES {
                        self.write(&mut records).await?;
                    }
                }
                Ok(false) => break Ok(()),
                Err(error) => break Err(Error::from(error)),
            }
        };
        if !self.buffer.is_empty() {
            let rest = std::mem::take(&mut self.buffer);
            records.reject(&rest, "the connection ended within the record");
            self.commit(&mut records).await?;
        }
        broken
    }

    /// Waits for more, and takes what is there; false: there will be no more.
    async fn fill(&mut self, socket: &mut TcpStream) -> Result<bool, IoError> {
        self.buffer.reserve(READ);
        if socket.read_buf(&mut self.buffer).await? == 0 {
            return Ok(false);
        }
        let most = self.buffer.len() + limits::SOCKET_WRITE_BYTES;
        while self.buffer.len() < most {
            self.buffer.reserve(READ);
            match socket.try_read_buf(&mut self.buffer) {
                // The end comes again.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes the complete records.
    async fn write(&mut self, records: &mut FedRecords) -> Result<()> {
        while let Err(error) = self.held.hold(self.buffer.len()) {
            self.wait(&error).await;
        }
        self.engine.hold_back(std::slice::from_ref(&self.stream.relation.id)).await;
        records.begin(self.engine.now_ms());
        let mut at = 0;
        loop {
            match records.take_complete(&self.buffer[at..]) {
                Ok(0) => break,
                Ok(taken) => at += taken,
                Err(error) => {
                    // The header is none: what came with it goes aside, and whoever sent it is left.
                    let all = std::mem::take(&mut self.buffer);
                    records.reject(&all, error.message());
                    self.commit(records).await?;
                    return Err(error);
                }
            }
            self.commit(records).await?;
        }
        self.buffer.drain(..at);
        Ok(())
    }

    /// Makes what has been taken durable, however long that takes: it cannot be read again.
    async fn commit(&mut self, records: &mut FedRecords) -> Result<()> {
        let fed = records.finish()?;
        if fed.batch.num_rows() == 0 && fed.rejected.is_empty() {
            return Ok(());
        }
        // No window over PROCTIME() closes behind it before its rows are there.
        let moment = self.engine.moments.begin(self.engine.clock());
        let now_ms = moment.at_ms.max(self.engine.now_ms());
        let mut write = FedWrite::default();
        self.stream.rules.complete(FedPart::Rows(fed), now_ms, &mut write)?;
        loop {
            let written = self.stream.write(self.engine, write.clone(), now_ms, |_| Ok(())).await;
            match written {
                Ok(_) => return Ok(()),
                Err(error) if matches!(&error.state().code()[..2], "53" | "58") => {
                    self.wait(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self, error: &Error) {
        tracing::warn!("stream {} waits: {error}", self.stream.relation.shown_name());
        self.engine.clock().sleep(Duration::from_secs(1)).await;
    }
}
