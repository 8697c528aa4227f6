//! TUMBLE, HOP, CUMULATE and SESSION in FROM: RisingWave's and Flink's spellings become one.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor,
    TableFunctionArgs, TableWithJoins, WildcardAdditionalOptions,
    helpers::attached_token::AttachedToken,
};

use super::names::ident_name;
use super::tree::query_of;
use crate::error::{Error, Result, SqlState};

/// A window function: its name, and the names of its arguments in their order.
pub(super) struct WindowSyntax {
    pub name: &'static str,
    arguments: &'static [&'static str],
    /// How many of the arguments must be there.
    needed: usize,
    usage: &'static str,
}

const WINDOWS: &[WindowSyntax] = &[
    WindowSyntax {
        name: "tumble",
        arguments: &["data", "timecol", "size", "offset"],
        needed: 3,
        usage: "TUMBLE(relation, time column, size [, offset])",
    },
    WindowSyntax {
        name: "hop",
        arguments: &["data", "timecol", "slide", "size", "offset"],
        needed: 4,
        usage: "HOP(relation, time column, slide, size [, offset])",
    },
    WindowSyntax {
        name: "cumulate",
        arguments: &["data", "timecol", "step", "size", "offset"],
        needed: 4,
        usage: "CUMULATE(relation, time column, step, size [, offset])",
    },
    WindowSyntax {
        name: "session",
        arguments: &["data", "timecol", "gap"],
        needed: 3,
        usage: "SESSION(relation [PARTITION BY key], time column, gap)",
    },
];

/// Whether a function of that name is read as a window, or as a column of one.
pub fn is_window_function(name: &str) -> bool {
    let (begin, column) = name.split_once('_').unwrap_or((name, "start"));
    let is_column = ["start", "end", "rowtime", "proctime"].contains(&column);
    is_column && WINDOWS.iter().any(|window| window.name == begin) || name == "proctime"
}

/// The window function of that name.
pub(super) fn window(name: &ObjectName) -> Option<&'static WindowSyntax> {
    let [part] = name.0.as_slice() else { return None };
    let name = ident_name(part.as_ident()?);
    WINDOWS.iter().find(|window| window.name == name)
}

/// Brings a window function in FROM into normal form; anything else stays as it is.
pub(super) fn rewrite(factor: &mut TableFactor) -> Result<()> {
    let (window, arguments, alias) = match factor {
        TableFactor::Table { name, args: Some(arguments), alias, .. } => {
            let Some(window) = window(name) else { return Ok(()) };
            (window, std::mem::take(&mut arguments.args), alias.take())
        }
        TableFactor::Function { name, args, alias, .. } => {
            let Some(window) = window(name) else { return Ok(()) };
            (window, std::mem::take(args), alias.take())
        }
        TableFactor::TableFunction { expr, alias } => match call(expr) {
            Some((name, arguments)) => match window(&name) {
                Some(window) => (window, arguments, alias.take()),
                None => {
                    *factor = table_function(name, arguments, alias.take());
                    return Ok(());
                }
            },
            None => {
                return Err(Error::new(SqlState::Syntax, "TABLE(…) takes a function call").hint(
                    "For example TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '10' SECOND)).",
                ));
            }
        },
        _ => return Ok(()),
    };
    *factor = normal(window, arguments, alias)?;
    Ok(())
}

/// Takes a plain function call apart.
fn call(expr: &mut Expr) -> Option<(ObjectName, Vec<FunctionArg>)> {
    match expr {
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) => {
            Some((name.clone(), std::mem::take(&mut list.args)))
        }
        Expr::Nested(inner) => call(inner),
        _ => None,
    }
}

fn normal(
    window: &WindowSyntax,
    arguments: Vec<FunctionArg>,
    alias: Option<TableAlias>,
) -> Result<TableFactor> {
    let mut ordered = in_order(window, arguments)?.into_iter();
    let (Some(data), Some(time)) = (ordered.next(), ordered.next()) else {
        return Err(usage(window));
    };
    let mut normal = vec![relation(window, data)?, time_column(window, time)?];
    normal.extend(ordered);
    Ok(build(window.name, normal, alias))
}

/// The normal form of a window in FROM.
pub(super) fn build(name: &str, arguments: Vec<Expr>, alias: Option<TableAlias>) -> TableFactor {
    let unnamed =
        arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    table_function(ObjectName::from(vec![Ident::new(name)]), unnamed.collect(), alias)
}

