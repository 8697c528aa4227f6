//! Rewrites of the operators of a plan that has not been analysed yet.
//!
//! They come before DataFusion coerces types, since the types of whatever stands above depend on
//! their results: the written numbers, the operators on numerics, text constants beside a
//! UUID, BYTEA or array and in a CASE, UNNEST beside the row it reads (`flatten`). Columns keep the
//! names they had.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::conditional_expressions::CaseBuilder;
use datafusion::logical_expr::expr::{Between, Case, Cast, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, DistinctOn, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Union,
    lit, when,
};

use super::asof::last_before;
use super::binary::{compared_as, is_untyped, kept};
use super::combined::name_of;
use super::comparable::{in_subquery, made_comparable};
use super::correlated::{Clause, correlated};
use super::held::{held, with_held_constants};
use super::order_keys::{by_keys, order_key};
use super::single_row::lifted;
use super::{
    arrays, castable, combined, decimals, documents, flatten, floats, intervals, ordered,
    recursive, texts,
};
use crate::error::{Error, SqlState};
use crate::postgres::functions::{self, Polymorphic};
use crate::postgres::grouping_sets::with_key_columns;
use crate::postgres::outer::check_aggregate;
use crate::postgres::routines::expand::{expanded, is_called};
use crate::postgres::syntax::numbers;
use crate::types::SqlType;

/// Rewrites a plan; `state` is that which it is planned with.
pub fn rewrite_operators(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let mut is_changed = false;
    let rewritten = held(with_key_columns(plan)?)?.transform_up_with_subqueries(|node| {
        // A node above one whose types have changed has them in its schema as well: now, if its expressions
        // can have them as they are, or else when they are rewritten.
        let is_above = is_changed && !node.inputs().is_empty();
        let again = is_above.then(|| node.clone().recompute_schema().ok());
        let is_stale = again == Some(None);
        let node = fitted(again.flatten().unwrap_or(node), &mut is_changed)?;
        let mut rewritten = rewrite_expressions(node, state)?;
        for otherwise in [lifted, last_before, texts::aggregated] {
            if let Some(plan) = otherwise(&rewritten.data)? {
                rewritten = Transformed::yes(plan);
            }
        }
        is_changed |= rewritten.transformed;
        if rewritten.transformed || is_stale {
            Ok(Transformed::yes(with_its_types(rewritten.data)?))
        } else if is_changed {
            Ok(Transformed::yes(rewritten.data))
        } else {
            Ok(rewritten)
        }
    })?;
    with_held_constants(rewritten.data)
}

/// The node with the types that its expressions have now. Rows of VALUES keep those they had when they
/// are asked to recompute them.
fn with_its_types(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Values(values) => floats::values_of(values.values),
        other => other.recompute_schema(),
    }
}

/// The node with inputs that fit each other, where there are several; `is_changed`: types below it
/// have changed, or do here.
fn fitted(node: LogicalPlan, is_changed: &mut bool) -> Result<LogicalPlan> {
    let fitted = match &node {
        LogicalPlan::Join(join) => match flatten::flattened(join)? {
            Some(flat) => Some(flat),
            None => combined::met(join)?,
        },
        LogicalPlan::Unnest(unnest) => arrays::in_one_dimension(unnest)?,
        LogicalPlan::Filter(filter) => {
            check_filter(filter)?;
            None
        }
        LogicalPlan::Distinct(Distinct::On(on)) => {
            check_keys(on)?;
            None
        }
        LogicalPlan::Union(union) => match combined::united(union)? {
            // Asked to recompute its schema, a union keeps the types it had.
            None if *is_changed => {
                let inputs = union.inputs.clone();
                Some(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
            }
            united => united,
        },
        LogicalPlan::Values(values) => floats::of_values(values)?,
        LogicalPlan::RecursiveQuery(query) => recursive::fitted(query)?,
        _ => None,
    };
    *is_changed |= fitted.is_some();
    let node = fitted.unwrap_or(node);
    Ok(match node {
        LogicalPlan::Join(join) => {
            let joined = intervals::joined(join);
            *is_changed |= joined.transformed;
            LogicalPlan::Join(joined.data)
        }
        node => node,
    })
}

/// The node with its expressions as Postgres means them; what they give has the names it had.
fn rewrite_expressions(
    node: LogicalPlan,
    state: &SessionState,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&node.inputs());
    if let LogicalPlan::Join(join) = &node {
        schema = join.schema.as_ref().clone();
    }
    let names = NamePreserver::new(&node);
    let place = Clause::of(&node);
    let node_is_sort = matches!(node, LogicalPlan::Sort(_));
    let is_of_values = matches!(node, LogicalPlan::Values(_));
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten =
            expr.rewrite(&mut Operators { schema: &schema, place, is_of_values, state })?;
        let rewritten = match (node_is_sort, rewritten.data.get_type(&schema)) {
            (true, Ok(DataType::Interval(_))) => {
                Transformed::yes(functions::interval_size(rewritten.data))
            }
            _ => rewritten,
        };
        let key = if node_is_sort { order_key(&rewritten.data, &schema)? } else { None };
        let rewritten = key.map_or(rewritten, Transformed::yes);
        Ok(if rewritten.transformed {
            rewritten.update_data(|expr| name.restore(expr))
        } else {
            rewritten
        })
    })
}

