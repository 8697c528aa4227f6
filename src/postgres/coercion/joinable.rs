//! Which subqueries that read columns of the query around them are the same as a join.
//!
//! DataFusion takes the conditions on the outer columns out of the subquery and joins on them. That
//! is right as long as nothing between the condition and the top of the subquery looks at several
//! rows at once: a LIMIT, a window function or the NULLs of an outer join would then be those of
//! all keys together. DataFusion does not refuse all of these, and answers wrongly; so what is
//! known to be right is listed here, and the rest is [applied](crate::postgres::subplan).

use std::collections::HashMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Projection,
    SubqueryAlias,
};

/// What a subquery stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// One value: DataFusion groups an aggregate by the outer columns.
    Value,
    /// EXISTS, or IN where NULL and false are the same.
    Condition,
}

/// Whether DataFusion's join gives the right answer, if the subquery reads only the [next query
/// around](crate::postgres::outer::is_of).
pub fn is_join(subquery: &LogicalPlan, wanted: Use) -> Result<bool> {
    Ok(!compares_a_name_twice(subquery)?
        && Path { wanted, is_aggregated: false, is_named: false, is_compared: false }
            .is_clear(subquery)?)
}

/// The way from the top of the subquery down to a condition on outer columns.
#[derive(Clone, Copy)]
struct Path {
    wanted: Use,
    /// There is an aggregate above.
    is_aggregated: bool,
    /// There is a name above, as of a subquery in FROM: beyond it columns go by other names.
    is_named: bool,
    /// There is such a condition above.
    is_compared: bool,
}

impl Path {
    fn is_clear(self, plan: &LogicalPlan) -> Result<bool> {
        if !reads_outer(plan)? {
            return Ok(true);
        }
        if !matches!(plan, LogicalPlan::Filter(_)) && plan.contains_outer_reference() {
            return Ok(false);
        }
        match plan {
            LogicalPlan::Projection(projection) => Ok((!self.is_named
                || keeps_compared(projection)?)
                && self.is_clear(&projection.input)?),
            // The join would not find the columns of both under one name.
            LogicalPlan::SubqueryAlias(_) if self.is_compared => Ok(false),
            LogicalPlan::SubqueryAlias(alias) if hides_outer(alias) => Ok(false),
            LogicalPlan::SubqueryAlias(alias) => {
                Path { is_named: true, ..self }.is_clear(&alias.input)
            }
            LogicalPlan::Filter(filter) => {
                let is_compared = self.is_compared || plan.contains_outer_reference();
                let below = Path { is_compared, ..self };
                Ok(self.is_right(filter)? && below.is_clear(&filter.input)?)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let is_whole = aggregate.group_expr.is_empty() && self.wanted == Use::Value;
                let is_first = !self.is_aggregated && !self.is_named;
                Ok(is_whole
                    && is_first
                    && Path { is_aggregated: true, ..self }.is_clear(&aggregate.input)?)
            }
            LogicalPlan::Distinct(Distinct::All(input)) if self.wanted == Use::Condition => {
                self.is_clear(input)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.is_clear(&sort.input),
            LogicalPlan::Join(join) => match join.join_type {
                JoinType::Inner => Ok(self.is_clear(&join.left)? && self.is_clear(&join.right)?),
                JoinType::Left => Ok(!reads_outer(&join.right)? && self.is_clear(&join.left)?),
                JoinType::Right => Ok(!reads_outer(&join.left)? && self.is_clear(&join.right)?),
                _ => Ok(false),
            },
            _ => Ok(false),
        }
    }

    fn is_right(self, filter: &Filter) -> Result<bool> {
        // HAVING.
        if matches!(filter.input.as_ref(), LogicalPlan::Aggregate(_)) {
            return Ok(false);
        }
        for part in split_conjunction(&filter.predicate) {
            if part.contains_outer()
                && (part.is_volatile() || self.is_aggregated && !is_equation(part, filter)?)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a name is also that of a relation around of which a column is read below: the join would not
/// tell them apart.
fn hides_outer(alias: &SubqueryAlias) -> bool {
    alias.input.all_out_ref_exprs().iter().any(|outer| match outer {
        Expr::OuterReferenceColumn(_, column) => alias.schema.has_column(column),
        _ => false,
    })
}

/// `column = outer expression`, both of one type: what an aggregate can be grouped by.
fn is_equation(part: &Expr, filter: &Filter) -> Result<bool> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else {
        return Ok(false);
    };
    let (column, outer) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(_), outer) => (left.as_ref(), outer),
        (outer, Expr::Column(_)) => (right.as_ref(), outer),
        _ => return Ok(false),
    };
    let schema = filter.input.schema();
    Ok(outer.column_refs().is_empty() && column.get_type(schema)? == outer.get_type(schema)?)
}

/// Whether anything in it is a column of the query around.
fn reads_outer(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(node.contains_outer_reference()))
}

/// Whether columns of one name, but of different relations, are compared with outer columns: the join
/// calls what it joins on by their bare names, and takes one for both.
fn compares_a_name_twice(plan: &LogicalPlan) -> Result<bool> {
    let mut names: HashMap<String, Column> = HashMap::new();
    Ok(compared(plan)?.into_iter().any(|column| {
        names.entry(column.name.clone()).or_insert_with(|| column.clone()) != &column
    }))
}

/// Whether its only column has the name of another column that is compared with outer columns: the join
/// would take one for the other.
pub fn names_another(plan: &LogicalPlan) -> Result<bool> {
    let (_, given) = plan.schema().qualified_field(0);
    let is_it = |column: &Column| match plan {
        LogicalPlan::Projection(projection) => {
            matches!(projection.expr[0].clone().unalias(), Expr::Column(own) if own == *column)
        }
        _ => false,
    };
    Ok(compared(plan)?.iter().any(|column| column.name == *given.name() && !is_it(column)))
}

/// Whether the columns that are compared with outer columns below are there above under their names: the
/// join does not put others through a name above it.
fn keeps_compared(projection: &Projection) -> Result<bool> {
    let is_kept = |column: &Column| {
        let mut kept = projection.expr.iter().zip(projection.schema.fields());
        kept.any(|(expr, field)| {
            *field.name() == column.name
                && matches!(expr.clone().unalias(), Expr::Column(own) if own == *column)
        })
    };
    Ok(compared(&projection.input)?.iter().all(is_kept))
}

/// The columns that are compared with outer columns.
fn compared(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut compared = Vec::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            for part in split_conjunction(expr).into_iter().filter(|part| part.contains_outer()) {
                compared.extend(part.column_refs().into_iter().cloned());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(compared)
}
