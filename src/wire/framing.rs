//! Bytes from the socket to whole messages.
//!
//! A message is a type byte, a length word and a body. The type and the length are judged as soon
//! as they are there, before the body is waited for: a length word is only a claim, so memory grows
//! with the bytes that have come and never with what was announced. Reading can be given up at any
//! await and taken up again.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::tcp::OwnedReadHalf;

use super::messages::Message;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::session::MessageMemory;

/// The types of message that a client may send once it is logged in.
const KNOWN: &[u8] = b"QPBDECHSXdcfF";

/// The type byte and the length word.
const HEAD: usize = 5;

/// How often a client whose inbox is full is asked whether it is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// One message, its body not looked at yet.
#[derive(Debug)]
pub(super) struct Frame {
    pub tag: u8,
    /// Its body; an error if there was no memory for it.
    pub body: Result<Bytes>,
}

impl Frame {
    /// Understands it.
    pub fn message(self) -> Result<Message> {
        Message::decode(self.tag, self.body?)
    }
}

/// A message that there was no memory for: the rest of it is passed over.
struct Refused {
    tag: u8,
    /// How many bytes of it are still to come.
    left: usize,
    error: Error,
}

/// The receiving side of a connection.
pub(super) struct FrameReader {
    socket: OwnedReadHalf,
    inbox: BytesMut,
    memory: MessageMemory,
    refused: Option<Refused>,
}

impl FrameReader {
    pub fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, inbox: BytesMut::new(), memory: MessageMemory::default(), refused: None }
    }

    /// From now on what arrives is counted there.
    pub fn count(&mut self, memory: MessageMemory) {
        self.memory = memory;
    }

    /// The next message if it has come whole already; the one before is done with.
    pub fn buffered(&mut self) -> Result<Option<Frame>> {
        if let Some(refused) = &mut self.refused {
            let passed = refused.left.min(self.inbox.len());
            self.inbox.advance(passed);
            refused.left -= passed;
            if refused.left > 0 {
                return Ok(None);
            }
        }
        if let Some(Refused { tag, error, .. }) = self.refused.take() {
            return Ok(Some(Frame { tag, body: Err(error) }));
        }
        let Some(mut frame) = take(&mut self.inbox)? else {
            if let Err(error) = self.memory.hold(self.inbox.len()) {
                self.refuse(error);
            }
            return Ok(None);
        };
        let size = frame.body.as_ref().map_or(0, Bytes::len);
        if size > limits::READ_AHEAD_BYTES {
            // What follows would keep the large message in memory until something else is large.
            self.inbox = BytesMut::from(&self.inbox[..]);
        }
        // A statement is parsed and planned from its text; data are only decoded.
        let share = if frame.tag == b'd' { 1 } else { limits::STATEMENT_SHARE };
        if let Err(error) = self.memory.hold(size * share + self.inbox.len()) {
            frame.body = Err(error);
        }
        Ok(Some(frame))
    }

    /// Passes over the message that is being received.
    fn refuse(&mut self, error: Error) {
        if let Some(&[tag, a, b, c, d]) = self.inbox.first_chunk::<HEAD>() {
            let left = u32::from_be_bytes([a, b, c, d]) as usize + 1;
            let left = left.saturating_sub(self.inbox.len());
            self.inbox = BytesMut::new();
            self.refused = Some(Refused { tag, left, error });
        }
    }

    /// Waits for the next message; None: the client has closed.
    pub async fn frame(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if self.fill().await == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends when the client closes its side; meanwhile reads ahead what it sends, up to a bound.
    pub async fn gone(&mut self) {
        loop {
            if self.inbox.len() < limits::READ_AHEAD_BYTES {
                if self.fill().await == 0 {
                    return;
                }
                continue;
            }
            // What is not read hides the end of the stream, but the kernel tells of a closed peer
            // beside it.
            match self.socket.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Reads what is there and throws it away, until the client closes.
    pub async fn drain(&mut self) {
        loop {
            self.inbox.clear();
            if self.fill().await == 0 {
                return;
            }
        }
    }

    /// Reads once; 0 is the end, which a broken connection is as well.
    async fn fill(&mut self) -> usize {
        // Doubling keeps a large message linear in its own size without trusting its length word.
        let room = self.inbox.len().clamp(8 << 10, 8 << 20);
        if self.inbox.capacity() - self.inbox.len() < 4 << 10 {
            self.inbox.reserve(room);
        }
        self.socket.read_buf(&mut self.inbox).await.unwrap_or(0)
    }
}

/// Cuts a whole message off the front.
fn take(inbox: &mut BytesMut) -> Result<Option<Frame>> {
    let Some(&tag) = inbox.first() else {
        return Ok(None);
    };
    if !KNOWN.contains(&tag) {
        return Err(Error::new(
            SqlState::ProtocolViolation,
            format!("invalid frontend message type {tag}"),
        ));
    }
    let Some(&[_, a, b, c, d]) = inbox.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length < 4 {
        return Err(Error::new(
            SqlState::ProtocolViolation,
            format!("invalid message length {length}"),
        ));
    }
    if length - 4 > limits::MESSAGE_BYTES {
        let message = format!("message of {} bytes is too large", length - 4);
        return Err(Error::new(SqlState::ProgramLimit, message)
            .detail(format!("A message has at most {} bytes.", limits::MESSAGE_BYTES)));
    }
    if inbox.len() < length + 1 {
        return Ok(None);
    }
    let mut whole = inbox.split_to(length + 1).freeze();
    let body = Ok(whole.split_off(HEAD));
    Ok(Some(Frame { tag, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expect: Result<Option<(u8, &[u8])>, &str>) {
        let mut inbox = BytesMut::from(bytes);
        match (take(&mut inbox), expect) {
            (Ok(None), Ok(None)) => {}
            (Ok(Some(frame)), Ok(Some((tag, body)))) => {
                assert_eq!((frame.tag, &frame.body.unwrap()[..]), (tag, body))
            }
            (Err(error), Err(code)) => assert_eq!(error.state().code(), code),
            (got, want) => {
                panic!("{bytes:?}: {:?} instead of {want:?}", got.map(|f| f.map(|f| f.tag)))
            }
        }
    }

    #[test]
    fn a_message_is_judged_by_its_head_before_its_body_is_there() {
        check(b"", Ok(None));
        check(b"Q", Ok(None));
        check(b"Q\0\0\0\x05", Ok(None));
        check(b"S\0\0\0\x04", Ok(Some((b'S', b""))));
        check(b"Q\0\0\0\x06a\0S", Ok(Some((b'Q', b"a\0"))));
        check(b"z", Err("08P01"));
        check(b"Q\0\0\0\x03", Err("08P01"));
        check(b"Q\xff\xff\xff\xff", Err("54000"));
    }
}
