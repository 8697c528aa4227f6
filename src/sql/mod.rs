//! The language: text in, [`Statement`] out. The only room that parses.
mod statement;
pub use statement::*;
