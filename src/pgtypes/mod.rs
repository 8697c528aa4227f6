//! Postgres's values: their text and binary formats, COPY, and the numbers of their types.
//!
//! | file | idea |
//! |---|---|
//! | [`values`] | one value in and out, as text and in binary |
//! | [`copy`] | whole COPY streams in text, csv and binary |
//! | `oids` | oids, lengths and type modifiers of [`crate::types::SqlType`] |
//!
//! All of it is pure: bytes in, Arrow out, no clock and no I/O. It imports Arrow and
//! [`crate::types`] alone, so it could be a crate of its own.

pub mod copy;
mod oids;
pub mod values;
