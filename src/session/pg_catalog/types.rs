//! Types by name and by number, as `regtype` and `format_type` tell them: ours, and those of
//! Postgres that clients ask for.

use std::collections::HashMap;
use std::sync::OnceLock;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use super::fixed;
use crate::types::SqlType;

/// Postgres's own types: oid by name, name by oid.
fn postgres() -> &'static (HashMap<String, u32>, HashMap<u32, String>) {
    static TYPES: OnceLock<(HashMap<String, u32>, HashMap<u32, String>)> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut both = (HashMap::new(), HashMap::new());
        let Ok(Some(rows)) = fixed::rows("pg_type") else { return both };
        let (Some(oids), Some(names)) =
            (rows.column_by_name("oid"), rows.column_by_name("typname"))
        else {
            return both;
        };
        let (Some(oids), Some(names)) =
            (oids.as_primitive_opt::<Int64Type>(), names.as_string_opt::<i32>())
        else {
            return both;
        };
        for row in (0..rows.num_rows()).filter(|row| names.is_valid(*row)) {
            let oid = u32::try_from(oids.value(row)).unwrap_or_default();
            both.0.insert(names.value(row).to_owned(), oid);
            both.1.insert(oid, names.value(row).to_owned());
        }
        both
    })
}

fn postgres_name(oid: i64) -> Option<&'static str> {
    postgres().1.get(&u32::try_from(oid).ok()?).map(String::as_str)
}

/// The oid of a type by any of its names.
pub(crate) fn type_oid(name: &str) -> Option<u32> {
    let name = name.trim();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if let Ok(oid) = name.parse() {
        return Some(oid);
    }
    let (element, is_array) = match name.strip_prefix('_').or_else(|| name.strip_suffix("[]")) {
        Some(element) => (element, true),
        None => (name, false),
    };
    let known = match element {
        "name" => SqlType::Name,
        "oid" => SqlType::Oid,
        "\"char\"" | "char" => SqlType::Char,
        other => match crate::sql::parse_type(other) {
            Ok(known) => known,
            // A type of Postgres's that Tidemill has no values of.
            Err(_) => return postgres().0.get(name.trim_matches('"')).copied(),
        },
    };
    Some(if is_array { SqlType::Array(Box::new(known)).oid() } else { known.oid() })
}

/// `pg_type.typname`.
pub(crate) fn type_name(oid: i64) -> String {
    let name = match oid {
        16 => "bool",
        17 => "bytea",
        18 => "char",
        19 => "name",
        20 => "int8",
        21 => "int2",
        23 => "int4",
        25 => "text",
        26 => "oid",
        114 => "json",
        700 => "float4",
        701 => "float8",
        1042 => "bpchar",
        1043 => "varchar",
        1082 => "date",
        1083 => "time",
        1114 => "timestamp",
        1184 => "timestamptz",
        1186 => "interval",
        1700 => "numeric",
        2249 => "record",
        2950 => "uuid",
        3802 => "jsonb",
        other => {
            return match u32::try_from(other).ok().and_then(SqlType::from_oid) {
                Some(SqlType::Array(element)) => format!("_{}", type_name(element.oid().into())),
                Some(known) => known.to_string(),
                None => postgres_name(other).unwrap_or("unknown").to_owned(),
            };
        }
    };
    name.to_owned()
}

/// `format_type`: the type with what its modifier says.
pub(crate) fn format_type(oid: i64, modifier: Option<i64>) -> String {
    let modifier = modifier.filter(|modifier| *modifier >= 0);
    let plain = match oid {
        0 => return "-".to_owned(),
        1043 => "character varying".to_owned(),
        1042 => "character".to_owned(),
        2205 => "regclass".to_owned(),
        2206 => "regtype".to_owned(),
        24 => "regproc".to_owned(),
        2278 => "void".to_owned(),
        2276 => "\"any\"".to_owned(),
        2283 => "anyelement".to_owned(),
        22 => "int2vector".to_owned(),
        30 => "oidvector".to_owned(),
        1015 => "character varying[]".to_owned(),
        other => match u32::try_from(other).ok().and_then(SqlType::from_oid) {
            Some(known) => known.to_string(),
            None => match postgres_name(other) {
                Some(name) => {
                    name.strip_prefix('_').map_or_else(|| name.to_owned(), |of| format!("{of}[]"))
                }
                None => "???".to_owned(),
            },
        },
    };
    match (oid, modifier) {
        (1042 | 1043, Some(m)) if m > 4 => format!("{plain}({})", m - 4),
        (1700, Some(m)) if m > 4 => {
            format!("numeric({},{})", ((m - 4) >> 16) & 0xffff, (m - 4) & 0x7ff)
        }
        (1114 | 1184, Some(m)) => plain.replacen("timestamp", &format!("timestamp({m})"), 1),
        _ => plain,
    }
}

/// An operator as `regoperator` writes it: `=(integer,bigint)`.
pub(crate) fn operator_name(oid: i64) -> String {
    let named = || -> Option<String> {
        let rows = fixed::rows("pg_operator").ok()??;
        let numbers = |name: &str| rows.column_by_name(name)?.as_primitive_opt::<Int64Type>();
        let row = numbers("oid")?.iter().position(|found| found == Some(oid))?;
        let name = rows.column_by_name("oprname")?.as_string_opt::<i32>()?.value(row);
        let side = |column: &str| match numbers(column).map(|numbers| numbers.value(row)) {
            None | Some(0) => "NONE".to_owned(),
            Some(found) => format_type(found, None),
        };
        Some(format!("{name}({},{})", side("oprleft"), side("oprright")))
    };
    named().unwrap_or_else(|| oid.to_string())
}
