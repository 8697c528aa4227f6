//! SESSION over event time as an operator: its sessions close by the watermark.

use datafusion::logical_expr::{Expr, ExprSchemable};

use super::closing::{decide, event_time, time_unit};
use super::keys::{can_be_key, with_keys};
use super::pipeline::{Frontier, Stateful};
use super::session::SessionNode;
use super::stage::{ClosedWindows, CutOptions, Edge, EventTimeColumn, Open};
use crate::catalog::Emission;
use crate::error::{Error, Result};
use crate::operators::lateness::LatenessRule;
use crate::operators::{SessionSpec, Trigger};
use crate::time::{WindowSpec, ticks_per_second};

/// Whether sessions of these rows close: they are over event time, and the rows stay.
pub(super) fn close(session: &SessionNode, part: &Open) -> Result<bool> {
    let Some(time) = event_time(part, &session.time, &part.plan) else { return Ok(false) };
    let tick = 1_000_000_000 / ticks_per_second(time_unit(&part.input, time.column)?);
    for key in &session.keys {
        if !can_be_key(&key.get_type(session.input.schema())?) {
            return Ok(false);
        }
    }
    Ok(!part.edge.retracts && session.gap % tick == 0)
}

/// Puts sessions that close on the rows of a part.
pub(super) fn plan(options: CutOptions, session: &SessionNode, mut part: Open) -> Result<Open> {
    let time = event_time(&part, &session.time, &part.plan);
    let time = time.ok_or_else(|| Error::internal("sessions that do not close"))?;
    let unit = time_unit(&part.input, time.column)?;
    let lateness = lateness(options, &mut part, &time)?;
    let Expr::Column(column) = &session.time else {
        return Err(Error::internal("a session over an expression"));
    };
    let width = part.plan.schema().fields().len();
    let mut spec = SessionSpec {
        time: part.plan.schema().index_of_column(column)?,
        width,
        gap: session.gap / (1_000_000_000 / ticks_per_second(unit)),
        trigger: Trigger::OnChange,
        lateness,
    };
    let mut edge = Edge::of(true);
    if options.emission == Emission::OnClose {
        spec.trigger = Trigger::OnClose;
        // Sessions are no windows of the clock, but those of one end have come together: as if they
        // were the shortest of these. Where they begin is a column like any.
        let columns = [None, Some(width + 1), None];
        edge = Edge::of_closed(ClosedWindows { spec: WindowSpec::tumble(1), columns });
        let time = EventTimeColumn { column: width + 2, of: Vec::new(), behind: 0 };
        edge.event_time.push(time);
    }
    let top = with_keys(part.plan.clone(), &session.keys)?;
    let operator = (Stateful::Session { spec }, Frontier::Closed);
    part.with_step(top, operator, session.schema(), edge)
}

/// How far behind the watermark sessions stay open, in ticks. Over a source the operator is told how
/// far the writes before each row had come, and decides which are late; over several none may be
/// behind its own stream.
fn lateness(options: CutOptions, part: &mut Open, time: &EventTimeColumn) -> Result<i64> {
    match time.of.as_slice() {
        [(source, column)] if part.on_source().is_some() => {
            let allowed = options.lateness(time_unit(&part.input, time.column)?);
            let rule = LatenessRule { time: *column, windows: None, allowed };
            part.late_by(*source, rule);
            Ok(allowed)
        }
        _ => decide(options, part, time, WindowSpec::tumble(1)),
    }
}
