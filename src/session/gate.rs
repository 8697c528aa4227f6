//! The gate between a statement that can still be cancelled and its commit, which cannot.
//!
//! Who is told that a statement was cancelled must be able to run it again without having it done
//! twice. So either the cancel comes first, and the commit is refused, or the commit comes first,
//! and the cancel is too late: the statement goes to its end.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result, SqlState};

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const SHUT: u8 = 2;

/// Which of the two came first.
#[derive(Debug, Default)]
pub struct CommitGate(AtomicU8);

/// Held while a commit is made.
#[derive(Debug)]
pub struct Passing<'a>(&'a CommitGate);

impl CommitGate {
    /// For a commit: 57014 when the statement has been cancelled.
    pub fn pass(&self) -> Result<Passing<'_>> {
        match self.0.compare_exchange(OPEN, PASSED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Passing(self)),
            Err(_) => Err(Error::new(SqlState::Cancelled, "canceling statement before its commit")),
        }
    }

    /// For whoever wants to cancel: whether it is not too late.
    pub fn shut(&self) -> bool {
        self.0.compare_exchange(OPEN, SHUT, Ordering::AcqRel, Ordering::Acquire) != Err(PASSED)
    }

    /// For the next piece of work.
    pub fn open(&self) {
        self.0.store(OPEN, Ordering::Release);
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_comes_first_wins() {
        let gate = CommitGate::default();
        let passing = gate.pass().unwrap();
        assert!(!gate.shut(), "it is committing");
        drop(passing);
        assert!(gate.shut());
        assert_eq!(gate.pass().unwrap_err().state(), SqlState::Cancelled);
        gate.open();
        assert!(gate.pass().is_ok());
    }
}