fn typed(text: Box<Expr>, data_type: DataType) -> Expr {
    Expr::Cast(Cast::new(text, data_type))
}

/// A window function sees the rows that are left after WHERE and HAVING.
fn check_filter(filter: &Filter) -> Result<()> {
    let clause = match filter.input.as_ref() {
        LogicalPlan::Aggregate(_) => "HAVING",
        _ => "WHERE",
    };
    if filter.predicate.exists(|part| Ok(matches!(part, Expr::WindowFunction(_))))? {
        let message = format!("window functions are not allowed in {clause}");
        let error = Error::new(SqlState::Windowing, message)
            .hint("Put the query into a subquery and write the condition around it.");
        Err(error.into())
    } else {
        Ok(())
    }
}

/// A number in DISTINCT ON is that of a column; what is left of them is out of place or behind a `*`.
fn check_keys(on: &DistinctOn) -> Result<()> {
    let number = |key: &Expr| match key {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => Some(*number),
        _ => None,
    };
    let Some(number) = on.on_expr.iter().find_map(number) else { return Ok(()) };
    let columns = 1..=on.select_expr.len() as i64;
    Err(if columns.contains(&number) {
        let what = "DISTINCT ON the number of a column that * stands for is not supported";
        Error::unsupported(what).hint("Write the column's name.").into()
    } else {
        let what = format!("SELECT DISTINCT ON position {number} is not in select list");
        Error::new(SqlState::InvalidColumnReference, what).into()
    })
}

fn no_boolean(what: &str, of: &DataType) -> Error {
    let message = format!("argument of {what} must be type boolean, not type {}", name_of(of));
    Error::new(SqlState::TypeMismatch, message)
}

struct Operators<'a> {
    schema: &'a DFSchema,
    place: Clause,
    is_of_values: bool,
    state: &'a SessionState,
}

