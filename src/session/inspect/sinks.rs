//! `tidemill.sinks`: where the changes of queries go, and how far they have come there.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::super::transaction::SystemContext;
use crate::catalog::Kind;
use crate::error::Result;
use crate::session::pg_catalog::shape::{TableColumns, row};

/// One row a sink.
pub(super) fn sinks(cx: &SystemContext) -> Result<Arc<dyn TableProvider>> {
    let shape = TableColumns::new(
        "name:text connector:text query:text state:text epoch:int8 rows_out:int8 waiting_bytes:int8 \
         lag_epochs:int8 retries:int8 error:text",
    )?;
    let mut rows = Vec::new();
    for (relation, query) in cx.engine.answers() {
        let Kind::Sink(def) = &relation.kind else { continue };
        let sink = cx.engine.sink(relation.id)?;
        let (figures, waits) = (sink.figures(), sink.waiting_bytes());
        let given = query.published().version.epoch;
        let lag = if waits == 0 { 0 } else { given.saturating_sub(figures.epoch) };
        rows.push(row![
            relation.shown_name(),
            def.connector.name(),
            def.query.query.as_str(),
            query.phase().borrow().name(),
            figures.epoch,
            figures.rows,
            waits,
            lag,
            figures.retries,
            figures.error.map(|error| error.to_string()),
        ]);
    }
    shape.table(rows)
}
