//! Writing rows: INSERT, UPDATE, DELETE, TRUNCATE and COPY … FROM, into streams and tables.
//!
//! ```text
//!  VALUES ─▶ literals ──┐
//!  SELECT ─▶ query ─────┼▶ assign (to types) ▶ rows (defaults, generated, checks) ▶ Transaction
//!  COPY   ─▶ decoder ───┘                                                │
//!                             ON CONFLICT, UPDATE, DELETE: change ◀──────┘
//! ```
//! An INSERT of one row or a few that are constants and parameters goes from its cells to rows in
//! one step (`plain`). Literals never pass through the planner: they are read as the target
//! column's type, as Postgres reads a constant whose type is unknown. Everything else is a query
//! that is planned and run, and whose columns are cast by the rules of assignment. A statement's
//! rows are complete and checked before the first of them is added to the
//! [`SessionTransaction`](super::transaction::SessionTransaction), and nothing of a transaction is
//! visible to others before its commit. What writes adds to the transaction and commits nothing; it
//! is called on the threads that plan, and after an error the caller rolls back to a savepoint or
//! all of it.

mod assign;
mod change;
mod conflict;
mod copy;
mod describe;
mod fed;
mod insert;
mod moment;
mod numbered;
mod plain;
mod query;
mod returning;
mod rows;
mod target;
mod together;
mod values;

#[cfg(test)]
pub(super) mod tests;

pub(super) use assign::check as check_assignable;
pub(super) use change::truncate;
pub(super) use copy::{Copying, copy_in};
pub(super) use describe::describe;
pub(super) use fed::{FedRules, FedWrite};
pub use insert::append_batches;
pub(super) use moment::replace_clock;
pub use plain::PlainInsert;
pub(super) use target::{columns, feeds_sink, is_sink};
pub(super) use together::change;
