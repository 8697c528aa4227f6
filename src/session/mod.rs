//! A client's session: statements to actions.
//!
//! | file | idea |
//! |---|---|
//! | [`conversation`](self) | what a client protocol needs |
//! | `session` | which statement does what; transaction blocks |
//! | `prepare` | what a statement takes and gives, before it runs |
//! | `query`, `continuous`, `subscribe` | the three ways to read |
//! | `cursor`, `copy_out` | the ways to get what is read |
//! | `ddl` | CREATE, ALTER, DROP |
//! | `calls` | functions that do something: `advance_watermark`, `pg_sleep` |
//! | `show`, `explain` | looking inside |
//! | `settings`, `params` | SET; parameters and session functions as constants |
//! | [`transaction`] | what has been written and not committed |
//! | [`mod@write`] | INSERT, UPDATE, DELETE, TRUNCATE, COPY … FROM |
//! | [`system`] | `tidemill`, `pg_catalog`, `information_schema` |

mod any_params;
mod calls;
mod continuous;
mod control;
mod conversation;
pub mod copy_out;
mod cursor;
mod ddl;
mod explain;
mod front;
mod gate;
mod params;
mod prepare;
pub mod query;
pub mod rows;
#[allow(clippy::module_inception)] // the session itself, in the room of that name
mod session;
pub mod settings;
pub mod shared_settings;
mod show;
mod subscribe;
pub mod system;
#[cfg(test)]
mod tests;
pub mod transaction;
pub mod write;

pub use conversation::*;
pub use front::Front;
pub use gate::CommitGate;
pub use session::Session;
