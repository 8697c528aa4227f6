//! From a view's stored definition to its plan and pipeline.

use std::sync::Arc;

use datafusion::execution::context::SessionState;

use super::registry::Engine;
use super::snapshot::Scope;
use super::versions::Overlay;
use crate::catalog::{Column, Emission, Relation};
use crate::error::{Error, Result};
use crate::plan::{CutOptions, Pipeline};
use crate::sql;
use crate::types::SqlType;

/// The pipeline of a materialized view or a sink, and the DataFusion state that its fragments run in.
pub async fn view_pipeline(
    engine: &Arc<Engine>,
    relation: &Relation,
) -> Result<(Pipeline, Arc<SessionState>)> {
    let Some(def) = relation.running() else {
        return Err(Error::internal(format!("nothing runs for {}", relation.name)));
    };
    let options = CutOptions {
        emission: def.emission,
        lateness_ms: def.lateness_ms,
        limit_ends: false,
        state: def.state,
    };
    let parsed = sql::parse_query(&def.query)?;
    let (mut pipeline, state, _) = continuous_pipeline(engine, &parsed.query, options).await?;
    pipeline.schema = relation.schema();
    Ok((pipeline, state))
}

/// The pipeline of a continuous query over the relations as they are now, and the ids of the
/// relations it names.
pub async fn continuous_pipeline(
    engine: &Arc<Engine>,
    query: &sql::Query,
    options: CutOptions,
) -> Result<(Pipeline, Arc<SessionState>, Vec<crate::catalog::RelationId>)> {
    let scope = Scope::new(Arc::clone(engine), engine.snapshot(), Overlay::default(), None);
    let state = engine.planner.continuous_state(Arc::new(scope.clone()));
    let plan = engine.planner.logical(&state, query).await?;
    let pipeline = engine.planner.pipeline(&state, &plan, options)?;
    Ok((pipeline, Arc::new(state), scope.used()))
}

/// The emission that a query asks for; `default` where it says nothing.
pub fn emission(emit: Option<sql::Emit>, default: Emission) -> Emission {
    match emit {
        Some(sql::Emit::OnWindowClose) => Emission::OnClose,
        Some(sql::Emit::Changes) => Emission::OnChange,
        None => default,
    }
}

/// The columns that a query's result has as a relation; `names` are the ones given in CREATE VIEW v
/// (a, b).
pub fn columns_of(schema: &arrow::datatypes::Schema, names: &[String]) -> Result<Vec<Column>> {
    use crate::error::SqlState;
    if names.len() > schema.fields().len() {
        return Err(Error::new(SqlState::Syntax, "more column names than columns"));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        let name = names.get(at).unwrap_or(field.name()).clone();
        if columns.iter().any(|known| known.name == name) {
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            )
            .hint("Give one of them another name with AS."));
        }
        let sql_type = match SqlType::from_field(field) {
            SqlType::Unknown => {
                return Err(Error::new(
                    SqlState::IndeterminateType,
                    format!("column \"{name}\" has no type"),
                )
                .hint("Cast it, for example NULL::text."));
            }
            known => known,
        };
        columns.push(Column::new(name, sql_type));
    }
    Ok(columns)
}
