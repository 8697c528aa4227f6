//! COPY: many rows as one stream of bytes, in Postgres's text, csv and binary formats.
//!
//! [`CopyDecoder`] takes bytes as they come, cut anywhere, and gives batches; [`CopyEncoder`] takes
//! batches and gives bytes. The decoder first finds where records end (`lines`), then takes a
//! record apart (`fields`); a field goes straight from the input's bytes into a
//! [`ColumnBuilder`](super::values::ColumnBuilder).

#[cfg(test)]
mod against_postgres;
mod binary;
mod decode;
mod encode;
mod fields;
mod lines;
mod options;
#[cfg(test)]
mod tests;

pub use decode::CopyDecoder;
pub use encode::CopyEncoder;
pub use options::{CopyFormat, CopyHeader, CopyOptions, ForceColumns};
