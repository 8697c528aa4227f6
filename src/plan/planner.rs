//! From a query's syntax tree to a DataFusion plan, and for a continuous query on to a
//! [`Pipeline`].
//!
//! There is one [`Planner`] a server. It holds DataFusion's session state with our functions, types
//! and window functions; each statement plans against a copy that knows the relations as they are
//! at that moment ([`RelationLookup`]).

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::common::{SchemaError, TableReference};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{QueryPlanner, SessionState};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::cut;
use super::distinct_on;
use super::moment::{self, Moment};
use super::pipeline::Pipeline;
use super::refused::{check_moment, reads_moment, refuse_subqueries, refuse_unstable};
use super::relations::{Database, RelationLookup};
use super::session::SessionNode;
use super::stage::CutOptions;
use super::window::{WindowExec, WindowPlanner};
use crate::catalog::{DATABASE, SCHEMA};
use crate::clock::Clock;
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::Accounts;
use crate::postgres::budget::{self, Allowance, CountedNames};
use crate::postgres::checked::with_checked_rules;
use crate::postgres::coercion::binary::Binary;
use crate::postgres::coercion::intervals::IntervalKeys;
use crate::postgres::coercion::rewrite::rewrite_operators;
use crate::postgres::conditions::OnlyRowsLeft;
use crate::postgres::functions;
use crate::postgres::guard::{Guarding, InPieces};
use crate::postgres::lateral;
use crate::postgres::outer::LateralRelations;
use crate::postgres::routines::called::with_called;
use crate::postgres::set_operations;
use crate::postgres::syntax::naming::{name_columns, name_columns_alone, shown_name};
use crate::postgres::syntax::partial_names::{complete_names, is_short_list};
use crate::postgres::syntax::relation_names::check_relation_names;
use crate::postgres::syntax::scopes::ToldColumn;
use crate::postgres::syntax::using;
use crate::postgres::syntax::whole_rows::{has_row_wildcards, spell_rows};

/// Optimizer rules that make sense for a batch only: a continuous aggregate keeps its DISTINCT, and a
/// LIMIT stays on top. (A condition that is never true must go here too: one without columns would be
/// pushed below an aggregate without GROUP BY, which has a row whatever it reads.)
const BATCH_ONLY_RULES: [&str; 3] =
    ["single_distinct_aggregation_to_group_by", "push_down_limit", "eliminate_limit"];

/// Plans queries.
#[derive(Debug)]
pub struct Planner {
    snapshot: SessionState,
    continuous: SessionState,
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
}

impl Planner {
    /// `threads`: how many partitions a snapshot is run in; `memory`: bytes that queries may use;
    /// `clock`: what `now()` is.
    pub fn new(threads: usize, memory: usize, clock: Arc<dyn Clock>) -> Result<Planner> {
        // One for all: what views keep is not there for snapshots.
        let accounts = Accounts::new(memory);
        let pool: Arc<dyn MemoryPool> = Arc::clone(&accounts) as _;
        let mut batch = config(threads);
        // Rows that are dealt out wait until they are taken: where there is little memory, they are
        // not.
        batch.options_mut().optimizer.enable_round_robin_repartition =
            memory >= limits::DEALING_BYTES;
        let snapshot = build(batch, Arc::clone(&pool))?;
        let rules = snapshot.physical_optimizers().iter().cloned();
        // Last: no rule must take the joins for something else.
        let rules = rules.chain([Arc::new(OnlyRowsLeft) as _, Arc::new(Guarding) as _]).collect();
        let snapshot = SessionStateBuilder::new_from_existing(snapshot)
            .with_analyzer_rule(Arc::new(IntervalKeys))
            .with_physical_optimizer_rules(rules)
            .build();
        let mut streaming = config(1);
        let options = streaming.options_mut();
        options.optimizer.join_reordering = false;
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        options.optimizer.enable_dynamic_filter_pushdown = false;
        options.optimizer.enable_join_dynamic_filter_pushdown = false;
        options.optimizer.enable_topk_dynamic_filter_pushdown = false;
        options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
        let continuous = build(streaming, pool)?;
        let rules = continuous
            .optimizers()
            .iter()
            .filter(|rule| !BATCH_ONLY_RULES.contains(&rule.name()))
            .cloned()
            .collect();
        let continuous = SessionStateBuilder::new_from_existing(continuous)
            .with_optimizer_rules(rules)
            .with_physical_optimizer_rule(Arc::new(OnlyRowsLeft))
            .with_physical_optimizer_rule(Arc::new(InPieces))
            .build();
        Ok(Planner { snapshot, continuous, accounts, clock })
    }

    /// Whose memory it is; queries are under its limit.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// DataFusion's state for a snapshot over these relations.
    pub fn snapshot_state(&self, lookup: Arc<dyn RelationLookup>) -> SessionState {
        let zone = lookup.zone();
        let mut state = self.with_relations(&self.snapshot, lookup);
        if let Some(zone) = zone {
            state.config_mut().options_mut().extensions.insert(functions::SessionZone(zone));
        }
        state
    }