impl TreeNodeRewriter for Operators<'_> {
    type Node = Expr;

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let binary = match expr {
            Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
                return self.compared(binary);
            }
            Expr::BinaryExpr(mut binary) if is_match(binary.op) => {
                let is_changed = texts::show(&mut binary.left, self.schema);
                return Ok(Transformed::new_transformed(Expr::BinaryExpr(binary), is_changed));
            }
            Expr::BinaryExpr(binary) => binary,
            Expr::Like(mut like) => {
                let is_changed = texts::show(&mut like.expr, self.schema);
                return Ok(Transformed::new_transformed(Expr::Like(like), is_changed));
            }
            Expr::InList(list) => return Ok(self.listed(list)),
            Expr::Case(case) => return self.case(case),
            Expr::Between(between) => return self.between(between),
            Expr::ScalarFunction(call) => return self.called(call),
            Expr::TryCast(ref cast) => {
                let number = numbers::folded(cast);
                return Ok(number.map_or_else(|| Transformed::no(expr), Transformed::yes));
            }
            Expr::Cast(ref cast) => {
                let rewritten = self.cast(cast)?;
                return Ok(rewritten.map_or_else(|| Transformed::no(expr), Transformed::yes));
            }
            Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_) => return self.tested(expr),
            Expr::InSubquery(list) => {
                let list = in_subquery(list, self.schema)?;
                return correlated(list, self.schema, self.place, self.state);
            }
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
                return correlated(expr, self.schema, self.place, self.state);
            }
            Expr::AggregateFunction(mut call) => {
                check_aggregate(&call)?;
                let is_keyed = by_keys(&mut call.params.order_by, self.schema)?
                    | texts::of_texts(&mut call, self.schema);
                let unordered = ordered::without_effect(call);
                let is_changed = is_keyed || unordered.transformed;
                let counted = intervals::counted(unordered.data, self.schema);
                let is_changed = is_changed || counted.transformed;
                return Ok(Transformed::new_transformed(counted.data, is_changed));
            }
            Expr::WindowFunction(mut call) => {
                let is_keyed = by_keys(&mut call.params.order_by, self.schema)?;
                let moves = functions::over_frame(&mut call);
                let mut framed = intervals::framed(call, self.schema)?;
                framed.transformed |= is_keyed || moves;
                return Ok(framed);
            }
            other => return Ok(Transformed::no(other)),
        };
        let mut binary = binary;
        let is_signed = self.signed(&mut binary.left) | self.signed(&mut binary.right);
        Transformed::new_transformed(binary, is_signed).transform_data(|binary| {
            match functions::shift(binary, self.schema)? {
                Ok(shift) => Ok(Transformed::yes(shift)),
                Err(binary) => Ok(self.numeric(binary)),
            }
        })
    }
}

