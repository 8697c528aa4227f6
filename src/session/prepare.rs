//! What a statement takes and gives, before it runs: the types of its parameters and the columns of
//! its result.
//!
//! A parameter's type is what the client said; else where it stands tells (`$1::int`, `VALUES
//! ($1)`, `a = $1`); else it is text.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{Expr, Query};

use super::cached_plan::{self, CachedPlan};
use super::calls;
use super::client_session::Prepared;
use super::inspect::show;
use super::params;
use super::read::continuous::{self, AtLimit};
use super::read::query::{ReadContext, named_in_change, on_cpu};
use super::read::rows::text_schema;
use super::read::subscribe;
use super::session::{ParsedStatement, Session};
use super::transaction::Described;
use super::write;
use super::write::PlainInsert;
use crate::error::{Error, Result, SqlState};
use crate::sql::{self, ContinuousQuery, Explain, Parsed, Statement};
use crate::types::SqlType;

/// Parses and plans one statement.
pub async fn prepare(
    session: &mut Session,
    sql: &str,
    hints: &[Option<SqlType>],
) -> Result<Prepared> {
    let mut parsed = session.engine.planning.read(sql.to_owned(), sql::parse).await?;
    let Some(Parsed { statement, text, params }) = parsed.pop() else {
        return Ok(Prepared {
            params: Vec::new(),
            columns: None,
            is_empty: true,
            inner: Arc::new(()),
        });
    };
    if !parsed.is_empty() {
        return Err(Error::new(
            SqlState::Syntax,
            "cannot insert multiple commands into a prepared statement",
        ));
    }
    session.check_failed(&statement)?;
    let text: Arc<str> = text.into();
    let (statement, text) = session.in_search_path(&statement, &text)?.unwrap_or((statement, text));
    let mut hints: Vec<Option<SqlType>> = hints.to_vec();
    hints.resize(params.max(hints.len()), None);
    let mut planned = statement.clone();
    session.bind_constants(&mut planned, &[])?;
    if let Some(types) = plain_insert(session, &planned, &hints) {
        let (params, inner) = (or_text(types), ParsedStatement::new(statement, text));
        return Ok(Prepared { params, columns: None, is_empty: false, inner });
    }
    let Description { params, columns, plan } = describe(session, planned, hints, &text).await?;
    let inner = ParsedStatement::new(statement, text);
    *inner.plan.lock() = plan.map(Arc::new);
    Ok(Prepared { params, columns, is_empty: false, inner })
}

/// The parameters of an INSERT that needs no planning; None: it does, or something is wrong with
/// it.
fn plain_insert(
    session: &Session,
    statement: &Statement,
    hints: &[Option<SqlType>],
) -> Option<Vec<Option<SqlType>>> {
    let Statement::Insert(insert) = statement else {
        return None;
    };
    PlainInsert::parameters(&session.engine.catalog.names(), insert, hints)
}

/// What is known of a statement before it runs.
struct Description {
    params: Vec<SqlType>,
    columns: Option<SchemaRef>,
    /// To be run without planning again.
    plan: Option<CachedPlan>,
}

impl Description {
    fn new(params: Vec<SqlType>, columns: Option<SchemaRef>) -> Description {
        Description { params, columns, plan: None }
    }
}

fn or_text(types: Vec<Option<SqlType>>) -> Vec<SqlType> {
    types.into_iter().map(|known| known.unwrap_or(SqlType::Text)).collect()
}

/// NULLs of these types, to plan with.
fn nulls(types: &[Option<SqlType>]) -> Result<Vec<Option<Expr>>> {
    let null = |known: &Option<SqlType>| match known {
        Some(known) => sql::parse_expr(&format!("CAST(NULL AS {})", known.in_cast())).map(Some),
        None => Ok(None),
    };
    types.iter().map(null).collect()
}

