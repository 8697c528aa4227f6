//! Why a materialized view does not run any more.

use serde::{Deserialize, Serialize};

use crate::error::{Error, SqlState};

/// What ended a view. It is stored with the view's progress: code, message, and the hint if there
/// is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredFailure", into = "StoredFailure")]
pub struct ViewFailure {
    /// What kind of error it was.
    pub state: SqlState,
    /// In words.
    pub message: String,
    /// What may be done about it.
    pub hint: Option<String>,
    /// It ends with this run of the server: never stored, what is stored of the view is whole.
    pub for_now: bool,
}

impl ViewFailure {
    /// The failure that an error of a view's own is.
    pub fn of(error: &Error) -> ViewFailure {
        let message = match (error.state(), error.detail_text()) {
            // What a panic said stands in the detail, and only the message is kept.
            (SqlState::Internal, Some(detail)) => format!("{}: {detail}", error.message()),
            _ => error.message().to_owned(),
        };
        let hint = error.hint_text().map(str::to_owned);
        ViewFailure { state: error.state(), message, hint, for_now: false }
    }

    /// The failure of a view that there is no room for until the next start.
    pub fn for_now(error: &Error) -> ViewFailure {
        ViewFailure { for_now: true, ..ViewFailure::of(error) }
    }

    /// What a reader of the view gets.
    pub fn error(&self, view: &str) -> Error {
        let ViewFailure { state, message, hint, for_now } = self;
        let general = if *for_now {
            "Nothing of it is lost: make room, then ALTER MATERIALIZED VIEW … RESUME, or start the server again with a higher --memory-limit."
        } else {
            "Look at tidemill.queries; DROP the view and create it anew when the cause is gone."
        };
        // That of a view below has it already.
        let own = hint.as_deref().map(|own| own.trim_end_matches(general).trim_end());
        let parts = own.into_iter().filter(|own| !own.is_empty()).chain([general]);
        let hint = parts.collect::<Vec<_>>().join(" ");
        Error::new(
            SqlState::NotInState,
            format!("materialized view \"{view}\" has failed: {message}"),
        )
        .detail(format!("SQLSTATE {}", state.code()))
        .hint(hint)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredFailure {
    /// Code, message and hint.
    Hinted(String, String, String),
    /// Code and message.
    Plain(String, String),
}

impl From<StoredFailure> for ViewFailure {
    fn from(stored: StoredFailure) -> ViewFailure {
        let (code, message, hint) = match stored {
            StoredFailure::Hinted(code, message, hint) => (code, message, Some(hint)),
            StoredFailure::Plain(code, message) => (code, message, None),
        };
        // A code that was raised by another version of us.
        let state = SqlState::of_code(&code).unwrap_or(SqlState::Internal);
        ViewFailure { state, message, hint, for_now: false }
    }
}

impl From<ViewFailure> for StoredFailure {
    fn from(failure: ViewFailure) -> StoredFailure {
        let code = failure.state.code().to_owned();
        match failure.hint {
            Some(hint) => StoredFailure::Hinted(code, failure.message, hint),
            None => StoredFailure::Plain(code, failure.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_stored_with_its_hint_and_comes_back() {
        let failure = ViewFailure::of(&Error::new(SqlState::DivisionByZero, "division by zero"));
        let stored = serde_json::to_string(&failure).unwrap();
        assert_eq!(stored, r#"["22012","division by zero"]"#);
        assert_eq!(serde_json::from_str::<ViewFailure>(&stored).unwrap(), failure);
        let hinted = Error::new(SqlState::DivisionByZero, "division by zero").hint("Use NULLIF.");
        let failure = ViewFailure::of(&hinted);
        let stored = serde_json::to_string(&failure).unwrap();
        assert_eq!(stored, r#"["22012","division by zero","Use NULLIF."]"#);
        assert_eq!(serde_json::from_str::<ViewFailure>(&stored).unwrap(), failure);
        assert!(
            failure.error("v").hint_text().is_some_and(|hint| hint.starts_with("Use NULLIF. "))
        );
        let above = ViewFailure::of(&failure.error("v"));
        assert_eq!(above.error("w").hint_text(), failure.error("v").hint_text());
    }

    #[test]
    fn a_failure_keeps_what_a_panic_said() {
        let error = Error::internal("the view ran into a bug").detail("no row 7");
        assert_eq!(ViewFailure::of(&error).message, "the view ran into a bug: no row 7");
    }
}
