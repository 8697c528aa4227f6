//! Reading: a query once, continuously, or as a subscription, and the ways its rows leave.
//!
//! | file | idea |
//! |---|---|
//! | [`query`] | a snapshot: plan, run, hand out |
//! | `continuous` | SELECT … EMIT until it ends |
//! | `subscribe` | SUBSCRIBE: contents, then changes |
//! | `cursor` | DECLARE, FETCH, CLOSE |
//! | [`copy_out`] | COPY … TO STDOUT |
//! | [`rows`] | batches in the columns that were announced |

pub(crate) mod continuous;
pub mod copy_out;
pub(crate) mod cursor;
pub mod query;
pub mod rows;
pub(crate) mod subscribe;