    /// DataFusion's state for a continuous query over these relations.
    pub fn continuous_state(&self, lookup: Arc<dyn RelationLookup>) -> SessionState {
        self.with_relations(&self.continuous, lookup)
    }

    /// The query as an unoptimized plan.
    pub async fn logical(&self, state: &SessionState, query: &ast::Query) -> Result<LogicalPlan> {
        let (plan, with_routines) = self.planned(state, query).await?;
        let state = with_routines.as_ref().unwrap_or(state);
        let plan = lateral::alone(plan)?;
        let plan = set_operations::counting(plan)?;
        Allowance::current().weigh(&plan).await?;
        let rewritten = |plan| rewrite_operators(plan, state);
        let plan = lateral::in_subqueries(plan, state, &rewritten)?;
        let plan = lateral::as_arrays(rewritten(plan)?, state)?;
        with_final_types(state, plan)
    }

    /// The query as DataFusion plans it, and the state that knows the user's functions, if it calls some.
    async fn planned(
        &self,
        state: &SessionState,
        query: &ast::Query,
    ) -> Result<(LogicalPlan, Option<SessionState>)> {
        budget::check_syntax(query)?;
        check_relation_names(query)?;
        let written = query;
        let mut query = query.clone();
        if has_row_wildcards(&query) {
            spell_rows(&mut query, true, &|part| self.columns_of(state, &part))?;
        }
        using::merge_columns(&mut query, &|part| self.columns_of(state, &part))?;
        let with_routines = with_called(&mut query, state)?;
        let state = with_routines.as_ref().unwrap_or(state);
        let statement = named(query.clone(), name_columns)?;
        let allowance = Allowance::of(state.config_options());
        let around = allowance.begin();
        let mut plan = state.statement_to_plan(statement.clone()).await;
        if plan.as_ref().is_err_and(is_unknown_column) {
            let otherwise = named(query, name_columns_alone)?;
            if otherwise != statement {
                plan = state.statement_to_plan(otherwise).await.or(plan);
            }
        }
        allowance.resume(around);
        if plan.as_ref().is_err_and(|error| is_short_list(&error.to_string())) {
            let mut complete = written.clone();
            if complete_names(&mut complete, &|part| self.columns_of(state, &part))? {
                return Box::pin(self.planned(state, &complete)).await;
            }
        }
        if plan.as_ref().is_err_and(is_unknown_column) {
            let mut whole = written.clone();
            if spell_rows(&mut whole, false, &|part| self.columns_of(state, &part))? {
                return Box::pin(self.planned(state, &whole)).await;
            }
        }
        match plan {
            Ok(plan) => Ok((plan, with_routines)),
            Err(error) => {
                Err(crate::postgres::coercion::missing::explained(error.into(), state, statement)
                    .await)
            }
        }
    }

    /// The columns of a query as it is planned first.
    fn columns_of(&self, state: &SessionState, query: &ast::Query) -> Result<Vec<ToldColumn>> {
        let _below = Allowance::of(state.config_options()).deeper()?;
        // Nothing in it waits: what it names has been found before, or is in memory.
        let planned: LocalBoxFuture<'_, _> = Box::pin(self.planned(state, query));
        let waits = || Error::internal("a relation is not there when its columns are asked");
        let (plan, _) = planned.now_or_never().ok_or_else(waits)??;
        let told = |(relation, field): (Option<&TableReference>, &FieldRef)| ToldColumn {
            relation: relation.map(|relation| relation.table().to_owned()),
            name: shown_name(field.name()).to_owned(),
            data_type: field.data_type().clone(),
        };
        Ok(plan.schema().iter().map(told).collect())
    }

    fn with_relations(&self, base: &SessionState, lookup: Arc<dyn RelationLookup>) -> SessionState {
        let mut state = base.clone();
        if let Some(routines) = lookup.routines() {
            state.config_mut().set_extension(Arc::new(routines));
        }
        let databases = MemoryCatalogProviderList::new();
        databases.register_catalog(DATABASE.to_owned(), Arc::new(Database(lookup)));
        state.register_catalog_list(Arc::new(databases));
        state.config_mut().options_mut().extensions.insert(Allowance::current());
        state.mark_start_execution();
        // DataFusion reads the machine's clock by itself; another can only be given to a state that
        // is built anew, which costs.
        if self.clock.is_simulated() { at(state, self.clock.now_ms()) } else { state }
    }

    /// A plan cut into a pipeline; `state` is a [`Planner::continuous_state`].
    pub fn pipeline(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
        options: CutOptions,
    ) -> Result<Pipeline> {
        refuse_unstable(plan)?;
        let schema = Arc::clone(plan.schema());
        let marked = moment::marked(plan)?;
        let ranked = distinct_on::ranked(options, marked.as_ref().unwrap_or(plan).clone())?;
        let mut optimized = state.optimize(&ranked)?;
        refuse_subqueries(&optimized)?;
        let moment = Moment::default();
        if marked.is_some()
            && let Some(bound) = moment::bound(&optimized, &moment)?
        {
            optimized = bound;
        }
        let mut pipeline = cut::cut(optimized, options)?;
        if marked.is_some() && reads_moment(&pipeline)? {
            check_moment(&pipeline)?;
            pipeline.notices.push(moment::NOTICE.to_owned());
            pipeline.moment = Some(moment);
        }
        // The optimizer may lose what a field says of its SQL type; the unoptimized plan has it.
        pipeline.schema = Arc::clone(schema.inner());
        Ok(pipeline)
    }
}

