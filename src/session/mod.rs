//! A client's session: statements to actions.
mod conversation;
pub mod system;
pub mod transaction;
pub mod write;
pub use conversation::*;
