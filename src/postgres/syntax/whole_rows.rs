//! A relation's name where a value is wanted: its row (PostgreSQL manual, 8.16.5).
//!
//! ```text
//! SELECT row_to_json(e), (e).name, count(d.*) FROM emp e LEFT JOIN dep d ON …
//! ─▶ SELECT row_to_json(named_row('id', e.id, …)), (named_row(…)).name,
//!      count(CASE WHEN d.code IS NOT NULL OR … THEN named_row('code', d.code, …) END) FROM …
//! ```
//! A column of that name comes first. On the side of an outer join that may have no row, a row of NULLs
//! alone is taken for none.
//!
//! Which columns a relation has is asked of the planner, which costs, and so comes after a query that could
//! not be planned for it; but for `f(e.*)`, of which DataFusion makes `f(*)`.

use std::cell::OnceCell;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    JoinOperator, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, TableWithJoins, Value, VisitorMut, WildcardAdditionalOptions, With,
};

use super::scopes::{ColumnsOf, Level, within};
use super::wrapped::named;
use crate::error::{Error, Result};
use crate::postgres::functions::NAMED_ROW;
use crate::sql::{
    alias_of, column_of, function_call, ident_name, select_all, visit_expressions, visit_mut,
};

/// Puts rows in the place of relations' names; `wildcards`: only in that of `f(e.*)`. Says whether there are
/// any.
///
/// # Errors
/// Those of asking for columns, but for names that are not there.
pub fn spell_rows(query: &mut Query, wildcards: bool, columns_of: &ColumnsOf<'_>) -> Result<bool> {
    let mut rows = SpelledRows {
        columns_of,
        wildcards,
        with: Vec::new(),
        scopes: Vec::new(),
        is_changed: false,
    };
    match visit_mut(query, &mut rows) {
        ControlFlow::Continue(()) => Ok(rows.is_changed),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether a function is called with `e.*`.
pub fn has_row_wildcards(query: &Query) -> bool {
    visit_expressions(query, |expr| match expr {
        Expr::Function(Function { args: FunctionArguments::List(list), .. })
            if list.args.iter().any(is_wildcard) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

fn is_wildcard(arg: &FunctionArg) -> bool {
    matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)))
}

fn arguments(function: &mut Function) -> impl Iterator<Item = &mut FunctionArg> {
    match &mut function.args {
        FunctionArguments::List(list) => list.args.as_mut_slice(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => &mut [],
    }
    .iter_mut()
}

struct SpelledRows<'a> {
    columns_of: &'a ColumnsOf<'a>,
    wildcards: bool,
    /// Of each query around.
    with: Vec<Option<With>>,
    /// Of each SELECT around.
    scopes: Vec<RowScope>,
    is_changed: bool,
}

/// A FROM.
struct RowScope {
    from: Vec<TableWithJoins>,
    relations: Vec<RowSource>,
    /// All of its columns, once they have been asked for.
    columns: ToldNames,
}

/// Names of columns; `None`: they cannot be told.
type ToldNames = OnceCell<Option<Vec<String>>>;

/// A relation of it.
struct RowSource {
    name: Ident,
    /// An outer join may have no row of it.
    may_be_missing: bool,
    /// Its columns, once they have been asked for.
    columns: ToldNames,
}

impl RowSource {
    fn new(name: Ident, may_be_missing: bool) -> RowSource {
        RowSource { name, may_be_missing, columns: OnceCell::new() }
    }
}

fn sources(from: &[TableWithJoins], may_be_missing: bool, all: &mut Vec<RowSource>) {
    for table in from {
        let begin = all.len();
        source(&table.relation, may_be_missing, all);
        for join in &table.joins {
            let (before, own) = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::OuterApply => {
                    (false, true)
                }
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                JoinOperator::FullOuter(_) => (true, true),
                _ => (false, false),
            };
            for earlier in &mut all[begin..] {
                earlier.may_be_missing |= before;
            }
            source(&join.relation, may_be_missing || own, all);
        }
    }
}

fn source(factor: &TableFactor, may_be_missing: bool, all: &mut Vec<RowSource>) {
    match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => {
            sources(std::slice::from_ref(table_with_joins), may_be_missing, all);
        }
        _ => all.extend(alias_of(factor).map(|name| RowSource::new(name, may_be_missing))),
    }
}

