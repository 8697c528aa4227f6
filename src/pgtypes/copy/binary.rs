//! The frame of PGCOPY: a signature, flags, tuples of sized fields, a trailer (manual, COPY, binary
//! format).

use super::lines::MoreInput;
use crate::error::{Error, Result, SqlState};

/// The first eleven bytes.
pub(crate) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// The state of reading it: whether the header has been read.
#[derive(Debug, Default)]
pub(crate) struct Tuples {
    started: bool,
}

/// What stands at the beginning of the data, and how many bytes it takes.
#[derive(Debug)]
pub(crate) enum Step {
    Header(usize),
    Tuple(usize),
    End(usize),
    Incomplete,
}

pub(crate) fn unexpected_end() -> Error {
    bad("unexpected EOF in COPY data")
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(SqlState::BadCopyFormat, message)
}

fn word(data: &[u8], at: usize) -> Option<i32> {
    data.get(at..at + 4).and_then(|b| b.try_into().ok()).map(i32::from_be_bytes)
}

/// A field behind its length, and what follows; None if there is not enough of it.
#[allow(clippy::type_complexity)]
pub(crate) fn field(data: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let rest = data.get(4..)?;
    match usize::try_from(word(data, 0)?) {
        Ok(length) => rest.split_at_checked(length).map(|(value, tail)| (Some(value), tail)),
        Err(_) => Some((None, rest)),
    }
}

impl Tuples {
    /// What comes next. Nothing is taken before it is complete.
    pub(crate) fn next(&mut self, data: &[u8], columns: usize, input: MoreInput) -> Result<Step> {
        let found = if self.started { tuple(data, columns)? } else { self.header(data)? };
        match (found, input) {
            (Some(step), _) => Ok(step),
            (None, MoreInput::Open) => Ok(Step::Incomplete),
            // A stream that breaks off between tuples is taken as complete, as Postgres takes it.
            (None, MoreInput::Ended) if self.started && data.is_empty() => Ok(Step::Incomplete),
            (None, MoreInput::Ended) if !self.started => {
                Err(bad("COPY file signature not recognized"))
            }
            (None, MoreInput::Ended) => Err(unexpected_end()),
        }
    }

    fn header(&mut self, data: &[u8]) -> Result<Option<Step>> {
        let seen = data.len().min(SIGNATURE.len());
        if data[..seen] != SIGNATURE[..seen] {
            return Err(bad("COPY file signature not recognized"));
        }
        let (Some(flags), Some(extension)) = (word(data, 11), word(data, 15)) else {
            return Ok(None);
        };
        if flags & (1 << 16) != 0 {
            return Err(bad("invalid COPY file header (WITH OIDS)"));
        }
        if flags as u32 >> 16 != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        let extension = usize::try_from(extension)
            .map_err(|_| bad("invalid COPY file header (wrong length)"))?;
        let used = 19 + extension;
        if data.len() < used {
            return Ok(None);
        }
        self.started = true;
        Ok(Some(Step::Header(used)))
    }
}

fn tuple(data: &[u8], columns: usize) -> Result<Option<Step>> {
    let Some(count) = data.get(..2).map(|b| i16::from_be_bytes([b[0], b[1]])) else {
        return Ok(None);
    };
    if count == -1 {
        return Ok(Some(Step::End(2)));
    }
    if usize::try_from(count) != Ok(columns) {
        return Err(bad(format!("row field count is {count}, expected {columns}")));
    }
    let mut at = 2usize;
    for _ in 0..columns {
        let Some(length) = word(data, at) else {
            return Ok(None);
        };
        if length < -1 {
            return Err(bad("invalid field size"));
        }
        at += 4 + length.max(0) as usize;
        if at > data.len() {
            return Ok(None);
        }
    }
    Ok(Some(Step::Tuple(at)))
}
