//! What the process asks of the system at its start: descriptors enough, and files that nobody else
//! can read.
//!
//! Sockets and the store's files come out of one limit. A client too many is refused and comes
//! again; a flush that finds no descriptor ends the process. So the limit is divided before anyone
//! is let in.

use crate::error::{Error, Result, SqlState};
use crate::limits;

/// What is known to be there when the system does not say.
const USUAL_DESCRIPTORS: usize = 1_024;

/// Who gets how many descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// Files that the store keeps open.
    pub(super) store_files: usize,
    /// Clients that may be logged in.
    pub(super) clients: usize,
    /// Sockets that have not logged in.
    pub(super) logins: usize,
}

/// Divides the descriptors. Fewer than wanted may be left for clients, which is said; none is an
/// error.
pub(super) fn share(limit: usize, wanted: usize) -> Result<Shares> {
    let store_files = limits::STORE_FILES.min(limit / 4);
    let logins = limits::PENDING_LOGINS.min(limit / 4);
    let taken =
        store_files + limits::RESERVED_DESCRIPTORS.min(limit / 4) + limits::HTTP_SOCKETS + logins;
    let clients = wanted.min(limit.saturating_sub(taken));
    if clients == 0 {
        let what = format!("{limit} file descriptors are too few to serve with");
        return Err(Error::new(SqlState::TooManyConnections, what)
            .hint("Allow the process more of them, with ulimit -n or LimitNOFILE."));
    }
    if clients < wanted {
        tracing::warn!(
            "{limit} file descriptors are enough for {clients} clients, not for the {wanted} of --max-connections; \
             allow more with ulimit -n or LimitNOFILE"
        );
    }
    Ok(Shares { store_files, clients, logins })
}

/// Raises the limit of descriptors as far as the process may, and says what it is then.
#[expect(unsafe_code, reason = "the standard library does not have these two calls")]
pub(super) fn raise_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call fills in the value that it is given, which outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return USUAL_DESCRIPTORS;
    }
    let wanted = limit.rlim_max.min(limits::DESCRIPTORS);
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max };
        // SAFETY: the call only reads the value that it is given.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            limit = raised;
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Files that are made from now on can be read and written by this user only.
#[expect(unsafe_code, reason = "the standard library does not have this call")]
pub(super) fn keep_files_private() {
    // SAFETY: it sets a number of the process, and cannot fail.
    unsafe { libc::umask(0o077) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_its_descriptors_however_many_clients_are_wanted() {
        let check = |limit, wanted, store_files, clients| {
            let shares = share(limit, wanted).unwrap();
            assert_eq!((shares.store_files, shares.clients), (store_files, clients), "{limit}");
        };
        check(65_536, 200, limits::STORE_FILES, 200);
        check(1_024, 200, limits::STORE_FILES, 200);
        check(1_024, 100_000, limits::STORE_FILES, 320);
        check(300, 200, 75, 11);
        assert_eq!(share(200, 200).unwrap_err().state(), SqlState::TooManyConnections);
    }

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        let limit = raise_descriptors();
        assert!(limit > 0);
        assert_eq!(raise_descriptors(), limit, "once is enough");
    }
}
