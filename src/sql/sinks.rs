//! CREATE SINK.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::options;
use super::query;
use super::reader::Reader;
use super::statement::{CreateSink, Options, SinkSource, Statement};
use crate::error::Result;

/// `[IF NOT EXISTS] name {FROM relation | AS query [EMIT …]}`, with WITH (…) before or behind that.
pub(super) fn create(r: &mut Reader) -> Result<Statement> {
    let if_not_exists = r.eat_all(&["IF", "NOT", "EXISTS"]);
    let name = r.name()?;
    let before = with(r)?;
    let source = if r.eat("FROM") {
        SinkSource::Relation(r.name()?)
    } else if r.eat("AS") {
        let from = r.byte();
        let query = query::continuous(r)?;
        SinkSource::Query(query, r.text_since(from))
    } else {
        return Err(r.unexpected().hint("Expected FROM view, or AS query."));
    };
    let options = if before.0.is_empty() { with(r)? } else { before };
    Ok(Statement::CreateSink(Box::new(CreateSink { name, if_not_exists, source, options })))
}

/// WITH (…). `text::mark_own_options` has put a semicolon before it, so that the query does not
/// swallow it.
fn with(r: &mut Reader) -> Result<Options> {
    r.eat_token(&Token::SemiColon);
    options::optional(r)
}
