//! Functions that do something, called as `SELECT f(…)` on its own: `advance_watermark`, `pg_sleep`
//! and, in tests, `advance_clock`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr};

use super::client_session::Outcome;
use super::params::{arguments, function_name, text_of};
use super::read::rows::{counted, text_batch, text_schema};
use super::session::Session;
use super::settings::interval_ms;
use crate::catalog::{Kind, Relation, SCHEMA, StreamDef, WatermarkSpec};
use crate::error::{Error, Result, SqlState};
use crate::exec::Engine;
use crate::log::StreamId;
use crate::pgtypes::values::{Encoder, parse_text_in};
use crate::sql::{self, ContinuousQuery};
use crate::time::Watermark;
use crate::types::{SqlType, Zone};

/// A call on its own.
pub struct FunctionCall {
    function: EffectFunction,
    arguments: Vec<Expr>,
    /// The result's column.
    column: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EffectFunction {
    AdvanceClock,
    AdvanceWatermark,
    PgSleep,
}

/// Whether a function of that name does something.
pub fn is_function(name: &str) -> bool {
    ["advance_clock", "advance_watermark", "pg_sleep"].contains(&name)
}

/// The call that a query is, if it is one.
pub fn find(query: &ContinuousQuery) -> Result<Option<FunctionCall>> {
    let SetExpr::Select(select) = query.query.body.as_ref() else {
        return Ok(None);
    };
    let (expr, alias) = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr)] => (expr, None),
        [SelectItem::ExprWithAlias { expr, alias }] => (expr, Some(alias)),
        _ => return Ok(None),
    };
    let Expr::Function(call) = expr else {
        return Ok(None);
    };
    let Some(name) = function_name(call) else {
        return Ok(None);
    };
    let function = match name.as_str() {
        "advance_clock" => EffectFunction::AdvanceClock,
        "advance_watermark" => EffectFunction::AdvanceWatermark,
        "pg_sleep" => EffectFunction::PgSleep,
        _ => return Ok(None),
    };
    let given = arguments(call).map(|given| given.into_iter().cloned().collect::<Vec<_>>());
    let wanted = match function {
        EffectFunction::AdvanceWatermark => 2,
        EffectFunction::AdvanceClock | EffectFunction::PgSleep => 1,
    };
    match given {
        Some(arguments) if arguments.len() == wanted && select.from.is_empty() => {
            let column = alias.map_or(name, sql::ident_name);
            Ok(Some(FunctionCall { function, arguments, column }))
        }
        Some(arguments) if arguments.len() != wanted => Err(Error::new(
            SqlState::UndefinedFunction,
            format!("function {name} with {} arguments does not exist", arguments.len()),
        )),
        _ => Err(Error::unsupported(format!("{name}() must stand alone"))
            .hint(format!("Write SELECT {name}(…)."))),
    }
}

/// The columns of its result, as far as they are known before it runs.
pub fn schema(session: &Session, call: &FunctionCall) -> Result<SchemaRef> {
    match call.function {
        EffectFunction::AdvanceWatermark => {
            let (relation, watermark) = stream(session, call)?;
            let sql_type = &relation.columns[watermark.column].sql_type;
            Ok(Arc::new(Schema::new(vec![sql_type.to_field(&call.column, true)])))
        }
        EffectFunction::AdvanceClock | EffectFunction::PgSleep => Ok(text_schema(&[&call.column])),
    }
}

/// Does what the call says.
pub async fn run(session: &mut Session, call: FunctionCall, text: &Arc<str>) -> Result<Outcome> {
    let schema = schema(session, &call)?;
    let batch = match call.function {
        EffectFunction::AdvanceClock => advance_clock(session, &call, &schema, text).await?,
        EffectFunction::AdvanceWatermark => {
            session.check_writable("advance_watermark()")?;
            advance(session, &call, &schema, text).await?
        }
        EffectFunction::PgSleep => {
            let seconds = value_text(session, &call.arguments[0], text).await?;
            let seconds: f64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(0.0);
            let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
            session.engine.clock().sleep(time).await;
            text_batch(&schema, &[vec![Some(String::new())]])?
        }
    };
    Ok(counted("SELECT", schema, vec![batch]))
}