/// The plan with the types its columns will have: those of a UNION or a CASE over several types are
/// only known when the types have been coerced.
fn with_final_types(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzed =
        state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {});
    // That it was cancelled must not look as if it could not be analysed.
    Allowance::check_in(state.config_options())?;
    // What cannot be analysed is refused when it is optimized; a parameter may still be without a
    // value.
    let Ok(analyzed) = analyzed else { return Ok(plan) };
    if has_types_of(&analyzed, &plan) {
        return Ok(plan);
    }
    // The type of round(x, 2) depends on a constant, which the coercion hides in a cast until that
    // is folded.
    match state.optimize(&plan) {
        Ok(optimized) if !has_types_of(&optimized, &plan) => Ok(analyzed),
        _ => Ok(plan),
    }
}

fn has_types_of(one: &LogicalPlan, other: &LogicalPlan) -> bool {
    let types = |plan: &LogicalPlan| -> Vec<DataType> {
        plan.schema().fields().iter().map(|field| field.data_type().clone()).collect()
    };
    types(one) == types(other)
}

fn config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(partitions)
        .with_batch_size(limits::BATCH_ROWS);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("UTC".to_owned());
    // Whether a column may be NULL is not known in the same way in both plans (of a UNION for
    // example), and nothing depends on it.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}

fn build(config: SessionConfig, pool: Arc<dyn MemoryPool>) -> Result<SessionState> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()?;
    let mut builder = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_query_planner(Arc::new(Queries))
        .with_type_planner(Arc::new(Types));
    // They are asked in this order, and DataFusion's own take every subscript for one of an array.
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(Binary));
    let context = SessionContext::new_with_state(builder.build());
    functions::register(&context)?;
    let mut builder = SessionStateBuilder::new_from_existing(context.state());
    for rule in functions::analyzer_rules() {
        builder = builder.with_analyzer_rule(rule);
    }
    let mut state = with_checked_rules(builder.build());
    state.register_relation_planner(Arc::new(CountedNames))?;
    state.register_relation_planner(Arc::new(LateralRelations))?;
    state.register_relation_planner(Arc::new(WindowPlanner))?;
    Ok(state)
}

/// The same, for a statement that begins at this time.
fn at(state: SessionState, now_ms: i64) -> SessionState {
    let begin = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    let props = state.execution_props().clone().with_query_execution_start_time(begin);
    SessionStateBuilder::new_from_existing(state).with_execution_props(props).build()
}

/// Physical planning with the window functions.
#[derive(Debug)]
struct Queries;

#[async_trait]
impl QueryPlanner for Queries {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &dyn datafusion::catalog::Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let planner =
            DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WindowNodePlanner)]);
        planner.create_physical_plan(plan, state).await
    }
}

struct WindowNodePlanner;

#[async_trait]
impl ExtensionPlanner for WindowNodePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn datafusion::catalog::Session,
        _: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(node) = node.as_any().downcast_ref::<SessionNode>() {
            return planner.create_physical_plan(&node.spelled_out()?, session).await.map(Some);
        }
        match inputs.first() {
            Some(input) => Ok(WindowExec::plan(node, input)?.map(|exec| Arc::new(exec) as _)),
            None => Ok(None),
        }
    }
}

/// A query as DataFusion is to plan it, its columns named so.
fn named(mut query: ast::Query, name: fn(&mut ast::Query)) -> Result<DfStatement> {
    name(&mut query);
    crate::postgres::syntax::spellings::rewrite_spellings(&mut query)?;
    crate::postgres::syntax::subqueries::rewrite_subqueries(&mut query);
    crate::postgres::syntax::casts::mark_casts(&mut query);
    crate::postgres::syntax::numbers::type_numbers(&mut query);
    Ok(DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query)))))
}

fn is_unknown_column(error: &DataFusionError) -> bool {
    let DataFusionError::SchemaError(error, _) = error.find_root() else { return false };
    matches!(**error, SchemaError::FieldNotFound { .. })
}

/// Our types in casts and literals: `'…'::uuid`, `TIMESTAMP '…'` in microseconds, JSON, arrays.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DfResult<Option<FieldRef>> {
        match crate::sql::sql_type(sql_type) {
            Ok(known) => Ok(Some(Arc::new(known.to_cast_field()))),
            Err(error)
                if matches!(sql_type, ast::DataType::Time(..))
                    || error.state() == SqlState::BadArgument =>
            {
                Err(error.into())
            }
            Err(_) => Ok(None),
        }
    }
}
