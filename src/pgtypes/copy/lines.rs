//! Where the records of a text or csv stream end.
//!
//! A record ends with a line feed, a carriage return, or both; the first line decides which, as in
//! Postgres. In text a line end behind a backslash is data, in csv one between quotes is. What has
//! been looked at is not looked at again when more bytes come.

use memchr::{memchr2, memchr3};

use crate::error::{Error, Result, SqlState};

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    LineFeed,
    Return,
    Both,
}

/// One record without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyRecord {
    /// Where it ends.
    pub(crate) end: usize,
    /// Where the next one begins.
    pub(crate) next: usize,
    /// Line ends inside it.
    pub(crate) inner_lines: u64,
}

/// What came of looking for the end of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Record(CopyRecord),
    /// More bytes are needed.
    Incomplete,
}

/// Whether there may be more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoreInput {
    Open,
    Ended,
}

/// Finds the ends of records.
#[derive(Debug)]
pub(crate) struct Lines {
    line_end: LineEnd,
    /// The csv quote and escape; None for text.
    csv: Option<(u8, u8)>,
    /// How far behind the record's start has been looked at.
    scanned: usize,
    in_quotes: bool,
    escaped: bool,
    inner_lines: u64,
}

impl Lines {
    pub(crate) fn new(csv: Option<(u8, u8)>) -> Self {
        Lines {
            line_end: LineEnd::Unknown,
            csv,
            scanned: 0,
            in_quotes: false,
            escaped: false,
            inner_lines: 0,
        }
    }

    /// Whether what is left over stands in an open quote.
    pub(crate) fn in_quotes(&self) -> bool {
        self.in_quotes
    }

    /// Looks for the end of the record that begins at `start`.
    #[inline]
    pub(crate) fn next(&mut self, data: &[u8], start: usize, input: MoreInput) -> Result<Found> {
        let mut at = start + self.scanned;
        loop {
            let found = match self.csv {
                Some((quote, escape)) => self.next_csv(data, at, quote, escape),
                None => memchr2(b'\n', b'\r', &data[at..]).map(|i| at + i),
            };
            let Some(end) = found else {
                self.scanned = data.len() - start;
                return Ok(Found::Incomplete);
            };
            if self.csv.is_none() && is_escaped(&data[start..end]) {
                at = end + 1;
                continue;
            }
            if data[end] == b'\r' && end + 1 == data.len() && input == MoreInput::Open {
                // The next byte decides whether this is one line end or two; keep it for later.
                self.scanned = end - start;
                return Ok(Found::Incomplete);
            }
            let both = data[end] == b'\r' && data.get(end + 1) == Some(&b'\n');
            self.check_line_end(data[end], both)?;
            let inner_lines = std::mem::take(&mut self.inner_lines);
            (self.scanned, self.escaped) = (0, false);
            return Ok(Found::Record(CopyRecord {
                end,
                next: end + 1 + usize::from(both),
                inner_lines,
            }));
        }
    }

    /// The next line end outside quotes. An escape counts only between quotes, and only before a
    /// quote or itself.
    #[inline]
    fn next_csv(&mut self, data: &[u8], mut at: usize, quote: u8, escape: u8) -> Option<usize> {
        if escape == quote {
            loop {
                let i = if self.in_quotes {
                    at + memchr2(quote, b'\n', &data[at..])?
                } else {
                    at + memchr3(quote, b'\n', b'\r', &data[at..])?
                };
                at = i + 1;
                match data[i] {
                    b if b == quote => self.in_quotes = !self.in_quotes,
                    _ if self.in_quotes => self.inner_lines += 1,
                    _ => return Some(i),
                }
            }
        }
        for (i, byte) in data.iter().enumerate().skip(at) {
            if self.in_quotes && *byte == escape {
                self.escaped = !self.escaped;
            }
            if *byte == quote && !self.escaped {
                self.in_quotes = !self.in_quotes;
            }
            if *byte != escape {
                self.escaped = false;
            }
            match byte {
                b'\n' if self.in_quotes => self.inner_lines += 1,
                b'\n' | b'\r' if !self.in_quotes => return Some(i),
                _ => {}
            }
        }
        None
    }

    fn check_line_end(&mut self, byte: u8, both: bool) -> Result<()> {
        let this = match (byte, both) {
            (b'\n', _) => LineEnd::LineFeed,
            (_, true) => LineEnd::Both,
            (_, false) => LineEnd::Return,
        };
        if self.line_end == LineEnd::Unknown {
            self.line_end = this;
        }
        if self.line_end == this {
            return Ok(());
        }
        let kind = if self.csv.is_some() { "unquoted" } else { "literal" };
        let (what, escape) =
            if this == LineEnd::LineFeed { ("newline", "\\n") } else { ("carriage return", "\\r") };
        let hint = match self.csv {
            Some(_) => format!("Use quoted CSV field to represent {what}."),
            None => format!("Use \"{escape}\" to represent {what}."),
        };
        Err(Error::new(SqlState::BadCopyFormat, format!("{kind} {what} found in data")).hint(hint))
    }
}

/// Whether the bytes end with an odd number of backslashes.
#[inline]
fn is_escaped(before: &[u8]) -> bool {
    before.last() == Some(&b'\\')
        && before.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}
