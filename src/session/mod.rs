//! A client's session: statements to actions.
mod conversation;
pub use conversation::*;