/// The value of a constant expression as text.
async fn value_text(session: &Session, expr: &Expr, text: &Arc<str>) -> Result<Option<String>> {
    if let Some(text) = text_of(expr) {
        return Ok(Some(text));
    }
    let query = sql::parse_query(&format!("SELECT {expr}"))?;
    let (schema, batches) = session.reads(text).await.collect(&query.query).await?;
    let Some(batch) = batches.first().filter(|batch| batch.num_rows() > 0) else {
        return Ok(None);
    };
    let (encoder, value) = (Encoder::new(schema.field(0)), batch.column(0));
    if encoder.is_null(value.as_ref(), 0) {
        return Ok(None);
    }
    let mut bytes = bytes::BytesMut::new();
    encoder.text(value.as_ref(), 0, &session.settings.style(), &mut bytes);
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The relation that a text names, as it is or as SQL reads it.
pub(super) fn relation_named(engine: &Engine, name: &str) -> Result<Arc<Relation>> {
    let names = engine.catalog.names();
    if let Some(found) = names.find(SCHEMA, name) {
        return Ok(Arc::clone(found));
    }
    let parsed = sql::parse(&format!("DESCRIBE {name}")).ok();
    let named = parsed.and_then(|mut parsed| match parsed.pop()?.statement {
        sql::Statement::Describe(name) => sql::relation_name(&name).ok(),
        _ => None,
    });
    match named {
        Some(named) => named.get(&names).cloned(),
        None => Err(names.missing(SCHEMA, name)),
    }
}

/// The stream whose watermark is to move.
fn stream(session: &Session, call: &FunctionCall) -> Result<(Arc<Relation>, WatermarkSpec)> {
    let name = text_of(&call.arguments[0]).ok_or_else(|| {
        Error::unsupported("advance_watermark() takes the stream's name as a constant")
            .hint("Write SELECT advance_watermark('stream', TIMESTAMP '…').")
    })?;
    let relation = relation_named(&session.engine, &name)?;
    let Kind::Stream(StreamDef { watermark, connector, .. }) = &relation.kind else {
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("\"{}\" is not a stream", relation.name),
        ));
    };
    if connector.is_some() {
        return Err(Error::unsupported(
            "the watermark of a stream with a connector follows its rows",
        )
        .hint("Only streams that are written with INSERT and COPY can be advanced by hand."));
    }
    match watermark.clone() {
        Some(watermark) => Ok((relation, watermark)),
        None => Err(Error::new(
            SqlState::NotInState,
            format!("stream \"{}\" has no watermark", relation.name),
        )
        .hint("Declare one: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.")),
    }
}

async fn advance(
    session: &mut Session,
    call: &FunctionCall,
    schema: &SchemaRef,
    text: &Arc<str>,
) -> Result<RecordBatch> {
    let (relation, watermark) = stream(session, call)?;
    let column = &relation.columns[watermark.column];
    let value = value_text(session, &call.arguments[1], text)
        .await?
        .ok_or_else(|| Error::new(SqlState::BadArgument, "the new watermark must not be NULL"))?;
    let zone = Zone::of_setting(&session.settings.style().time_zone)?;
    let wanted = Watermark(ticks(&column.sql_type, &value, &zone)?);
    let now = session.engine.journal.stats(StreamId(relation.id.0))?.watermark;
    session.begin_statement();
    session.transaction.lock().await.advance(&relation, wanted);
    session.end_statement().await?;
    let reached =
        session.engine.journal.stats(StreamId(relation.id.0))?.watermark.max(wanted).max(now);
    let ticks: ArrayRef = Arc::new(Int64Array::from(vec![reached.0]));
    let shown = cast(&ticks, schema.field(0).data_type())?;
    Ok(RecordBatch::try_new(Arc::clone(schema), vec![shown])?)
}

/// Lets time pass on a clock that only a test moves; everything that waits for a moment until then
/// happens at that moment.
async fn advance_clock(
    session: &mut Session,
    call: &FunctionCall,
    schema: &SchemaRef,
    text: &Arc<str>,
) -> Result<RecordBatch> {
    if !session.engine.clock().is_simulated() {
        return Err(Error::unsupported(
            "advance_clock() moves the clock of `tidemill test`; a server has the wall clock",
        )
        .hint("Use pg_sleep() to wait, advance_watermark() to close windows."));
    }
    let given = value_text(session, &call.arguments[0], text).await?;
    let ms = given.and_then(|text| interval_ms(&text).ok()).and_then(|ms| u64::try_from(ms).ok());
    let ms = ms.ok_or_else(|| {
        Error::new(
            SqlState::BadArgument,
            "advance_clock() takes a time that passes, such as '10 s'",
        )
    })?;
    session.engine.clock().sleep(Duration::from_millis(ms)).await;
    session.engine.clock().settled().await;
    text_batch(schema, &[vec![Some(String::new())]])
}

/// A time in the ticks of a column of that type.
fn ticks(sql_type: &SqlType, text: &str, zone: &Zone) -> Result<i64> {
    let value = parse_text_in(sql_type, text, zone)?;
    let ticks = cast(&value, &DataType::Int64)?;
    let ticks = ticks.as_any().downcast_ref::<Int64Array>().map(|ticks| ticks.value(0));
    ticks.ok_or_else(|| Error::internal("a watermark that is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_with_and_without_an_alias() {
        let check = |sql: &str, column: &str| {
            let call = find(&sql::parse_query(sql).unwrap()).unwrap().unwrap();
            assert_eq!(call.column, column);
        };
        check("SELECT advance_watermark('s', 'infinity')", "advance_watermark");
        check("SELECT pg_sleep(1) AS x", "x");
        assert!(find(&sql::parse_query("SELECT pg_sleep(1, 2)").unwrap()).is_err());
        assert!(find(&sql::parse_query("SELECT a FROM b").unwrap()).unwrap().is_none());
    }
}
