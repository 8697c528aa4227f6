//! Errors, notices and small answers as messages.

use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus as Status,
};
use pgwire::messages::startup::ParameterStatus;

use crate::error::{Error, Result};
use crate::limits;
use crate::session::{SideMessage, TransactionStatus};

/// Adds a message to what goes out; one that cannot be encoded leaves no trace of itself.
pub(super) fn put(reply: &Reply, out: &mut BytesMut) -> Result<()> {
    let before = out.len();
    reply.encode(out).map_err(|error| {
        out.truncate(before);
        Error::internal(format!("cannot encode an answer: {error}"))
    })
}

/// An ErrorResponse.
pub(super) fn error(severity: &str, error: &Error) -> Reply {
    Reply::ErrorResponse(ErrorResponse::new(fields(severity, error)))
}

/// What a statement says besides its result.
pub(super) fn side(message: &SideMessage) -> Reply {
    match message {
        SideMessage::Notice(severity, text) => {
            Reply::NoticeResponse(NoticeResponse::new(fields(severity, text)))
        }
        SideMessage::Parameter(name, value) => parameter(name, value),
    }
}

/// A ParameterStatus.
pub(super) fn parameter(name: &str, value: &str) -> Reply {
    Reply::ParameterStatus(ParameterStatus::new(clean(name), clean(value)))
}

/// A CommandComplete.
pub(super) fn complete(tag: &str) -> Reply {
    Reply::CommandComplete(CommandComplete::new(clean(tag)))
}

/// A ReadyForQuery.
pub(super) fn ready(status: TransactionStatus) -> Reply {
    Reply::ReadyForQuery(ReadyForQuery::new(match status {
        TransactionStatus::Idle => Status::Idle,
        TransactionStatus::InBlock => Status::Transaction,
        TransactionStatus::Failed => Status::Error,
    }))
}

/// The fields of an error or notice; `V` is the severity that no server translates.
fn fields(severity: &str, error: &Error) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.state().code().to_owned()),
        (b'M', clean(error.message())),
    ];
    if let Some(detail) = error.detail_text() {
        fields.push((b'D', clean(detail)));
    }
    if let Some(hint) = error.hint_text() {
        fields.push((b'H', clean(hint)));
    }
    if let Some(position) = error.position() {
        fields.push((b'P', position.to_string()));
    }
    fields
}

/// Text as it may stand in a message: no zero byte, which would end it, and not without bound.
pub(super) fn clean(text: &str) -> String {
    let mut end = text.len().min(limits::REPORT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut cleaned = text[..end].replace('\0', "\u{fffd}");
    if end < text.len() {
        cleaned.push('…');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    #[test]
    fn an_error_tells_code_message_hint_and_position() {
        let got = fields("ERROR", &Error::new(SqlState::Syntax, "a\0b").hint("Try.").at(7));
        let want = [
            (b'S', "ERROR"),
            (b'V', "ERROR"),
            (b'C', "42601"),
            (b'M', "a\u{fffd}b"),
            (b'H', "Try."),
            (b'P', "7"),
        ];
        assert_eq!(got, want.map(|(tag, text)| (tag, text.to_owned())));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = clean(&"ä".repeat(limits::REPORT_BYTES));
        assert!(cut.len() <= limits::REPORT_BYTES + 3 && cut.ends_with("ä…"));
    }
}
