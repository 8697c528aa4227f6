//! Functions in FROM.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, TableAlias, TableAliasColumnDef, TableFactor, Visitor,
};

use super::is_interval;
use super::pieces::{plain, plain_name};
use crate::sql::function_call as call;

/// Looks for a column `value`.
pub(crate) struct NamesValue;

impl Visitor for NamesValue {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if name.is_some_and(|name| name.value.eq_ignore_ascii_case("value")) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Functions in FROM: `LATERAL unnest(…)` is UNNEST, and the column of `generate_series(…) AS g` is
/// g. Who asks for it by DataFusion's name, `value`, gets it by that.
pub(crate) fn table(factor: &mut TableFactor, names_value: bool) -> Option<TableFactor> {
    let unnest = |alias: &Option<TableAlias>, array_exprs| TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    let (name, arguments, alias) = match factor {
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => {
            (&*name, &*args, alias)
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (&*name, &args.args, alias)
        }
        _ => return None,
    };
    let arguments = plain(arguments)?;
    match plain_name(name)?.as_str() {
        "unnest" => {
            // Its one column is called as it is there.
            if let (Some(alias), [_]) = (alias.as_mut(), arguments.as_slice())
                && alias.columns.is_empty()
            {
                alias
                    .columns
                    .push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
            }
            Some(unnest(alias, arguments))
        }
        "generate_series" => {
            let named = || TableAlias {
                explicit: true,
                name: Ident::new("generate_series"),
                columns: Vec::new(),
                at: None,
            };
            let alias = alias.get_or_insert_with(named);
            if alias.columns.is_empty() && !names_value {
                alias
                    .columns
                    .push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
            }
            // Of times it is an array.
            let alias = Some(alias.clone());
            arguments
                .last()
                .is_some_and(is_interval)
                .then(|| unnest(&alias, vec![call("generate_series", arguments)]))
        }
        _ => None,
    }
}
