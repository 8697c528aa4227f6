//! COPY: data in and out, in both protocols.
//!
//! Going out, the session hands over many rows in one piece, and each row becomes a CopyData
//! message of its own: drivers take messages for rows, as Postgres sends them so. Where a row ends
//! is seen in the bytes. A wrong guess would only move the border between two messages: the bytes
//! and their order are the same.

use bytes::BufMut;
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::copy::{
    CopyDone, CopyInResponse, CopyOutResponse, MESSAGE_TYPE_BYTE_COPY_DATA,
};

use super::connection::Connection;
use super::link::Stop;
use super::messages::Message;
use crate::error::{Error, Result, SqlState};
use crate::session::{CopyIn, CopyOut};

impl Connection {
    /// Takes data from the client until it is done; the tag. An error leaves nothing written: the
    /// sink is dropped.
    pub(super) async fn copy_in(&mut self, mut sink: Box<dyn CopyIn>) -> Result<String, Stop> {
        let (format, columns) = shape(sink.format(), sink.columns());
        let formats = vec![i16::from(format); columns as usize];
        self.link.put(&Reply::CopyInResponse(CopyInResponse::new(format, columns, formats)))?;
        self.link.flush().await?;
        loop {
            let frame = self.link.frame_for_statement().await?;
            let tag = frame.tag;
            match frame.message()? {
                Message::CopyData(bytes) => self.link.run(sink.data(bytes)).await?,
                Message::CopyDone => return self.link.run(sink.finish()).await,
                Message::CopyFail(why) => {
                    let message = format!("COPY from stdin failed: {why}");
                    return Err(Stop::Error(Error::new(SqlState::Cancelled, message)));
                }
                // A client of the extended protocol may have sent these before it knew that it is a
                // COPY.
                Message::Flush | Message::Sync => {}
                Message::Terminate => return Err(Stop::Gone),
                Message::Query(_)
                | Message::Parse { .. }
                | Message::Bind(_)
                | Message::Describe(..)
                | Message::Execute { .. }
                | Message::Close(..)
                | Message::FunctionCall => {
                    let message =
                        format!("unexpected message type 0x{tag:02x} during COPY from stdin");
                    return Err(Stop::Error(Error::new(SqlState::ProtocolViolation, message)));
                }
            }
        }
    }

    /// Sends data to the client as it comes; the tag.
    pub(super) async fn copy_out(&mut self, source: CopyOut) -> Result<String, Stop> {
        let (format, columns) = shape(source.format, source.columns);
        let formats = vec![i16::from(format); columns as usize];
        self.link.put(&Reply::CopyOutResponse(CopyOutResponse::new(format, columns, formats)))?;
        let mut stream = source.stream;
        let mut count = 0;
        while let Some((data, rows)) = self.link.next_live(&mut stream).await? {
            count += rows;
            let cut = Cut::of(format, &data, rows);
            let mut rest = &data[..];
            while !rest.is_empty() {
                let (row, after) = rest.split_at(cut.row(rest).clamp(1, rest.len()));
                self.link.out.put_u8(MESSAGE_TYPE_BYTE_COPY_DATA);
                self.link.out.put_u32(row.len() as u32 + 4);
                self.link.out.put_slice(row);
                rest = after;
                self.link.flush_if_large().await?;
            }
        }
        self.link.put(&Reply::CopyDone(CopyDone::new()))?;
        Ok(format!("{} {count}", source.tag))
    }
}

/// Format and number of columns as the message says them;
/// [`limits::COLUMNS`](crate::limits::COLUMNS) fits.
fn shape(format: i16, columns: usize) -> (i8, i16) {
    (i8::from(format != 0), i16::try_from(columns).unwrap_or(i16::MAX))
}

/// How a piece of data falls into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It is one row, or a header.
    Whole,
    /// A row is a line.
    Lines,
    /// A row is a line, but quotes may hold line ends.
    QuotedLines,
    /// A count of fields, then length and bytes of each.
    Tuples,
}

/// What binary data begins with: a signature, flags, and the length of an extension that is not
/// there.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl Cut {
    fn of(format: i8, data: &[u8], rows: u64) -> Self {
        if format != 0 {
            return Self::Tuples;
        }
        let lines = data.iter().filter(|&&byte| byte == b'\n').count() as u64;
        match lines {
            0 | 1 => Self::Whole,
            lines if lines == rows => Self::Lines,
            _ => Self::QuotedLines,
        }
    }

    /// How long the first row is; everything if its end is not found.
    fn row(self, data: &[u8]) -> usize {
        let end = match self {
            Self::Whole => None,
            Self::Lines => data.iter().position(|&byte| byte == b'\n').map(|at| at + 1),
            Self::QuotedLines => {
                let mut quoted = false;
                let ends = data.iter().position(|&byte| {
                    quoted ^= byte == b'"';
                    byte == b'\n' && !quoted
                });
                ends.map(|at| at + 1)
            }
            Self::Tuples => tuple(data),
        };
        end.unwrap_or(data.len())
    }
}

/// The length of the first tuple, with the header before it.
fn tuple(data: &[u8]) -> Option<usize> {
    let mut at = if data.starts_with(BINARY_HEADER) { BINARY_HEADER.len() } else { 0 };
    let &[high, low] = data.get(at..)?.first_chunk()?;
    at += 2;
    // The trailer is a count of -1, and no fields.
    for _ in 0..i16::from_be_bytes([high, low]).max(0) {
        let length = i32::from_be_bytes(*data.get(at..)?.first_chunk()?);
        at = at.checked_add(4 + usize::try_from(length).unwrap_or(0))?;
    }
    (at <= data.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_found_in_a_piece_of_many() {
        let check = |format: i8, rows: u64, expect: &[&[u8]]| {
            let data = expect.concat();
            let (cut, mut rest, mut got) = (Cut::of(format, &data, rows), &data[..], Vec::new());
            while !rest.is_empty() {
                let (row, after) = rest.split_at(cut.row(rest));
                got.push(row);
                rest = after;
            }
            assert_eq!(got, expect);
        };
        check(0, 3, &[b"1\ta\n", b"2\t\"\n", b"\n"]);
        check(0, 2, &[b"1,\"a\nb\"\n", b"2,x\n"]);
        check(0, 2, &[b"n,t\n", b"1,a\n", b"2,b\n"]);
        check(0, 1, &[b"1,a"]);
        let header = [BINARY_HEADER, b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"].concat();
        check(1, 2, &[&header, b"\0\x01\0\0\0\0", b"\xff\xff"]);
        check(1, 1, &[b"\0\x01\0\0\0\x09"]);
    }
}
