//! Feeders: what comes from outside and cannot be read again.
//!
//! ```text
//!  bytes ─▶ records, by their format ─▶ FedRows ─▶ (session) DEFAULT, computed columns ─▶ log
//!                    └─ malformed ─▶ rejected
//! ```
//! Whoever sends does not keep what it has sent. So a stream with such a connector is an embedded log
//! that is written to from outside: what has been acknowledged is in it, and it is read like any other.
//! Here is what the WITH options say, and how bytes become columns; who writes them is
//! [`crate::session`].

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::Field;

use super::decode::{CSV_OPTIONS, CsvHeader, CsvStyle, RawRecords, RecordFormat, csv_style};
use super::options::{ConnectorOptions, bad};
use super::{EventTimes, Rejected};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

mod arrow_stream;
mod body;
mod media_type;
mod records;

pub use body::{FedBody, FedPart, too_large, unpacked};
pub use media_type::MediaType;
pub use records::FedRecords;

/// The connectors that feed a log.
pub const FEEDERS: [&str; 2] = ["http", "socket"];

/// Whether a connector of this name feeds a log.
pub fn is_feeder(connector: &str) -> bool {
    FEEDERS.contains(&connector)
}

/// A column that is not computed.
#[derive(Debug, Clone)]
pub struct FedColumn {
    /// Its name and type, and whether it may be NULL.
    pub field: Field,
    /// What a record does not say of it is its DEFAULT.
    pub has_default: bool,
}

/// From where a stream is fed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeederVia {
    /// Posts to the HTTP side.
    Http,
    /// Lines of a socket that is connected to.
    Socket {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// How a stream is fed, as its options say.
#[derive(Debug, Clone)]
pub struct Feeder {
    columns: Vec<FedColumn>,
    format: RecordFormat,
    csv: (CsvStyle, CsvHeader),
    /// The event time, if it is among the columns.
    times: Option<EventTimes>,
    /// From where.
    pub via: FeederVia,
    /// A malformed record refuses all that comes with it.
    pub fails: bool,
}

/// Records as columns: those that are not computed, in order.
#[derive(Debug)]
pub struct FedRows {
    /// The good records.
    pub batch: RecordBatch,
    /// For each column with a DEFAULT which of them say nothing of it.
    pub missing: Vec<Option<BooleanArray>>,
    /// The records that could not be read.
    pub rejected: Vec<Rejected>,
    /// The number of each good record among all.
    pub numbers: Vec<u64>,
    /// The bytes of the good records.
    raw: RawRecords,
}

impl FedRows {
    /// The bytes of a good record, for whoever rejects it still.
    pub fn raw(&self, row: usize) -> Vec<u8> {
        self.raw.get(row).unwrap_or_default().to_vec()
    }
}

impl Feeder {
    /// What the options of a stream with these columns say; those that any stream has must not be
    /// among them.
    pub fn open(
        options: &[(String, String)],
        columns: Vec<FedColumn>,
        times: Option<EventTimes>,
    ) -> Result<Feeder> {
        let options = ConnectorOptions::new(options)?;
        let connector = options.connector()?;
        let mut known = vec![RecordFormat::Json, RecordFormat::Csv, RecordFormat::Text];
        let mut names = vec!["format", "on_error"];
        names.extend(CSV_OPTIONS);
        let (via, usual, on_error) = if connector == "socket" {
            names.splice(0..0, ["host", "port"]);
            options.only(connector, &names)?;
            (socket(&options)?, "text", ["reject"].as_slice())
        } else {
            options.only(connector, &names)?;
            known.push(RecordFormat::Arrow);
            (FeederVia::Http, "json", ["reject", "fail"].as_slice())
        };
        let format = RecordFormat::of(options.get("format").unwrap_or(usual), connector, &known)?;
        let csv = csv_style(&options)?;
        if via != FeederVia::Http && format != RecordFormat::Csv {
            options.only_csv(&CSV_OPTIONS)?;
        }
        let fails = options.word("on_error", on_error)? == "fail";
        let feeder = Feeder { columns, format, csv, times, via, fails };
        if format == RecordFormat::Text {
            feeder.text_column()?;
        }
        Ok(feeder)
    }

    /// The column that a line of text is the value of.
    fn text_column(&self) -> Result<usize> {
        let needed = self.columns.iter().enumerate().filter(|(_, column)| !column.has_default);
        let is_text = |field: &Field| {
            matches!(SqlType::from_field(field), SqlType::Text | SqlType::Varchar(_))
        };
        match needed.collect::<Vec<_>>().as_slice() {
            [(at, column)] if is_text(&column.field) => Ok(*at),
            _ => Err(Error::new(
                SqlState::InvalidTableDefinition,
                "format 'text' is for a stream of one TEXT column",
            )
            .hint(
                "Columns that are computed from it, or that have a DEFAULT, may be there besides.",
            )),
        }
    }
}

fn socket(options: &ConnectorOptions<'_>) -> Result<FeederVia> {
    let host = options.required("host")?.to_owned();
    options.required("port")?;
    let port = options.number("port", 1)?.and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| bad("option \"port\" is at most 65535".to_owned()))?;
    Ok(FeederVia::Socket { host, port })
}

/// Why all records are refused that came with this one.
pub fn refused_by(record: &Rejected) -> Error {
    let raw: String = String::from_utf8_lossy(&record.raw).chars().take(200).collect();
    Error::new(SqlState::BadText, format!("record {}: {}", record.offset, record.error))
        .detail(raw)
        .hint("With on_error = 'reject' such records are kept aside and the others taken.")
}

#[cfg(test)]
mod tests;
