//! A panic as an error: a bug of ours ends the piece of work it is in, and nothing else.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

use super::{Error, Result, SqlState};

/// The error that a panic in `what` becomes, told in the log as well.
pub fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    if let Some(error) = overflowed(said) {
        return error;
    }
    tracing::error!(panic = said, "{what} panicked");
    Error::internal(format!("{what} ran into a bug in the server"))
        .detail(said.to_owned())
        .hint("Please report this with the statement; other sessions are not affected.")
}

/// The error that a panic of Arrow's is which is no bug: it counts the bytes of a column of texts in
/// 31 bits, and knows no other way to say that there are more.
pub(super) fn overflowed(said: &str) -> Option<Error> {
    said.contains("offset overflow").then(|| {
        Error::new(SqlState::ProgramLimit, "a column would have more than 2 GiB")
            .hint("Let fewer rows be computed together, or make the values shorter.")
    })
}

/// Runs a future whose panic shall end nothing but itself. What it leaves half done must not be
/// used afterwards.
pub async fn contained<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|panic| Err(panicked(what, &*panic)))
}

/// [`contained`] for work that does not wait.
pub fn contained_call<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(what, &*panic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_error_that_says_what_was_said() {
        let error = contained_call::<()>("the view", || panic!("no row {}", 7)).unwrap_err();
        assert_eq!(error.state(), SqlState::Internal);
        assert_eq!(error.message(), "the view ran into a bug in the server");
        assert_eq!(error.detail_text(), Some("no row 7"));
        let error = contained_call::<()>("the view", || panic!("offset overflow")).unwrap_err();
        assert_eq!(error.state(), SqlState::ProgramLimit);
        let waiting = contained::<()>("the view", async { panic!("still") });
        let error = futures::executor::block_on(waiting).unwrap_err();
        assert_eq!(error.detail_text(), Some("still"));
    }
}
