//! Message bodies from the client, taken apart.
//!
//! The answers are encoded by pgwire; what comes in is decoded here, because pgwire's decoders
//! trust a body to be as long as its counts say (and panic otherwise), read past the message's end,
//! and replace bytes that are not UTF-8 in silence. Everything here is checked against the body's
//! own length first.

use bytes::{Buf, Bytes};

use crate::error::{Error, Result, SqlState};

/// A message, its body understood.
#[derive(Debug)]
pub(super) enum Message {
    Query(String),
    Parse { name: String, sql: String, types: Vec<u32> },
    Bind(Bind),
    Describe(MessageTarget, String),
    Execute { portal: String, max_rows: i32 },
    Close(MessageTarget, String),
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    FunctionCall,
}

/// Values for a prepared statement.
#[derive(Debug)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub formats: Vec<i16>,
    pub values: Vec<Option<Bytes>>,
    pub results: Vec<i16>,
}

/// What Describe and Close speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageTarget {
    Statement,
    Portal,
}

impl Message {
    /// Understands the body of a message; its type is one that [`framing`](super::framing) lets
    /// through.
    pub fn decode(tag: u8, body: Bytes) -> Result<Self> {
        let mut body = MessageBody(body);
        let message = match tag {
            b'Q' => Self::Query(body.text()?),
            b'P' => {
                let (name, sql) = (body.text()?, body.text()?);
                let count = body.u16()?;
                let types = (0..count).map(|_| body.u32()).collect::<Result<_>>()?;
                Self::Parse { name, sql, types }
            }
            b'B' => Self::Bind(body.bind()?),
            b'D' => Self::Describe(body.target()?, body.text()?),
            b'E' => Self::Execute { portal: body.text()?, max_rows: body.u32()? as i32 },
            b'C' => Self::Close(body.target()?, body.text()?),
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'd' => Self::CopyData(std::mem::take(&mut body.0)),
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail(body.text()?),
            b'F' => {
                body.0.clear();
                Self::FunctionCall
            }
            other => return Err(malformed(&format!("invalid frontend message type {other}"))),
        };
        if body.0.is_empty() { Ok(message) } else { Err(malformed("invalid message format")) }
    }
}

/// Reads a body from its front; each read checks that there is enough.
struct MessageBody(Bytes);

impl MessageBody {
    /// A string that ends with a zero byte.
    fn text(&mut self) -> Result<String> {
        let Some(end) = self.0.iter().position(|&byte| byte == 0) else {
            return Err(malformed("invalid string in message"));
        };
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        utf8(&bytes).map(str::to_owned)
    }

    fn bytes(&mut self, count: usize) -> Result<Bytes> {
        if count <= self.0.len() {
            Ok(self.0.split_to(count))
        } else {
            Err(malformed("insufficient data left in message"))
        }
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(self.bytes(2)?.get_u16())
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.bytes(4)?.get_u32())
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        let count = self.u16()?;
        (0..count).map(|_| Ok(self.u16()? as i16)).collect()
    }

    fn target(&mut self) -> Result<MessageTarget> {
        match self.u8()? {
            b'S' => Ok(MessageTarget::Statement),
            b'P' => Ok(MessageTarget::Portal),
            other => Err(malformed(&format!("invalid DESCRIBE or CLOSE message subtype {other}"))),
        }
    }

    fn bind(&mut self) -> Result<Bind> {
        let (portal, statement) = (self.text()?, self.text()?);
        let formats = self.formats()?;
        let count = self.u16()?;
        let values = (0..count)
            .map(|_| match self.u32()? as i32 {
                -1 => Ok(None),
                length if length < 0 => Err(malformed("invalid length of a parameter")),
                length => self.bytes(length as usize).map(Some),
            })
            .collect::<Result<_>>()?;
        Ok(Bind { portal, statement, formats, values, results: self.formats()? })
    }
}

/// The bytes as text, or 22021.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let from = error.valid_up_to();
        let until = bytes.len().min(from + error.error_len().unwrap_or(bytes.len() - from));
        let shown: Vec<String> =
            bytes[from..until].iter().map(|byte| format!("0x{byte:02x}")).collect();
        Error::new(
            SqlState::BadCharacter,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
        .hint("Send text as UTF-8.")
    })
}

fn malformed(message: &str) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parse_and_a_bind_come_out_as_they_went_in() {
        let parse = Message::decode(b'P', Bytes::from_static(b"s\0SELECT $1\0\0\x01\0\0\0\x14"));
        let Ok(Message::Parse { name, sql, types }) = parse else { panic!("{parse:?}") };
        assert_eq!((name.as_str(), sql.as_str(), types), ("s", "SELECT $1", vec![20]));
        let bytes = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\0";
        let bind = Message::decode(b'B', Bytes::from_static(bytes));
        let Ok(Message::Bind(bind)) = bind else { panic!("{bind:?}") };
        assert_eq!((bind.portal.as_str(), bind.statement.as_str()), ("p", "s"));
        assert_eq!(bind.values, vec![Some(Bytes::from_static(b"hi")), None]);
        assert_eq!((bind.formats, bind.results), (vec![1], vec![]));
    }

    #[test]
    fn text_that_is_not_utf8_is_named_not_replaced() {
        let error = Message::decode(b'Q', Bytes::from_static(b"a\xffb\0")).unwrap_err();
        assert_eq!(error.state(), SqlState::BadCharacter);
        assert!(error.message().ends_with("0xff"), "{error}");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_decoder_panic(tag in 0u8..128, body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Message::decode(tag, Bytes::from(body));
        }
    }
}
