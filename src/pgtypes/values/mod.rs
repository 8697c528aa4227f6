//! Values as Postgres writes and reads them: text and binary.
//!
//! [`Encoder`] writes one column's values; [`ColumnBuilder`] reads values into an Arrow array. Both
//! resolve the type once, so that the work per value is the value. [`parse_text`] and
//! [`parse_binary`] read single parameters.

#[cfg(test)]
mod against_postgres;
mod build;
mod bytes_in;
mod datetime_in;
mod datetime_words;
mod encode;
mod interval_in;
mod json_column;
mod json_in;
mod json_scan;
mod nested_in;
mod nested_out;
mod number_in;
mod numeric;
mod row;
mod scalar_in;
mod scalar_out;
#[cfg(test)]
mod tests;

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::types::{SqlType, Zone};

pub use build::ColumnBuilder;
pub use encode::Encoder;
pub use interval_in::parse_interval;
pub(crate) use json_column::named;
pub(crate) use json_scan::{JsonFault, JsonScanner};
pub use row::{normal_json, row_as_json, value_as_json};

/// How values are written as text: the settings that change it.
#[derive(Debug, Clone)]
pub struct TextStyle {
    /// TIMESTAMPTZ is shown in this zone, named as [`Zone::of_setting`] takes it.
    pub time_zone: String,
    /// BYTEA is written this way.
    pub bytea_output: ByteaOutput,
}

impl TextStyle {
    /// The default style in a time zone.
    pub fn in_zone(time_zone: impl Into<String>) -> Self {
        TextStyle { time_zone: time_zone.into(), ..Self::default() }
    }

    fn zone(&self) -> Zone {
        // Whoever sets the variable checks it with `of_setting`; a value no one checked is shown in
        // UTC.
        Zone::of_setting(&self.time_zone).unwrap_or(Zone::Utc)
    }
}

impl Default for TextStyle {
    fn default() -> Self {
        TextStyle { time_zone: "UTC".to_owned(), bytea_output: ByteaOutput::Hex }
    }
}

/// The setting `bytea_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteaOutput {
    /// `\x6869`.
    #[default]
    Hex,
    /// `hi`, with octal escapes for what is not printable.
    Escape,
}

/// A parameter given as text, as an array of one row; a TIMESTAMPTZ without a zone is in UTC.
pub fn parse_text(sql_type: &SqlType, text: &str) -> Result<ArrayRef> {
    parse_text_in(sql_type, text, &Zone::Utc)
}

/// A parameter given as text, as an array of one row; a TIMESTAMPTZ without a zone is in `zone`.
pub fn parse_text_in(sql_type: &SqlType, text: &str, zone: &Zone) -> Result<ArrayRef> {
    let mut column = ColumnBuilder::new(sql_type, 1).in_zone(*zone);
    column.append_text(text.as_bytes())?;
    Ok(column.finish())
}

/// A parameter given in the binary format, as an array of one row.
pub fn parse_binary(sql_type: &SqlType, value: &[u8]) -> Result<ArrayRef> {
    let mut column = ColumnBuilder::new(sql_type, 1);
    column.append_binary(value)?;
    Ok(column.finish())
}
