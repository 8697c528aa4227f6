//! Streams that are written to from outside: what the connectors of [`crate::connect::feeder`] bring
//! becomes commits of the stream's log.
//!
//! | file | idea |
//! |---|---|
//! | `stream` | a stream that is fed: how its records are read, and what a row must be |
//! | `keys` | which posts have been taken already |
//! | `socket` | lines of a socket, written as they come |
//! | `sockets` | which sockets are followed now |
//! | `post` | one HTTP post: taken whole, refused whole, and acknowledged when it is durable |

mod keys;
mod post;
mod socket;
mod sockets;
mod stream;

pub(super) use keys::forget_keys;
pub use post::{IncomingPost, PostHead, Posted, StreamPosts};
pub use sockets::follow_sockets;
pub(super) use stream::feeder;
