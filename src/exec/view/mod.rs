//! A materialized view while the server runs.
//!
//! | file | idea |
//! |---|---|
//! | [`handle`] | the outside: the rows as of the last published epoch, the subscribers, the figures |
//! | [`run`] | the inside: feed, runner, rows and progress; one thread has it at a time |
//! | `throughput` | how fast it reads when it goes on by itself |
//! | `portion` | how much of its input it takes in at a time |
//! | `retention` | which rows are behind the horizon of WITH (retention = …) |
//!
//! Nothing is applied to the rows or told to a subscriber before the commit that holds it is
//! durable.

pub mod handle;
mod portion;
mod retention;
pub mod run;
mod throughput;

pub use handle::{Phase, QueryFigures, Subscription, Update, ViewHandle};
