//! A client's session: statements to actions.
//!
//! | file | idea |
//! |---|---|
//! | [`client_session`](self) | what a client protocol needs |
//! | `session` | what a session holds, and what it gives its statements |
//! | `dispatch` | which statement does what |
//! | `prepare` | what a statement takes and gives, before it runs |
//! | `cached_plan` | the plan of a prepared SELECT, for its next run |
//! | [`read`] | SELECT once, continuously, as a subscription; cursors and COPY … TO |
//! | `insert` | INSERTs that need no planning |
//! | [`mod@write`] | INSERT, UPDATE, DELETE, TRUNCATE, COPY … FROM |
//! | `feed` | streams that are written to from outside |
//! | `message_memory` | what a client has sent and that is not done with |
//! | [`transaction`] | what has been written and not committed |
//! | `ddl` | CREATE, ALTER, DROP |
//! | `inspect` | SHOW, DESCRIBE, EXPLAIN and the schema `tidemill` |
//! | [`pg_catalog`] | `pg_catalog` and `information_schema`, as clients of Postgres ask for them |
//! | `calls` | functions that do something: `advance_watermark`, `pg_sleep` |
//! | `copy_in` | COPY … FROM STDIN on its way into the transaction |
//! | `control` | BEGIN, COMMIT, ROLLBACK, savepoints |
//! | `settings`, `params` | settings; parameters and session functions as constants |

mod cached_plan;
mod calls;
mod client_session;
mod control;
mod copy_in;
mod ddl;
mod dispatch;
mod factory;
mod feed;
mod gate;
mod insert;
mod inspect;
mod message_memory;
mod params;
pub mod pg_catalog;
mod prepare;
pub mod read;
#[allow(clippy::module_inception)] // the session itself, in the room of that name
mod session;
pub mod settings;
pub mod shared_settings;
#[cfg(test)]
mod tests;
pub mod transaction;
pub mod write;

pub use client_session::*;
pub use factory::EngineSessions;
pub use feed::{IncomingPost, PostHead, Posted, StreamPosts, follow_sockets};
pub use gate::CommitGate;
pub use message_memory::MessageMemory;
pub use session::{Session, room};