fn table_function(
    name: ObjectName,
    args: Vec<FunctionArg>,
    alias: Option<TableAlias>,
) -> TableFactor {
    table(name, Some(TableFunctionArgs { args, settings: None }), alias)
}

/// A relation in FROM, or with arguments a function.
pub(super) fn table(
    name: ObjectName,
    args: Option<TableFunctionArgs>,
    alias: Option<TableAlias>,
) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn usage(window: &WindowSyntax) -> Error {
    Error::new(
        SqlState::UndefinedFunction,
        format!("wrong arguments for {}", window.name.to_uppercase()),
    )
    .hint(format!("Write {}.", window.usage))
}

/// The arguments by position, whether they were named or not; the keys of SESSION behind them.
fn in_order(window: &WindowSyntax, arguments: Vec<FunctionArg>) -> Result<Vec<Expr>> {
    let mut slots: Vec<Option<Expr>> = window.arguments.iter().map(|_| None).collect();
    let mut keys = Vec::new();
    let named = arguments.iter().any(|argument| !matches!(argument, FunctionArg::Unnamed(_)));
    for (n, argument) in arguments.into_iter().enumerate() {
        let (slot, expr) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
                if named && window.name == "session" =>
            {
                (None, expr)
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if !named || n == 0 => {
                (Some(n), expr)
            }
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                let name = ident_name(&name).to_lowercase();
                let slot = window.arguments.iter().position(|a| *a == name);
                (Some(slot.ok_or_else(|| unknown_argument(window, &name))?), expr)
            }
            _ => return Err(usage(window)),
        };
        match slot.and_then(|slot| slots.get_mut(slot)) {
            Some(slot @ None) => *slot = Some(expr),
            None if window.name == "session" => keys.push(expr),
            _ => return Err(usage(window)),
        }
    }
    let filled = slots.iter().take_while(|slot| slot.is_some()).count();
    if filled < window.needed || slots.iter().skip(filled).any(Option::is_some) {
        return Err(usage(window));
    }
    let mut ordered: Vec<Expr> = slots.into_iter().flatten().collect();
    ordered.append(&mut keys);
    Ok(ordered)
}

fn unknown_argument(window: &WindowSyntax, name: &str) -> Error {
    let known: Vec<String> = window.arguments.iter().map(|a| a.to_uppercase()).collect();
    Error::new(
        SqlState::UndefinedFunction,
        format!("{} has no argument {}", window.name.to_uppercase(), name.to_uppercase()),
    )
    .hint(format!("Its arguments are {}.", known.join(", ")))
}

/// The first argument as a subquery.
fn relation(window: &WindowSyntax, data: Expr) -> Result<Expr> {
    let factor = match data {
        Expr::Nested(inner) => return relation(window, *inner),
        Expr::Subquery(query) => return Ok(Expr::Subquery(query)),
        Expr::Identifier(ident) => table(ObjectName::from(vec![ident]), None, None),
        Expr::CompoundIdentifier(parts) => table(ObjectName::from(parts), None, None),
        mut other => match call(&mut other) {
            Some((name, arguments)) => table_function(name, arguments, None),
            None => return Err(usage(window)),
        },
    };
    Ok(Expr::Subquery(Box::new(select_all(factor))))
}

/// The second argument as a column's name.
fn time_column(window: &WindowSyntax, time: Expr) -> Result<Expr> {
    match time {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(time),
        Expr::Nested(inner) => time_column(window, *inner),
        mut other => match call(&mut other) {
            Some((name, arguments)) if name.to_string().eq_ignore_ascii_case("descriptor") => {
                match <[FunctionArg; 1]>::try_from(arguments) {
                    Ok(
                        [
                            FunctionArg::Unnamed(FunctionArgExpr::Expr(
                                column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)),
                            )),
                        ],
                    ) => Ok(column),
                    _ => Err(usage(window)),
                }
            }
            _ => Err(usage(window).detail("The time column must be a column's name.")),
        },
    }
}

/// `SELECT * FROM factor`.
pub fn select_all(factor: TableFactor) -> Query {
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation: factor, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    query_of(Box::new(SetExpr::Select(Box::new(select))))
}
