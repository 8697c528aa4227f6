//! Why a materialized view does not run any more.

use serde::{Deserialize, Serialize};

use crate::error::{Error, SqlState};

/// What ended a view. It is stored with the view's progress, as a pair of code and message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, String)", into = "(String, String)")]
pub struct ViewFailure {
    /// What kind of error it was.
    pub state: SqlState,
    /// In words.
    pub message: String,
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
        ViewFailure { state: error.state(), message, for_now: false }
    }

    /// The failure of a view that there is no room for until the next start.
    pub fn for_now(error: &Error) -> ViewFailure {
        ViewFailure { for_now: true, ..ViewFailure::of(error) }
    }

    /// What a reader of the view gets.
    pub fn error(&self, view: &str) -> Error {
        let ViewFailure { state, message, for_now } = self;
        let hint = if *for_now {
            "Nothing of it is lost: start the server again with a higher --memory-limit."
        } else {
            "Look at tidemill.queries; DROP the view and create it anew when the cause is gone."
        };
        Error::new(
            SqlState::NotInState,
            format!("materialized view \"{view}\" has failed: {message}"),
        )
        .detail(format!("SQLSTATE {}", state.code()))
        .hint(hint)
    }
}

impl From<(String, String)> for ViewFailure {
    fn from((code, message): (String, String)) -> ViewFailure {
        // A code that was raised by another version of us.
        let state = SqlState::of_code(&code).unwrap_or(SqlState::Internal);
        ViewFailure { state, message, for_now: false }
    }
}

impl From<ViewFailure> for (String, String) {
    fn from(failure: ViewFailure) -> (String, String) {
        (failure.state.code().to_owned(), failure.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_stored_as_a_pair_and_comes_back() {
        let failure = ViewFailure::of(&Error::new(SqlState::DivisionByZero, "division by zero"));
        let stored = serde_json::to_string(&failure).unwrap();
        assert_eq!(stored, r#"["22012","division by zero"]"#);
        assert_eq!(serde_json::from_str::<ViewFailure>(&stored).unwrap(), failure);
    }

    #[test]
    fn a_failure_keeps_what_a_panic_said() {
        let error = Error::internal("the view ran into a bug").detail("no row 7");
        assert_eq!(ViewFailure::of(&error).message, "the view ran into a bug: no row 7");
    }
}
