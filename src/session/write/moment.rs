//! `now()` and PROCTIME() as constants: a statement has one moment, and it is the one the session
//! has told us.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, VisitMut, VisitorMut};

use super::super::transaction::WriteContext;
use crate::error::Result;
use crate::pgtypes::values::TextStyle;
use crate::sql::visit_mut;
use crate::types::SqlType;

/// Puts the moment in place of the functions that stand for it, in an expression or in a whole
/// query.
pub(super) fn freeze(part: &mut impl VisitMut, cx: &WriteContext) -> Result<()> {
    replace_clock(part, literal(cx)?);
    Ok(())
}

/// Puts `now`, a TIMESTAMPTZ, in place of the functions that read the clock; whether there are any.
pub fn replace_clock(part: &mut impl VisitMut, now: Expr) -> bool {
    let mut freezer = Freezer { now, is_found: false };
    let _: ControlFlow<()> = visit_mut(part, &mut freezer);
    freezer.is_found
}

struct Freezer {
    now: Expr,
    is_found: bool,
}

impl VisitorMut for Freezer {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(call) = expr else {
            return ControlFlow::Continue(());
        };
        let Some(name) = call.name.0.last().and_then(|part| part.as_ident()) else {
            return ControlFlow::Continue(());
        };
        let empty = match &call.args {
            ast::FunctionArguments::None => true,
            ast::FunctionArguments::List(list) => list.args.is_empty(),
            ast::FunctionArguments::Subquery(_) => false,
        };
        let as_type = match (empty, name.value.to_ascii_lowercase().as_str()) {
            (
                true,
                "now"
                | "proctime"
                | "current_timestamp"
                | "transaction_timestamp"
                | "statement_timestamp"
                | "clock_timestamp",
            ) => {
                *expr = self.now.clone();
                self.is_found = true;
                return ControlFlow::Continue(());
            }
            (true, "localtimestamp") => ast::DataType::Timestamp(None, ast::TimezoneInfo::None),
            (true, "current_date") => ast::DataType::Date,
            (true, "current_time" | "localtime") => {
                ast::DataType::Time(None, ast::TimezoneInfo::None)
            }
            _ => return ControlFlow::Continue(()),
        };
        self.is_found = true;
        *expr = Expr::Cast {
            kind: ast::CastKind::Cast,
            expr: Box::new(self.now.clone()),
            data_type: as_type,
            array: false,
            format: None,
        };
        ControlFlow::Continue(())
    }
}

/// The moment as `'…'::timestamptz`.
fn literal(cx: &WriteContext) -> Result<Expr> {
    let micros = cx.now_ms.saturating_mul(1_000);
    let array = arrow::array::TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC");
    let field = SqlType::TimestampTz(6).to_field("now", true);
    let mut text = bytes::BytesMut::new();
    crate::pgtypes::values::Encoder::new(&field).text(&array, 0, &TextStyle::default(), &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    crate::sql::parse_expr(&format!("CAST('{text}' AS TIMESTAMP WITH TIME ZONE)"))
}
