//! Sentences of the planner and of kernels about values and about forms of a query, which have a
//! code of their own.
//!
//! [`known`] finds them by words that stand in them; what it does not know is left to the looser
//! rules of its caller.

use super::{Error, SqlState};

/// The error behind a sentence.
pub(super) fn known(what: &str) -> Option<Error> {
    value(what).or_else(|| shape(what))
}

/// What stands between two texts.
fn between<'a>(what: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = what.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

impl Error {
    /// 0A000: a subquery or UNNEST in FROM that reads columns of what stands beside it.
    pub fn lateral() -> Error {
        let what = "a subquery or UNNEST in FROM that reads columns of the relations beside it";
        Error::unsupported(format!("{what} is not supported yet")).hint(
            "Put unnest() into the SELECT list, as in SELECT id, unnest(tags) FROM s; write a subquery as a join.",
        )
    }
}

/// Values that a function does not take.
fn value(what: &str) -> Option<Error> {
    let lower = what.to_ascii_lowercase();
    let error = |state, message: &str| Some(Error::new(state, message));
    if lower.contains("regex parse error") || lower.contains("regular expression did not compile") {
        let why = what.rsplit("error: ").next().unwrap_or(what).trim();
        return error(SqlState::BadRegex, &format!("invalid regular expression: {why}"));
    }
    if lower.contains("square root of a negative") {
        return error(SqlState::BadPowerArgument, "cannot take square root of a negative number");
    }
    if lower.contains("cannot access field") {
        return error(SqlState::TypeMismatch, "a subscript that its value does not have");
    }
    if lower.contains("expected an integer value") {
        return error(SqlState::BadText, "the argument must be an integer");
    }
    if lower.contains("must be a supported arrow type name") {
        return error(SqlState::UndefinedObject, "there is no such type");
    }
    if lower.contains("ntile requires a positive") {
        return error(SqlState::BadNtileArgument, "argument of ntile must be greater than zero");
    }
    if lower.contains("invalid timezone") {
        let zone = between(what, "\"", "\"")?;
        return error(SqlState::BadArgument, &format!("time zone \"{zone}\" not recognized"));
    }
    if lower.contains("overflow on abs(") || lower.contains("overflow happened on") {
        return error(SqlState::OutOfRange, "value out of range");
    }
    if lower.contains("percentile value must be between") {
        return error(SqlState::OutOfRange, "a percentile must be between 0 and 1");
    }
    let limit = lower.contains("must be >= 0") || lower.contains("must be >=0");
    match (limit, lower.contains("offset")) {
        (true, false) => error(SqlState::BadLimit, "LIMIT must not be negative"),
        (true, true) => error(SqlState::BadOffset, "OFFSET must not be negative"),
        (false, _) => None,
    }
}

/// Forms of a query.
fn shape(what: &str) -> Option<Error> {
    let lower = what.to_ascii_lowercase();
    if lower.contains("outerreferencecolumn") {
        return Some(Error::lateral());
    }
    if lower.contains("unsupported ast node") {
        // What follows is a syntax tree, which tells the user nothing.
        let error = Error::unsupported("this form of SQL is not supported yet");
        return Some(error.hint("Write the query in another way."));
    }
    if lower.contains("correlated scalar subquery must be aggregated") {
        let error = Error::unsupported(
            "a subquery for one value that reads columns of the query around it must be an aggregate",
        );
        return Some(error.hint("Write max(…) or min(…) around its column, or a LEFT JOIN."));
    }
    if lower.contains("unique expression names") {
        let error =
            Error::new(SqlState::DuplicateColumn, "the same expression is there more than once");
        return Some(error.hint(
            "Leave one of them away, or give it a name with AS; of two * write the columns out.",
        ));
    }
    if lower.contains("names given as column alias") {
        let error = Error::new(
            SqlState::InvalidColumnReference,
            "a list of column names must name every column",
        );
        return Some(error.hint("Name all columns, or none; or rename them in the SELECT list."));
    }
    if lower.contains("aggregate function calls cannot be nested") {
        return Some(Error::new(SqlState::Grouping, "aggregate function calls cannot be nested"));
    }
    if lower.contains("non-boolean predicate") {
        return Some(Error::new(
            SqlState::TypeMismatch,
            "the argument of WHERE, HAVING or ON must be boolean",
        ));
    }
    if lower.contains("requires a boolean expression") {
        return Some(Error::new(SqlState::TypeMismatch, "the argument of NOT must be boolean"));
    }
    if lower.contains("position") && lower.contains("select clause")
        || lower.contains("order by column out of bounds")
    {
        let message = "GROUP BY and ORDER BY can only name positions that are in the SELECT list";
        return Some(Error::new(SqlState::InvalidColumnReference, message));
    }
    if lower.contains("can only be applied to array") {
        return Some(
            Error::new(SqlState::UndefinedFunction, "unnest() takes an array")
                .hint("A cast may help."),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_become_codes_and_words_of_sql() {
        let check = |what: &str, state: &str, message: &str| {
            let error = known(what).unwrap();
            assert_eq!((error.state().code(), error.message()), (state, message), "{what}");
        };
        let regex = "regex parse error:\n  (\n  ^\nerror: unclosed group";
        check(regex, "2201B", "invalid regular expression: unclosed group");
        check("LIMIT must be >= 0, '-1' was provided", "2201W", "LIMIT must not be negative");
        assert!(known("anything else").is_none());
    }
}
