//! Text, JSON and bytes on their way into a column: all of them bytes one after the other, and
//! where each ends.

use super::{json_in, scalar_in};
use crate::error::{Error, Result, SqlState};

/// What the bytes of a column must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BytesKind {
    Text,
    /// So many characters at the most.
    Varchar(u32),
    /// The same, without the blanks at the end.
    Bpchar(u32),
    Json,
    Jsonb,
    Bytea,
}

/// Appends a value written as text; of one that is refused a part may be in `bytes`.
pub(crate) fn append_bytes(
    text: &[u8],
    kind: BytesKind,
    ends: &mut Vec<i32>,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    match kind {
        BytesKind::Text => bytes.extend_from_slice(scalar_in::string(text)?.as_bytes()),
        BytesKind::Varchar(n) => {
            let text = scalar_in::varchar(scalar_in::string(text)?, n, "character varying")?;
            bytes.extend_from_slice(text.as_bytes());
        }
        BytesKind::Bpchar(n) => {
            let text = scalar_in::varchar(scalar_in::string(text)?, n, "character")?;
            bytes.extend_from_slice(text.trim_end_matches(' ').as_bytes());
        }
        BytesKind::Json => {
            let text = scalar_in::string(text)?;
            json_in::check(text)?;
            bytes.extend_from_slice(text.as_bytes());
        }
        BytesKind::Jsonb => json_in::normalize(scalar_in::string(text)?, bytes)?,
        BytesKind::Bytea => scalar_in::bytea(text, bytes)?,
    }
    push_end(ends, bytes.len())
}

/// The value that has been appended ends here.
pub(crate) fn push_end(ends: &mut Vec<i32>, end: usize) -> Result<()> {
    let too_large =
        |_| Error::new(SqlState::ProgramLimit, "the values of one batch are larger than 2 GiB");
    ends.push(i32::try_from(end).map_err(too_large)?);
    Ok(())
}

/// Where the first `len` of the values that end there end together; the other ends go.
pub(crate) fn cut_ends(ends: &mut Vec<i32>, len: usize) -> usize {
    ends.truncate(len + 1);
    ends.last().map_or(0, |end| *end as usize)
}
