//! COPY: many rows as one stream of bytes, in Postgres's text, csv and binary formats.

mod options;

pub use options::{CopyFormat, CopyHeader, CopyOptions, ForceColumns};
