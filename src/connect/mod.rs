//! Connectors: rows that live outside, read in place (sources), and changes that go there (sinks,
//! see [`Sink`]).
//!
//! A source is a log like any other (`crate::log`): reading it again from the same [`SourceOffset`]
//! gives the same rows in the same order, however many rows one asks for at a time. So an epoch
//! needs to store nothing but how far it has read. Nothing in here looks at a clock: what "now" is
//! comes in as an argument. What cannot be read again is a [`feeder`]: it writes a log.
//!
//! A record that does not parse never harms its neighbours. It comes back as [`Rejected`], with its
//! raw bytes and the reason, and whoever runs the source keeps it where the user can SELECT it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result, SqlState};
use crate::limits;

mod blackhole;
mod computed;
mod datagen;
mod decode;
mod encode;
pub mod feeder;
mod file;
mod generated;
mod nexmark;
mod options;
mod random;
mod sink;
mod stdout;
mod times;

pub use computed::ComputedColumn;
use options::ConnectorOptions;
pub use sink::{Publication, SINK_CONNECTORS, SINK_OPTIONS, Sink, SinkIdentity};

/// Options of every stream with a connector; they are not the connector's business and it passes
/// over them.
pub const STREAM_OPTIONS: [&str; 4] = ["connector", "idle_timeout", "idle_advance", "max_future"];

/// The connectors whose rows are read in place; there are [feeders](feeder::FEEDERS) besides.
pub const CONNECTORS: [&str; 3] = ["nexmark", "datagen", "file"];

/// How far a source has been read: opaque, durable, made by the source that reads it again. Empty:
/// the beginning.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceOffset(Vec<u8>);

impl SourceOffset {
    /// What was stored before with [`as_bytes`](Self::as_bytes).
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        SourceOffset(bytes)
    }

    /// What to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Before the first row.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for SourceOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_start() {
            f.write_str("start")
        } else {
            f.write_str(&String::from_utf8_lossy(&self.0))
        }
    }
}

impl fmt::Debug for SourceOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceOffset({self})")
    }
}

/// Something outside that rows can be read from, again and again.
pub trait Source: Send + Sync {
    /// The columns, as declared or as the connector implies them.
    fn schema(&self) -> SchemaRef;

    /// A reader that goes on from `from` and delivers the named columns of
    /// [`schema`](Self::schema), all if `None`. Which rows there are, and which are rejected, does
    /// not depend on the columns asked for.
    fn reader(
        &self,
        from: SourceOffset,
        columns: Option<&[usize]>,
    ) -> Result<Box<dyn SourceReader>>;

    /// The place that an offset stands for: two readers at equal places read the same from there
    /// on.
    fn place(&self, offset: &SourceOffset) -> Result<Vec<u8>> {
        Ok(offset.as_bytes().to_vec())
    }

    /// How many records there are before an offset, good and bad; 0 where nobody counts them.
    fn records(&self, _offset: &SourceOffset) -> u64 {
        0
    }
}

/// One pass over a source.
pub trait SourceReader: Send {
    /// At most `max_rows` records (good and rejected together) that are there now; empty when
    /// nothing new is there.
    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<SourceBatch>;

    /// Where to go on: after everything that has been returned so far.
    fn offset(&self) -> SourceOffset;

    /// From now on the bytes of good records are kept until the next read, for [`raw`](Self::raw).
    fn keep_raw(&mut self) {}

    /// The bytes of a row of the batch that was read last, if its record has any and they are kept.
    fn raw(&self, _row: usize) -> Option<&[u8]> {
        None
    }
}

/// What one call of [`SourceReader::read`] found. For lateness each row is a write of its own.
#[derive(Debug)]
pub struct SourceBatch {
    /// The good records, in order.
    pub batch: RecordBatch,
    /// The bad ones, and the good ones that have no event time.
    pub rejected: Vec<Rejected>,
    /// A bounded input has been read to its end: nothing more will ever come.
    pub ended: bool,
}

/// A record that is to be kept aside, where the user can look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its number among all records of the source, from 0.
    pub offset: u64,
    /// Its bytes, cut after [`RAW_BYTES`].
    pub raw: Vec<u8>,
    /// What is wrong with it.
    pub error: String,
    /// Whether it is a row nevertheless.
    pub why: Why,
}

/// Why a record is kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It could not be made into a row.
    Malformed,
    /// It is a row, but without an event time: it is in no window.
    Untimed,
}

/// What is said of a row whose time column is NULL.
pub fn without_time(column: &str) -> String {
    format!("no event time: column \"{column}\" is null, so the row is in no window")
}

/// The event times of a stream with a watermark.
#[derive(Debug, Clone, Copy)]
pub struct EventTimes {
    /// The time column.
    pub column: usize,
    /// Records further ahead of the clock than this are rejected.
    pub max_future_ms: Option<i64>,
}

/// How many bytes of a rejected record are kept.
pub const RAW_BYTES: usize = limits::KEPT_ROW_BYTES;