impl SpelledRows<'_> {
    /// The columns of what is selected from a FROM; `None`: they cannot be told.
    fn columns(&self, from: &[TableWithJoins], item: SelectItem) -> Option<Vec<String>> {
        let first = from.first()?;
        let mut query = select_all(first.relation.clone());
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.from = from.to_vec();
            select.projection = vec![item];
        }
        let levels: Vec<Level> = self.with.iter().flatten().cloned().map(Level::With).collect();
        let told = (self.columns_of)(within(query, &levels, false)).ok()?;
        Some(told.into_iter().map(|column| column.name).collect())
    }

    /// The relation that is called so, with its columns, if no column is called so.
    fn relation(&self, name: &Ident, is_relation: bool) -> Option<(&RowSource, &[String])> {
        let wanted = ident_name(name);
        let is_it = |source: &&RowSource| ident_name(&source.name) == wanted;
        if !self.scopes.iter().any(|scope| scope.relations.iter().any(|one| is_it(&one))) {
            return None;
        }
        for scope in self.scopes.iter().rev() {
            let all = || SelectItem::Wildcard(WildcardAdditionalOptions::default());
            let seen = || scope.columns.get_or_init(|| self.columns(&scope.from, all()));
            if !is_relation && seen().as_ref()?.contains(&wanted) {
                return None;
            }
            if let Some(source) = scope.relations.iter().find(is_it) {
                let name = ObjectName::from(vec![source.name.clone()]);
                let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                let own = SelectItem::QualifiedWildcard(kind, WildcardAdditionalOptions::default());
                let told = source.columns.get_or_init(|| self.columns(&scope.from, own));
                return Some((source, told.as_deref()?));
            }
        }
        None
    }

    fn put(&mut self, place: &mut Expr, name: &Ident, is_relation: bool) -> bool {
        let row = self.relation(name, is_relation).map(|(source, columns)| row_of(source, columns));
        let is_row = row.is_some();
        if let Some(row) = row {
            *place = row;
            self.is_changed = true;
        }
        is_row
    }

    /// `e IS NULL` and `e IS NOT NULL` are said of all columns.
    fn put_test(&mut self, test: &mut Expr) {
        let (tested, of_column): (_, fn(Box<Expr>) -> Expr) = match &*test {
            Expr::IsNull(tested) => (tested, Expr::IsNull),
            Expr::IsNotNull(tested) => (tested, Expr::IsNotNull),
            _ => return,
        };
        let Expr::Identifier(name) = tested.as_ref() else { return };
        let Some((source, columns)) = self.relation(name, false) else { return };
        let tests =
            columns.iter().map(|column| of_column(Box::new(column_of(&source.name, column))));
        if let Some(all) = joined(tests, &BinaryOperator::And) {
            *test = Expr::Nested(Box::new(all));
            self.is_changed = true;
        }
    }

    /// `ROW(e.*)` is of the columns.
    fn spread(&mut self, function: &mut Function) {
        let FunctionArguments::List(list) = &mut function.args else { return };
        let spread = list.args.iter().flat_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                let name = name.0.last().and_then(|part| part.as_ident());
                match name.and_then(|name| self.relation(name, true)) {
                    Some((source, columns)) => {
                        let column = |name: &String| column_of(&source.name, name);
                        let columns = columns.iter().map(column).map(FunctionArgExpr::Expr);
                        columns.map(FunctionArg::Unnamed).collect()
                    }
                    None => vec![arg.clone()],
                }
            }
            _ => vec![arg.clone()],
        });
        list.args = spread.collect();
    }

    /// `f(e.*)`.
    fn put_in_place_of_wildcard(&mut self, arg: &mut FunctionArgExpr) {
        let FunctionArgExpr::QualifiedWildcard(name) = arg else { return };
        let Some(name) = name.0.last().and_then(|part| part.as_ident()).cloned() else { return };
        let mut row = Expr::Identifier(name.clone());
        if self.put(&mut row, &name, true) {
            *arg = FunctionArgExpr::Expr(row);
        }
    }
}

fn joined(parts: impl Iterator<Item = Expr>, op: &BinaryOperator) -> Option<Expr> {
    parts.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    })
}

fn row_of(source: &RowSource, columns: &[String]) -> Expr {
    let fields = columns.iter().flat_map(|name| {
        let text = Value::SingleQuotedString(name.clone());
        [Expr::value(text), column_of(&source.name, name)]
    });
    let row = function_call(NAMED_ROW, fields.collect());
    if !source.may_be_missing {
        return row;
    }
    let there = columns.iter().map(|name| Expr::IsNotNull(Box::new(column_of(&source.name, name))));
    let is_there = joined(there, &BinaryOperator::Or);
    match is_there {
        Some(is_there) => super::spellings::case_when(is_there, row, Expr::value(Value::Null)),
        None => row,
    }
}

impl VisitorMut for SpelledRows<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.with.push(query.with.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.with.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let mut relations = Vec::new();
        sources(&select.from, false, &mut relations);
        self.scopes.push(RowScope {
            from: select.from.clone(),
            relations,
            columns: OnceCell::new(),
        });
        if self.wildcards {
            return ControlFlow::Continue(());
        }
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let Expr::Identifier(name) = expr.clone() else { continue };
            if self.put(expr, &name, false) {
                *item = named(expr.clone(), &ident_name(&name));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if !self.wildcards {
            self.put_test(expr);
        }
        if let Expr::Function(function) = expr {
            if function.name.to_string().eq_ignore_ascii_case("row") {
                self.spread(function);
            }
            for arg in arguments(function) {
                let (FunctionArg::Unnamed(arg)
                | FunctionArg::Named { arg, .. }
                | FunctionArg::ExprNamed { arg, .. }) = arg;
                self.put_in_place_of_wildcard(arg);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let (Expr::Identifier(name), false) = (&*expr, self.wildcards) {
            let name = name.clone();
            self.put(expr, &name, false);
        }
        ControlFlow::Continue(())
    }
}
