//! A connection's life after login: one message after the other.
//!
//! One task serves a connection. It owns the session's [`ClientSession`], the prepared statements
//! and the portals; nothing of them is shared, so a connection that ends frees everything by being
//! dropped.

use std::collections::HashMap;

use super::cancel::Ticket;
use super::framing::Frame;
use super::link::{Link, Stop};
use super::messages::Message;
use super::portal::Portal;
use super::report;
use crate::error::{Error, Result};
use crate::session::{ClientSession, Prepared, TransactionStatus};

/// A client that is logged in.
pub(super) struct Connection {
    pub link: Link,
    pub session: Box<dyn ClientSession>,
    /// What Parse made, by name; the unnamed one has the empty name.
    pub statements: HashMap<String, Prepared>,
    /// The parameters of each of them, by oid.
    pub parameters: HashMap<String, Vec<u32>>,
    /// By name; the unnamed one has the empty name.
    pub portals: HashMap<String, Portal>,
    mode: MessagePhase,
    /// Gives the connection's number back in the end.
    _ticket: Ticket,
}

/// What the next message is to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessagePhase {
    /// ReadyForQuery was sent and nothing came since.
    Between,
    /// In the middle of extended messages, before their Sync.
    Within,
    /// After an error in extended messages: everything up to Sync is passed over.
    Skipping,
}

impl Connection {
    pub fn new(mut link: Link, session: Box<dyn ClientSession>, ticket: Ticket) -> Self {
        let (statements, portals) = (HashMap::new(), HashMap::new());
        link.count(session.message_memory());
        Self {
            link,
            session,
            statements,
            parameters: HashMap::new(),
            portals,
            mode: MessagePhase::Between,
            _ticket: ticket,
        }
    }

    /// Serves the client until it leaves or has to.
    pub async fn run(mut self) {
        match self.serve().await {
            Err(Stop::Fatal(error) | Stop::Error(error)) => {
                // What runs ends before the farewell, which may have to wait for the client.
                let Self { link, session, portals, .. } = self;
                drop((portals, session));
                link.close(&error).await;
            }
            Err(Stop::Gone) | Ok(()) => {}
        }
    }

    async fn serve(&mut self) -> Result<(), Stop> {
        self.ready().await?;
        loop {
            let frame = self.next().await?;
            if self.mode == MessagePhase::Skipping && !matches!(frame.tag, b'S' | b'X') {
                continue;
            }
            match self.message(frame).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Stop::Error(error)) => {
                    self.refuse(&error)?;
                    self.mode = MessagePhase::Skipping;
                    self.link.flush_between().await?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// The next message. What was answered goes out before it is waited for.
    async fn next(&mut self) -> Result<Frame, Stop> {
        if let Some(frame) = self.link.buffered()? {
            if self.mode == MessagePhase::Between {
                self.link.forget_cancel();
            }
            return Ok(frame);
        }
        self.link.flush_between().await?;
        let in_transaction = self.session.transaction() != TransactionStatus::Idle;
        let idle = self.session.timeouts().idle_in_transaction;
        let idle = idle.filter(|_| in_transaction && self.mode == MessagePhase::Between);
        let frame = self.link.frame(idle).await?;
        self.link.forget_cancel();
        Ok(frame)
    }

    /// Does what a message asks; false: the client says goodbye.
    async fn message(&mut self, frame: Frame) -> Result<bool, Stop> {
        let simple = matches!(frame.tag, b'Q' | b'F');
        let message = match frame.message() {
            Ok(message) => message,
            Err(error) if simple => {
                self.refuse(&error)?;
                self.ready().await?;
                return Ok(true);
            }
            Err(error) => return Err(Stop::Error(error)),
        };
        match message {
            Message::Terminate => return Ok(false),
            // After a COPY that failed its data keeps coming.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => return Ok(true),
            Message::Query(sql) => {
                self.simple(&sql).await?;
                self.ready().await?;
            }
            Message::FunctionCall => {
                let hint = "Call the function in a SELECT.";
                self.refuse(
                    &Error::unsupported("fastpath function calls are not supported").hint(hint),
                )?;
                self.ready().await?;
            }
            Message::Sync => {
                self.sync().await?;
                self.ready().await?;
            }
            extended => {
                self.mode = MessagePhase::Within;
                self.extended(extended).await?;
                if self.link.out.len() >= crate::limits::SEND_BYTES {
                    self.link.flush_between().await?;
                }
            }
        }
        Ok(true)
    }

    /// Ends the implicit transaction of extended messages.
    async fn sync(&mut self) -> Result<(), Stop> {
        match self.commit().await {
            Ok(()) => Ok(()),
            Err(Stop::Error(error)) => Ok(self.refuse(&error)?),
            Err(stop) => Err(stop),
        }
    }

    /// Commits what was implicit. Not interrupted: whether it is durable must be known.
    pub async fn commit(&mut self) -> Result<(), Stop> {
        self.link.finish(self.session.sync()).await
    }

    /// Tells the client of an error, and the session.
    pub fn refuse(&mut self, error: &Error) -> Result<()> {
        self.side_messages()?;
        self.link.put(&report::error("ERROR", error))?;
        self.session.failed(error);
        // A failed transaction's portals are dead; the queries behind them must not run on.
        self.portals.clear();
        Ok(())
    }

    /// Sends what the session has to say besides results.
    pub fn side_messages(&mut self) -> Result<()> {
        for message in self.session.drain_messages() {
            self.link.put(&report::side(&message))?;
        }
        Ok(())
    }

    /// Ends a cycle of question and answer.
    async fn ready(&mut self) -> Result<(), Stop> {
        self.side_messages()?;
        self.link.limit(None);
        let status = self.session.transaction();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        self.mode = MessagePhase::Between;
        self.link.put(&report::ready(status))?;
        self.link.flush_between().await
    }
}