async fn describe(
    session: &mut Session,
    statement: Statement,
    hints: Vec<Option<SqlType>>,
    text: &Arc<str>,
) -> Result<Description> {
    let described = match statement {
        Statement::Query(mut query) => {
            if let Some(call) = calls::find(&query)? {
                return Ok(Description::new(or_text(hints), Some(calls::schema(session, &call)?)));
            }
            let reads = session.reads(text).await;
            let params = infer(&reads, &mut query.query, hints).await?;
            if query.emit.is_none()
                && let Ok((columns, plan)) =
                    cached_plan::plan(&reads, &query.query, &params, session.settings.version())
                        .await
            {
                return Ok(Description { params, columns: Some(columns), plan });
            }
            let columns = columns(session, &mut query, &params, text).await?;
            (params, Some(columns))
        }
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Changes(_) => {
            let described = describe_change(session, statement, &hints, text).await?;
            let types = hints
                .into_iter()
                .enumerate()
                .map(|(at, hint)| hint.or_else(|| described.params.get(at).cloned().flatten()));
            (or_text(types.collect()), described.returning)
        }
        Statement::CopyTo(sql::CopyTo { source: sql::CopySource::Query(mut query), .. })
        | Statement::Declare { source: sql::CursorSource::Query(mut query), .. } => {
            let types = infer(&session.reads(text).await, &mut query.query, hints).await?;
            (types, None)
        }
        Statement::Subscribe(subscribe) => {
            let reading = session.reading(text)?;
            let columns = subscribe::schema(&session.engine, &subscribe, &reading).await?;
            (or_text(hints), Some(columns))
        }
        Statement::Explain(Explain::Query { mut query, .. }) => {
            let types = infer(&session.reads(text).await, &mut query.query, hints).await?;
            (types, Some(text_schema(&["QUERY PLAN"])))
        }
        Statement::Explain(_) => (or_text(hints), Some(text_schema(&["QUERY PLAN"]))),
        Statement::Fetch { name, .. } => {
            let columns = Arc::clone(&session.cursor(&name)?.schema);
            (or_text(hints), Some(columns))
        }
        Statement::Execute { name, .. } => {
            let named = session.named(&name)?;
            let types = named.types.iter().cloned().map(Some).collect();
            let mut statement = named.statement;
            session.bind_constants(&mut statement, &[])?;
            let columns = Box::pin(describe(session, statement, types, &named.text)).await?.columns;
            (or_text(hints), columns)
        }
        other => (or_text(hints), show::schema(&other)),
    };
    Ok(Description::new(described.0, described.1))
}

/// Describes an INSERT, UPDATE or DELETE.
async fn describe_change(
    session: &mut Session,
    statement: Statement,
    hints: &[Option<SqlType>],
    text: &Arc<str>,
) -> Result<Described> {
    let wanted = named_in_change(&statement);
    let cx = session.write_context(text, &wanted).await?;
    let given = hints.to_vec();
    on_cpu(&session.engine, async move { write::describe(&cx, &statement, &given).await }).await
}

/// The types of a query's parameters.
async fn infer(
    reads: &ReadContext,
    query: &mut Query,
    mut types: Vec<Option<SqlType>>,
) -> Result<Vec<SqlType>> {
    for (n, found) in params::evident(query) {
        if let Some(place @ None) = types.get_mut(n - 1) {
            *place = Some(found);
        }
    }
    if types.iter().all(Option::is_some) {
        return Ok(or_text(types));
    }
    let mut partly = query.clone();
    params::bind(&mut partly, &nulls(&types)?);
    // A query that cannot be planned without the types is planned with text, which then says what
    // is wrong.
    if let Ok(planned) = reads.plan(&partly).await
        && let Ok(found) = planned.plan.get_parameter_fields()
    {
        for (name, found) in found {
            let at = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
            if let (Some(at), Some(field)) = (at, found)
                && let Some(place @ None) = types.get_mut(at - 1)
            {
                let known = params::type_of(&field);
                *place = (known != SqlType::Unknown).then_some(known);
            }
        }
    }
    Ok(or_text(types))
}

async fn columns(
    session: &Session,
    query: &mut ContinuousQuery,
    types: &[SqlType],
    text: &Arc<str>,
) -> Result<SchemaRef> {
    let types: Vec<_> = types.iter().cloned().map(Some).collect();
    params::bind(&mut *query.query, &nulls(&types)?);
    match query.emit {
        None => Ok(session.reads(text).await.plan(&query.query).await?.schema),
        Some(_) => {
            let reading = session.reading(text)?;
            Ok(continuous::plan(&session.engine, query, &reading, AtLimit::Ends).await?.schema)
        }
    }
}
