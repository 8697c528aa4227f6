//! EXPLAIN WATERMARK: how far the event time has come of each stream that a relation is made of, which
//! of them holds a view back, and when its next window closes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast::ObjectName;

use super::show;
use crate::catalog::{Kind, Names, Relation, RelationId, StreamDef};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::log::{CommitNo, StreamId};
use crate::pgtypes::values::{Encoder, TextStyle};
use crate::time::{Watermark, micros_of_ticks};
use crate::types::SqlType;

/// How far a stream has come.
struct StreamTime {
    relation: Arc<Relation>,
    sql_type: SqlType,
    last_event: Option<i64>,
    watermark: Watermark,
    /// What is known of its last rows.
    heard: String,
    /// It can be advanced by hand.
    is_log: bool,
}

/// The answer in lines. `own`: the last commit of who asks.
pub(super) async fn watermark(
    engine: &Engine,
    own: CommitNo,
    name: &ObjectName,
    style: &TextStyle,
) -> Result<Vec<String>> {
    let relation = show::find(engine, name)?;
    engine.sync_figures(own).await?;
    let mut streams = BTreeMap::new();
    timed(&engine.catalog.names(), &relation, &mut streams);
    let mut times = Vec::with_capacity(streams.len());
    for (_, (stream, sql_type)) in streams {
        times.push(time_of(engine, stream, sql_type)?);
    }
    let Some(least) = times.iter().min_by_key(|time| time.micros()) else {
        let what = format!("\"{}\" reads no stream with a watermark", relation.name);
        return Err(Error::new(SqlState::NotInState, what)
            .hint("Declare one on the stream: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'."));
    };
    let mut shown = times.iter().map(|time| time.text(style)).collect::<Result<Vec<_>>>()?;
    if relation.running().is_some() {
        shown.extend(of_view(engine, &relation, least, style)?);
    }
    Ok(shown)
}

/// What a view waits for.
fn of_view(
    engine: &Engine,
    view: &Relation,
    least: &StreamTime,
    style: &TextStyle,
) -> Result<Vec<String>> {
    let (figures, stream) = (engine.view(view.id)?.figures(), least.relation.shown_name());
    let mark = watermark_text(&least.sql_type, least.watermark, style)?;
    let mut shown =
        vec![format!("View {}: held back by {stream}, watermark {mark}", view.shown_name())];
    let Some(next) = figures.closes_next.filter(|_| least.watermark != Watermark::INFINITY) else {
        shown.push("No window is open.".to_owned());
        return Ok(shown);
    };
    let next = time_text(&SqlType::Timestamp(6), next, style)?;
    shown.push(format!(
        "The next window closes at the latest when the watermark of {stream} comes to {next}."
    ));
    if least.is_log {
        shown.push(format!(
            "Write newer rows to it, or SELECT advance_watermark('{stream}', 'infinity')."
        ));
    }
    Ok(shown)
}

/// The streams with a watermark that a relation is made of, by their names.
fn timed(
    names: &Names,
    relation: &Arc<Relation>,
    found: &mut BTreeMap<(String, RelationId), (Arc<Relation>, SqlType)>,
) {
    if let Kind::Stream(StreamDef { watermark: Some(time), .. }) = &relation.kind
        && let Some(column) = relation.columns.get(time.column)
    {
        let place = (relation.shown_name(), relation.id);
        found.insert(place, (Arc::clone(relation), column.sql_type.clone()));
    }
    for used in relation.depends_on.iter().filter_map(|id| names.by_id(*id)) {
        timed(names, used, found);
    }
}

fn time_of(engine: &Engine, relation: Arc<Relation>, sql_type: SqlType) -> Result<StreamTime> {
    let is_log = matches!(&relation.kind, Kind::Stream(stream) if stream.connector.is_none());
    if is_log {
        let stats = engine.journal.stats(StreamId(relation.id.0))?;
        let heard = stats.last_write_ms.map_or("never written".to_owned(), |at| {
            format!("last written {} ms ago", engine.now_ms().saturating_sub(at))
        });
        let last_event = stats.last_event_time.map(|time| time.0);
        let watermark = stats.watermark;
        return Ok(StreamTime { relation, sql_type, last_event, watermark, heard, is_log });
    }
    // What a connector has is known by whoever reads it.
    let known = engine.views().into_iter().flat_map(|view| view.source_progress());
    let known = known.filter(|(stream, _)| *stream == relation.id).map(|(_, read)| read);
    let read = known.max_by_key(|read| read.records);
    Ok(StreamTime {
        relation,
        sql_type,
        last_event: read.and_then(|read| read.last_event),
        watermark: read.map_or(Watermark::NONE, |read| read.watermark),
        heard: read.map_or("no view reads it".to_owned(), |read| {
            format!("{} records have been read", read.records)
        }),
        is_log,
    })
}

impl StreamTime {
    /// Its watermark, microseconds.
    fn micros(&self) -> i64 {
        let unit = match self.sql_type.data_type() {
            DataType::Timestamp(unit, _) => unit,
            _ => TimeUnit::Microsecond,
        };
        match self.watermark {
            Watermark::NONE | Watermark::INFINITY => self.watermark.0,
            Watermark(ticks) => micros_of_ticks(ticks, unit),
        }
    }

    fn text(&self, style: &TextStyle) -> Result<String> {
        let seen = match self.last_event {
            Some(at) => time_text(&self.sql_type, at, style)?,
            None => "none yet".to_owned(),
        };
        let mark = watermark_text(&self.sql_type, self.watermark, style)?;
        let (stream, heard) = (self.relation.shown_name(), &self.heard);
        Ok(format!("Stream {stream}: last event time {seen}, watermark {mark}, {heard}"))
    }
}

fn watermark_text(sql_type: &SqlType, mark: Watermark, style: &TextStyle) -> Result<String> {
    match mark {
        Watermark::NONE => Ok("none yet".to_owned()),
        Watermark::INFINITY => Ok("infinity".to_owned()),
        Watermark(ticks) => time_text(sql_type, ticks, style),
    }
}

/// A time of that type, as it is shown.
pub(super) fn time_text(sql_type: &SqlType, ticks: i64, style: &TextStyle) -> Result<String> {
    let field = sql_type.to_field("", true);
    let ticks: ArrayRef = Arc::new(Int64Array::from(vec![ticks]));
    let value = cast(&ticks, field.data_type())?;
    let mut bytes = bytes::BytesMut::new();
    Encoder::new(&field).text(value.as_ref(), 0, style, &mut bytes);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
