//! Writing rows, statement by statement.