/// The value of a NULLIF, of its own type, where the two are not alike.
fn nullif_of(mut unlike: CaseBuilder, text: Option<(Expr, SqlType)>, value: Expr) -> Result<Expr> {
    match text {
        Some((value, text)) => Ok(functions::cast_to(unlike.otherwise(value)?, &text)),
        None => unlike.otherwise(value),
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_match(op: Operator) -> bool {
    use Operator::{LikeMatch, RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, LikeMatch | RegexIMatch | RegexMatch | RegexNotIMatch | RegexNotMatch)
}

impl Operators<'_> {
    /// What is TRUE, FALSE or UNKNOWN is a boolean.
    fn tested(&self, mut test: Expr) -> Result<Transformed<Expr>> {
        let (tested, what) = match &mut test {
            Expr::IsTrue(tested) => (tested, "IS TRUE"),
            Expr::IsFalse(tested) => (tested, "IS FALSE"),
            Expr::IsUnknown(tested) => (tested, "IS UNKNOWN"),
            Expr::IsNotTrue(tested) => (tested, "IS NOT TRUE"),
            Expr::IsNotFalse(tested) => (tested, "IS NOT FALSE"),
            Expr::IsNotUnknown(tested) => (tested, "IS NOT UNKNOWN"),
            _ => return Ok(Transformed::no(test)),
        };
        if is_untyped(tested) {
            **tested = typed(std::mem::take(tested), DataType::Boolean);
            return Ok(Transformed::yes(test));
        }
        match tested.get_type(self.schema) {
            Ok(of) if !matches!(of, DataType::Boolean | DataType::Null) => {
                Err(no_boolean(what, &of).into())
            }
            _ => Ok(Transformed::no(test)),
        }
    }

    /// The type of text constants that are compared with an expression; see [`compared_as`].
    fn compared_as(&self, expr: &Expr) -> Option<DataType> {
        compared_as(&expr.get_type(self.schema).ok()?)
    }

    fn called(&self, mut call: ScalarFunction) -> Result<Transformed<Expr>> {
        let is_shown = texts::of_shown(&mut call, self.schema);
        if is_called(&call.func) {
            Ok(Transformed::yes(expanded(call, self.schema)?))
        } else if call.func.inner().is::<Polymorphic>() {
            self.of_arrays(call)
        } else if call.func.name() == "now" {
            Ok(self.in_micros(call))
        } else if floats::is_of_one_type(call.func.name()) {
            self.of_one_type(call)
        } else if functions::is_as_json(&call.func)
            && documents::is_ordered_by_key(&call.args[0], self.schema)
        {
            Ok(Transformed::yes(call.args.swap_remove(0)))
        } else if let Some(operator) = functions::of_doubles(&call, self.schema) {
            Ok(Transformed::yes(operator))
        } else if functions::has_forms(&call.func) {
            let mut settled = functions::settled(call, self.schema)?;
            settled.transformed |= is_shown;
            Ok(settled)
        } else {
            let call = functions::once(Expr::ScalarFunction(call));
            Ok(Transformed::new_transformed(call, is_shown))
        }
    }

    /// A call whose types depend on those of arrays.
    fn of_arrays(&self, mut call: ScalarFunction) -> Result<Transformed<Expr>> {
        let mut is_signed = false;
        for arg in &mut call.args {
            is_signed |= self.signed(arg);
        }
        let mut met = documents::subscripts(&call, self.schema)?;
        if met.is_none() {
            met = functions::met(&call, self.schema)?;
        }
        let no = || Transformed::new_transformed(Expr::ScalarFunction(call), is_signed);
        Ok(met.map_or_else(no, Transformed::yes))
    }

    /// What is not cast as DataFusion does it.
    fn cast(&self, cast: &Cast) -> Result<Option<Expr>> {
        Ok(match documents::cast(cast, self.schema)? {
            Some(read) => Some(read),
            // All rows of VALUES have one type.
            None if !castable::is_castable(cast, self.schema) => {
                return Err(castable::missing(cast, self.schema)?.into());
            }
            None => (!self.is_of_values)
                .then(|| kept(cast, self.schema))
                .flatten()
                .or_else(|| texts::cast(cast, self.schema))
                .or_else(|| arrays::with_dimensions(cast, self.schema))
                .or_else(|| functions::fitted(cast))
                .or_else(|| functions::of_day(cast, self.schema)),
        })
    }

    /// Intervals are compared by how long they are, text constants as what they are compared with.
    fn compared(&self, binary: BinaryExpr) -> Result<Transformed<Expr>> {
        if let Some(compared) = arrays::compared(&binary, self.schema)? {
            let Expr::ScalarFunction(call) = &compared else {
                return Ok(Transformed::yes(compared));
            };
            return Ok(Transformed::yes(functions::met(call, self.schema)?.unwrap_or(compared)));
        }
        let BinaryExpr { mut left, op, mut right } = binary;
        let wanted = match (is_untyped(&left), is_untyped(&right)) {
            (true, false) => self.compared_as(&right).map(|wanted| (&mut left, wanted)),
            (false, true) => self.compared_as(&left).map(|wanted| (&mut right, wanted)),
            _ => None,
        };
        if let Some((constant, wanted)) = wanted {
            **constant = typed(std::mem::take(constant), wanted);
            return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
        }
        let is_changed = made_comparable([left.as_mut(), right.as_mut()], self.schema);
        let compared = Expr::BinaryExpr(BinaryExpr { left, op, right });
        Ok(Transformed::new_transformed(compared, is_changed))
    }

    /// What counts rows is a BIGINT: beside one, an unsigned number would be a numeric.
    fn signed(&self, side: &mut Expr) -> bool {
        // What is computed is none; each link of a long chain would ask for the type of the rest.
        let is_unsigned = !matches!(side, Expr::BinaryExpr(_))
            && matches!(side.get_type(self.schema), Ok(DataType::UInt64));
        if is_unsigned {
            *side = typed(Box::new(std::mem::take(side)), DataType::Int64);
        }
        is_unsigned
    }

    fn between(&self, mut between: Between) -> Result<Transformed<Expr>> {
        if matches!(between.expr.get_type(self.schema), Ok(DataType::List(_))) {
            return self.between_arrays(between).map(Transformed::yes);
        }
        let wanted = self.compared_as(&between.expr);
        let bounds = [&mut between.low, &mut between.high].into_iter();
        let constants: Vec<_> = bounds.filter(|bound| is_untyped(bound)).collect();
        if let Some(wanted) = wanted.filter(|_| !constants.is_empty()) {
            for constant in constants {
                **constant = typed(std::mem::take(constant), wanted.clone());
            }
            return Ok(Transformed::yes(Expr::Between(between)));
        }
        let Between { expr, low, high, .. } = &mut between;
        let is_changed = made_comparable([expr.as_mut(), low.as_mut(), high.as_mut()], self.schema);
        Ok(Transformed::new_transformed(Expr::Between(between), is_changed))
    }

    /// Arrays are compared by a function of their own.
    fn between_arrays(&self, between: Between) -> Result<Expr> {
        let Between { expr, negated, low, high } = between;
        let from = self.compared(BinaryExpr::new(expr.clone(), Operator::GtEq, low))?.data;
        let to = self.compared(BinaryExpr::new(expr, Operator::LtEq, high))?.data;
        let both = from.and(to);
        Ok(if negated { Expr::Not(Box::new(both)) } else { both })
    }

    /// CASE of JSONB is JSONB, and of VARCHAR is VARCHAR.
    fn case(&self, mut case: Case) -> Result<Transformed<Expr>> {
        // The type that is looked for first is that of ELSE.
        let thens = case.when_then_expr.iter_mut().map(|(_, then)| then);
        let results = case.else_expr.iter_mut().chain(thens);
        let text = texts::together(results.map(AsMut::as_mut), self.schema);
        let thens = case.when_then_expr.iter().map(|(_, then)| then);
        let results: Vec<Expr> =
            thens.chain(&case.else_expr).map(|result| result.as_ref().clone()).collect();
        let chosen = self.chosen(case)?;
        if let Some(text) = text {
            return Ok(Transformed::yes(functions::cast_to(chosen.data, &text)));
        }
        chosen.transform_data(|case| documents::chosen(case, results.iter(), self.schema))
    }

    /// NULLIF of a number that is compared with a double or a real: both are doubles. Says whether it is one.
    fn as_doubles(&self, call: &mut ScalarFunction) -> bool {
        let is = |of: &Expr, kind: fn(&DataType) -> bool| {
            of.get_type(self.schema).is_ok_and(|of| kind(&of))
        };
        let is_exact = |of: &DataType| of.is_integer() || of.is_decimal();
        if let ("nullif", [value, other]) = (call.func.name(), call.args.as_mut_slice())
            && is(value, is_exact)
            && is(other, DataType::is_floating)
        {
            for side in [value, other] {
                *side = typed(Box::new(std::mem::take(side)), DataType::Float64);
            }
            return true;
        }
        false
    }

    /// A function whose arguments and result are of one type.
    fn of_one_type(&self, mut call: ScalarFunction) -> Result<Transformed<Expr>> {
        let are_doubles = self.as_doubles(&mut call);
        if let ("nullif", [value, other]) = (call.func.name(), call.args.as_slice()) {
            let text = texts::of_nullif(value, other, self.schema);
            let (mut left, mut right) = (value.clone(), other.clone());
            let is_kept = floats::keeps_its_type(value, other, self.schema);
            if made_comparable([&mut left, &mut right], self.schema) || is_kept {
                let unlike = when(left.eq(right), lit(ScalarValue::Null));
                return Ok(Transformed::yes(nullif_of(unlike, text, value.clone())?));
            }
            if let Some((value, text)) = text {
                call.args[0] = value;
                return Ok(Transformed::yes(functions::cast_to(Expr::ScalarFunction(call), &text)));
            }
        } else if let Some(text) = texts::together(&mut call.args, self.schema) {
            return Ok(Transformed::yes(functions::cast_to(Expr::ScalarFunction(call), &text)));
        }
        let is_changed = floats::unify(call.args.iter_mut(), self.schema) || are_doubles;
        let args = call.args.clone();
        let call = Transformed::new_transformed(Expr::ScalarFunction(call), is_changed);
        call.transform_data(|call| match &call {
            Expr::ScalarFunction(array) if array.func.name() == "make_array" => {
                Ok(Transformed::no(call))
            }
            _ => documents::chosen(call, args.iter(), self.schema),
        })
    }

    /// CASE: a text constant has the type of the other results, and what is tested is a boolean.
    fn chosen(&self, mut case: Case) -> Result<Transformed<Expr>> {
        if case.expr.is_none() {
            let types =
                case.when_then_expr.iter().filter_map(|(when, _)| when.get_type(self.schema).ok());
            if let Some(wrong) =
                types.into_iter().find(|t| !matches!(t, DataType::Boolean | DataType::Null))
            {
                return Err(no_boolean("CASE/WHEN", &wrong).into());
            }
        }
        let is_compared = case.expr.as_mut().is_some_and(|compared| {
            let with = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            made_comparable(with.chain([compared.as_mut()]), self.schema)
        });
        let thens = case.when_then_expr.iter_mut().map(|(_, then)| then).chain(&mut case.else_expr);
        let is_unified = floats::unify(thens.map(AsMut::as_mut), self.schema) || is_compared;
        let results = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        let typed_result = results().filter(|result| !is_untyped(result)).find_map(|result| {
            let data_type = result.get_type(self.schema).ok()?;
            (!matches!(data_type, DataType::Null) && !data_type.is_string()).then_some(data_type)
        });
        let Some(wanted) = typed_result.filter(|_| results().any(|result| is_untyped(result)))
        else {
            return Ok(Transformed::new_transformed(Expr::Case(case), is_unified));
        };
        let thens = case.when_then_expr.iter_mut().map(|(_, then)| then).chain(&mut case.else_expr);
        for result in thens.filter(|result| is_untyped(result)) {
            **result = typed(std::mem::take(result), wanted.clone());
        }
        Ok(Transformed::yes(Expr::Case(case)))
    }

    /// `now()` in microseconds, as in Postgres: in nanoseconds it could not be compared with years
    /// after 2262.
    fn in_micros(&self, call: ScalarFunction) -> Transformed<Expr> {
        let now = Expr::ScalarFunction(call);
        match now.get_type(self.schema) {
            Ok(DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone);
                Transformed::yes(typed(Box::new(now), micros))
            }
            _ => Transformed::no(now),
        }
    }

    fn listed(&self, mut list: InList) -> Transformed<Expr> {
        let wanted =
            if list.list.iter().any(is_untyped) { self.compared_as(&list.expr) } else { None };
        let Some(data_type) = wanted else {
            let compared = list.list.iter_mut().chain([list.expr.as_mut()]);
            let is_changed = made_comparable(compared, self.schema);
            return Transformed::new_transformed(Expr::InList(list), is_changed);
        };
        for item in list.list.iter_mut().filter(|item| is_untyped(item)) {
            *item = typed(Box::new(std::mem::take(item)), data_type.clone());
        }
        Transformed::yes(Expr::InList(list))
    }

    fn numeric(&self, mut binary: BinaryExpr) -> Transformed<Expr> {
        if matches!(binary.op, Operator::Plus | Operator::Minus) {
            let sides = [&mut binary.left, &mut binary.right];
            let is_changed = decimals::widen(sides.map(AsMut::as_mut), self.schema);
            return Transformed::new_transformed(Expr::BinaryExpr(binary), is_changed);
        }
        if !matches!(binary.op, Operator::Divide | Operator::Multiply | Operator::Modulo) {
            return Transformed::no(Expr::BinaryExpr(binary));
        }
        let types = (binary.left.get_type(self.schema), binary.right.get_type(self.schema));
        let (Ok(left), Ok(right)) = types else {
            return Transformed::no(Expr::BinaryExpr(binary));
        };
        match functions::numeric_operator(binary.op, &left, &right) {
            Some(function) => {
                Transformed::yes(functions::numeric_call(function, *binary.left, *binary.right))
            }
            None => Transformed::no(Expr::BinaryExpr(binary)),
        }
    }
}