/// Opens the source that the WITH options describe.
///
/// `columns` are the declared stored columns (`nullable` false for NOT NULL; none declared: what
/// the connector implies), `files_root` is the directory that file connectors may not leave,
/// `created_at_ms` when the source was created, by the wall clock, `times` the stream's event time
/// if it has a watermark. `computed` are the columns that are not read but computed, in order;
/// `times` counts them.
pub fn open(
    options: &[(String, String)],
    columns: &[Field],
    computed: Vec<ComputedColumn>,
    files_root: &Path,
    created_at_ms: i64,
    times: Option<EventTimes>,
) -> Result<Arc<dyn Source>> {
    let options = ConnectorOptions::new(options)?;
    let (given_times, computed_times) = match times {
        Some(times) if computed.iter().any(|column| column.column == times.column) => {
            (None, Some(times))
        }
        Some(times) => {
            let before = computed.iter().filter(|column| column.column < times.column).count();
            (Some(EventTimes { column: times.column - before, ..times }), None)
        }
        None => (None, None),
    };
    // Of the records that are wrong, the first is the error: whoever sees them all says so.
    let fails = !computed.is_empty()
        && options.connector()? == "file"
        && options.get("on_error").is_some_and(|value| value.eq_ignore_ascii_case("fail"));
    let options = if fails { options.without("on_error") } else { options };
    let given: Arc<dyn Source> = match options.connector()? {
        "nexmark" => {
            Arc::new(nexmark::Nexmark::open(&options, columns, created_at_ms, given_times)?)
        }
        "datagen" => {
            Arc::new(datagen::Datagen::open(&options, columns, created_at_ms, given_times)?)
        }
        "file" => Arc::new(file::FileSource::open(&options, columns, files_root, given_times)?),
        other if takes_only(other) => return Err(gives_nothing(other)),
        other => return Err(not_built(other)),
    };
    if computed.is_empty() {
        return Ok(given);
    }
    if columns.is_empty() {
        let what = "a stream with a connector needs a column that is read from it";
        return Err(Error::new(SqlState::InvalidTableDefinition, what)
            .hint("Declare the columns that the computed ones are computed from."));
    }
    Ok(Arc::new(computed::Computed::new(given, computed, computed_times, fails)))
}

/// The columns that a connector brings along when CREATE SOURCE declares none; `None` when they
/// must be declared.
pub fn implied_columns(options: &[(String, String)]) -> Option<Vec<Field>> {
    let options = ConnectorOptions::new(options).ok()?;
    match options.connector().ok()? {
        "nexmark" => nexmark::implied_columns(&options).ok(),
        _ => None,
    }
}

/// Opens the sink that the WITH options describe, for rows of this schema. `files_root` is the
/// directory that file connectors may not leave.
pub fn open_sink(
    options: &[(String, String)],
    schema: &SchemaRef,
    files_root: &Path,
    identity: SinkIdentity,
) -> Result<Arc<dyn Sink>> {
    let options = ConnectorOptions::of_sink(options)?;
    Ok(match options.connector()? {
        "blackhole" => Arc::new(blackhole::Blackhole::open(&options)?),
        name @ ("stdout" | "print") => Arc::new(stdout::Stdout::open(name, &options, schema)?),
        "file" => Arc::new(file::FileSink::open(&options, schema, files_root, identity)?),
        other => {
            let what = format!("connector '{other}' is not supported in a sink");
            return Err(Error::unsupported(what)
                .hint(format!("There are: {}.", SINK_CONNECTORS.join(", "))));
        }
    })
}

/// Whether a connector only takes, and gives nothing: a stream with it is a sink for INSERT.
pub fn takes_only(connector: &str) -> bool {
    connector != "file" && SINK_CONNECTORS.contains(&connector)
}

fn gives_nothing(connector: &str) -> Error {
    let what = format!("nothing can be read of the connector '{connector}'");
    Error::new(SqlState::WrongObjectType, what).hint("It takes what INSERT INTO … SELECT gives it.")
}

fn not_built(connector: &str) -> Error {
    Error::unsupported(format!("connector '{connector}' is not supported")).hint(format!(
        "There are: {}, {}.",
        CONNECTORS.join(", "),
        feeder::FEEDERS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &[(&str, &str)]) -> Error {
        let options: Vec<_> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        match open(&options, &[], Vec::new(), Path::new("."), 0, None) {
            Ok(_) => panic!("{options:?} should be refused"),
            Err(error) => error,
        }
    }

    #[test]
    fn what_cannot_be_opened_is_refused_with_what_could_be_written_instead() {
        let check = |options: &[(&str, &str)], state, hint: &str| {
            let error = refused(options);
            assert_eq!(error.state(), state, "{options:?}: {error}");
            let text = format!("{error} {}", error.hint_text().unwrap_or(""));
            assert!(text.contains(hint), "{options:?}: {text}");
        };
        check(&[("connector", "kafka")], SqlState::NotSupported, "nexmark, datagen, file");
        check(&[], SqlState::BadArgument, "connector");
        let nexmark = ("connector", "nexmark");
        check(&[nexmark, ("table", "bid")], SqlState::BadArgument, "events");
        check(&[nexmark, ("rate", "5"), ("next-event.rate", "5")], SqlState::BadArgument, "one of");
        check(
            &[nexmark, ("first-event.rate", "5"), ("next-event.rate", "6")],
            SqlState::NotSupported,
            "one rate",
        );
        check(
            &[nexmark, ("events", "5"), ("bid.proportion", "40")],
            SqlState::NotSupported,
            "46 are bids",
        );
        check(
            &[nexmark, ("events", "5"), ("nexmark.split.num", "many")],
            SqlState::BadArgument,
            "whole number",
        );
        check(
            &[nexmark, ("table", "cat"), ("events", "5")],
            SqlState::BadArgument,
            "person, auction, bid",
        );
        check(&[nexmark, ("table", "bid"), ("events", "-1")], SqlState::BadArgument, "events");
        check(&[nexmark, ("table", "bid"), ("evnts", "5")], SqlState::BadArgument, "events");
        check(&[("connector", "file"), ("format", "csv")], SqlState::BadArgument, "path");
        check(
            &[("connector", "file"), ("path", "a"), ("format", "avro")],
            SqlState::NotSupported,
            "csv, json",
        );
    }
}
