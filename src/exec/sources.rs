//! What queries read: connectors, opened once for all, and feeds over streams and views.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use super::feed::{Feed, Feeds};
use super::position::{FeedPosition, Start};
use super::registry::Engine;
use super::view::handle::Phase;
use crate::catalog::{Column, Kind, Relation, StreamDef};
use crate::connect::{self, ComputedColumn, EventTimes, Source};
use crate::error::{Error, Result};
use crate::plan::relations::NoRelations;
use crate::plan::{Pipeline, RowExpr, SourceScan};
use crate::sql;

impl Engine {
    /// A stream's connector; None for an embedded log.
    pub fn source(&self, relation: &Relation) -> Result<Option<Arc<dyn Source>>> {
        let Kind::Stream(stream) = &relation.kind else {
            return Ok(None);
        };
        let Some(connector) = &stream.connector else {
            return Ok(None);
        };
        if let Some(source) = self.sources.read().get(&relation.id) {
            return Ok(Some(Arc::clone(source)));
        }
        let source = self.open_source(relation, &connector.options)?;
        self.sources.write().insert(relation.id, Arc::clone(&source));
        Ok(Some(source))
    }

    /// Opens the connector of a stream.
    pub fn open_source(
        &self,
        relation: &Relation,
        options: &[(String, String)],
    ) -> Result<Arc<dyn Source>> {
        let given = relation.columns.iter().filter(|column| column.generated.is_none());
        let fields: Vec<_> = given.map(Column::field).collect();
        let computed = self.computed_columns(relation, &fields)?;
        let times = match &relation.kind {
            Kind::Stream(StreamDef { watermark: Some(time), max_future_ms, .. }) => {
                Some(EventTimes { column: time.column, max_future_ms: *max_future_ms })
            }
            Kind::Stream(_)
            | Kind::Table(_)
            | Kind::View { .. }
            | Kind::MaterializedView(_)
            | Kind::Sink(_) => None,
        };
        connect::open(options, &fields, computed, &self.options.files, relation.created_ms, times)
    }

    /// The computed columns of a stream with a connector. Whoever reads it again must find the same
    /// rows.
    fn computed_columns(
        &self,
        relation: &Relation,
        given: &[Field],
    ) -> Result<Vec<ComputedColumn>> {
        let schema =
            Schema::new(given.iter().map(|f| f.clone().with_nullable(true)).collect::<Vec<_>>());
        let names = self.catalog.names();
        let state = self.planner.snapshot_state(Arc::new(NoRelations::with_routines_of(names)));
        let mut computed = Vec::new();
        for (at, column) in relation.columns.iter().enumerate() {
            let Some(text) = &column.generated else { continue };
            let of = |text: &str| RowExpr::new(&state, sql::parse_expr(text)?, &schema);
            let cast = format!("CAST(({text}) AS {})", column.sql_type.in_cast());
            // The type of an expression may have more digits than can be declared.
            let value = match of(&cast)? {
                value if *value.field.data_type() == column.sql_type.data_type() => value,
                _ => of(text)?,
            };
            if !value.is_immutable {
                return Err(Error::unsupported(format!(
                    "column \"{}\" would have another value each time the connector is read",
                    column.name
                ))
                .hint("Compute it in a query over the stream."));
            }
            let expr = value.of_type(&column.sql_type.data_type(), &schema)?;
            computed.push(ComputedColumn { column: at, field: column.field(), expr });
        }
        Ok(computed)
    }

    /// Where a query begins that wants only what comes from now on.
    pub(super) fn latest(&self) -> Start {
        Start::Latest { after: self.journal.last(), now_ms: self.now_ms() }
    }

    /// Opens the sources of a query, each at its position; None: where `start` says.
    pub(super) async fn feeds<'a>(
        &self,
        pipeline: &Pipeline,
        from: impl Fn(usize) -> Option<&'a FeedPosition>,
        start: Start,
    ) -> Result<Feeds> {
        let mut feeds = Vec::with_capacity(pipeline.sources.len());
        for (at, source) in pipeline.sources.iter().enumerate() {
            feeds.push(self.feed(&source.scan, from(at), start).await?);
        }
        Ok(Feeds(feeds))
    }

    /// Opens a source of a query.
    async fn feed(
        &self,
        scan: &SourceScan,
        from: Option<&FeedPosition>,
        start: Start,
    ) -> Result<Feed> {
        if matches!(scan.relation.kind, Kind::Table(_)) {
            return Feed::of_table(scan, &self.table(scan.relation.id)?, from);
        }
        if !matches!(scan.relation.kind, Kind::MaterializedView(_)) {
            let source = self.source(&scan.relation)?;
            return Feed::open(scan, &self.journal, source.as_ref(), from, start);
        }
        let view = self.view(scan.relation.id)?;
        let mut phase = view.phase();
        let caught_up = phase.wait_for(|phase| *phase != Phase::CatchingUp).await;
        if let Ok(Phase::Failed(failure)) = caught_up {
            let error = failure.error(&scan.relation.name);
            // What reads it is not there for now either, and no longer than it.
            return Err(if failure.for_now {
                Error::new(failure.state, error.message())
            } else {
                error
            });
        }
        Feed::of_view(scan, self.store(), &view, from, start != Start::Earliest)
    }
}
