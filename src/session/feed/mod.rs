//! Streams that are written to from outside: what the connectors of [`crate::connect::feeder`] bring
//! becomes commits of the stream's log.
//!
//! | file | idea |
//! |---|---|
//! | `stream` | a stream that is fed: how its records are read, and what a row must be |
//! | `keys` | which posts have been taken already |
//! | `post` | one HTTP post: taken whole, refused whole, and acknowledged when it is durable |

mod keys;
mod post;
mod stream;

pub(super) use keys::forget_keys;
pub use post::{IncomingPost, PostHead, Posted, StreamPosts};
pub(super) use stream::feeder;
