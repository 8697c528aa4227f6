//! What the functions of JSON give in FROM, as arrays that are taken apart, and records out of objects.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, Visitor,
};

use super::functions::json_set;
use super::pieces::cast;
use crate::error::{Error, Result, SqlState};
use crate::sql::{function_call as call, sql_type, visit};
use crate::types::SqlType;

/// The columns that a query names.
#[derive(Debug, Default)]
pub(crate) struct NamedColumns {
    /// By their names alone.
    plain: HashSet<String>,
    /// Whether there is one called `value`, of any relation.
    pub(super) value: bool,
}

impl Visitor for NamedColumns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => {
                self.plain.insert(name.value.to_lowercase());
                Some(name)
            }
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        self.value |= name.is_some_and(|name| name.value.eq_ignore_ascii_case("value"));
        ControlFlow::Continue(())
    }
}

pub(super) fn column(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef { name, data_type: None }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The columns of what a function of JSON gives, as arrays.
pub(super) fn arrays_of_json(function: &str, arguments: &[Expr]) -> Option<Vec<Expr>> {
    let (family, set) = json_set(function)?;
    let arrays: &[&str] = match set {
        "array_elements" => &["elements"],
        "array_elements_text" => &["elements_text"],
        "object_keys" => &["keys"],
        "each" => &["member_keys", "member_values"],
        _ => &["member_names", "member_texts"],
    };
    let of = |array: &&str| call(&format!("{family}_{array}"), arguments.to_vec());
    Some(arrays.iter().map(of).collect())
}

pub(super) fn columns_of_json(function: &str, alias: &Ident) -> Vec<TableAliasColumnDef> {
    let names: &[&str] = match json_set(function) {
        Some((_, "each" | "each_text")) => &["key", "value"],
        Some((_, "array_elements" | "array_elements_text")) => &["value"],
        _ => return vec![column(alias.clone())],
    };
    names.iter().map(|name| column(Ident::new(*name))).collect()
}

/// The alias with the names of columns that it does not give.
pub(super) fn alias_of_columns(alias: &TableAlias, names: Vec<TableAliasColumnDef>) -> TableAlias {
    let mut alias = alias.clone();
    let given = alias.columns.len();
    alias.columns.extend(names.into_iter().skip(given));
    alias
}

/// `(SELECT jsonb_as_is(value) AS value FROM UNNEST(…) AS e (value)) AS e`: UNNEST forgets that elements
/// are JSON. Who asks for the element of an array AS e by that name gets it by that, too.
pub(super) fn as_json(function: &str, rows: TableFactor, named: &NamedColumns) -> TableFactor {
    let TableFactor::UNNEST { alias: Some(alias), .. } = &rows else { return rows };
    let Some((family, set)) = json_set(function) else { return rows };
    let is_named = set.starts_with("array_elements") && named.plain.contains(&folded(&alias.name));
    if !is_named && !matches!(set, "array_elements" | "each") {
        return rows;
    }
    let last = usize::from(set == "each");
    let mut items = Vec::new();
    for (at, column) in alias.columns.iter().enumerate() {
        let name = &column.name;
        let value = if at == last && !set.ends_with("text") {
            format!("{family}_as_is({name})")
        } else {
            name.to_string()
        };
        let is_element = at == 0 && is_named && folded(name) == "value";
        if !is_element || named.value {
            items.push(format!("{value} AS {name}"));
        }
        if is_element {
            items.push(format!("{value} AS {}", alias.name));
        }
    }
    over(rows.clone(), alias, &items).unwrap_or(rows)
}

/// `(SELECT items FROM rows) AS alias`.
fn over(rows: TableFactor, alias: &TableAlias, items: &[String]) -> Option<TableFactor> {
    let TableFactor::UNNEST { array_exprs, .. } = &rows else { return None };
    let lateral = array_exprs.iter().any(|array| visit(array, &mut ReadsColumns).is_break());
    let text = format!("SELECT {} FROM x", items.join(", "));
    let mut parsed = crate::sql::parse_query(&text).ok()?;
    if let SetExpr::Select(select) = parsed.query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        from.relation = rows;
    }
    let alias = Some(TableAlias { columns: Vec::new(), ..alias.clone() });
    Some(TableFactor::Derived { lateral, subquery: parsed.query, alias, sample: None })
}

/// The family of a function that gives records, and whether it gives several.
pub(super) fn json_record(name: &str) -> Option<(&str, bool)> {
    let (family, rest) = name.split_once('_')?;
    let is_set = match rest {
        "to_record" => false,
        "to_recordset" => true,
        _ => return None,
    };
    matches!(family, "json" | "jsonb").then_some((family, is_set))
}

/// `jsonb_to_record(x) AS r (a INT)` is each member, cast:
/// `(SELECT jsonb_record_text(value, 'a')::int AS a FROM UNNEST(ARRAY[x]) AS r (value)) AS r`.
///
/// # Errors
/// 42601 without the list of columns, 0A000 for a type that a cast reads otherwise than a member.
pub(super) fn records(
    function: &str,
    arguments: &[Expr],
    alias: Option<&TableAlias>,
) -> Result<Option<TableFactor>> {
    let (Some((family, is_set)), [value]) = (json_record(function), arguments) else {
        return Ok(None);
    };
    let missing = || {
        let what = "a column definition list is required for functions returning \"record\"";
        Error::new(SqlState::Syntax, what)
            .hint(format!("Write {function}(…) AS r (a INT, b TEXT)."))
    };
    let alias = alias.ok_or_else(missing)?;
    let mut items = Vec::with_capacity(alias.columns.len());
    for column in &alias.columns {
        let data_type = column.data_type.as_ref().ok_or_else(missing)?;
        let part = part_of(data_type)?;
        let key = folded(&column.name).replace('\'', "''");
        let member = format!("{family}_record_{part}({family}_as_is(value), '{key}')");
        items.push(format!("CAST({member} AS {data_type}) AS {}", column.name));
    }
    if items.is_empty() {
        return Err(missing());
    }
    let array = if is_set {
        call(&format!("{family}_elements"), vec![value.clone()])
    } else {
        let data_type = if family == "json" { DataType::JSON } else { DataType::JSONB };
        call("make_array", vec![cast(value.clone(), data_type)])
    };
    let value = vec![column(Ident::new("value"))];
    let rows = TableFactor::UNNEST {
        alias: Some(TableAlias { columns: value, ..alias.clone() }),
        array_exprs: vec![array],
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    Ok(over(rows, alias, &items))
}

/// As what a member is taken that becomes a value of the type.
fn part_of(data_type: &DataType) -> Result<&'static str> {
    let refused = |hint: &str| {
        let what = format!("type {data_type} in a column definition list is not supported");
        Err(Error::unsupported(what).hint(hint))
    };
    match sql_type(data_type)? {
        SqlType::Json | SqlType::Jsonb => Ok("value"),
        SqlType::Array(element) if matches!(*element, SqlType::Json | SqlType::Jsonb) => {
            refused("Take it as JSONB, and its elements with jsonb_array_elements.")
        }
        SqlType::Array(_) => Ok("texts"),
        // A member that is too long fails, where a cast would cut it off.
        SqlType::Varchar(Some(_)) | SqlType::Bpchar(_) => refused("Take it as TEXT."),
        SqlType::Row(_) => refused("Take it as JSONB."),
        _ => Ok("text"),
    }
}

/// Looks for a column.
struct ReadsColumns;

impl Visitor for ReadsColumns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
