//! Runs the statements of a file one after the other through a session, and says in which line it
//! stopped.
//!
//! A script is cut into statements here, and each is given to the session by itself: those before a
//! mistake have then run, as with psql. The cutting knows no SQL but what a semicolon may hide in:
//! quotes, dollar quotes and comments.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;

use crate::error::{Error, Result};
use crate::pgtypes::values::TextStyle;
use crate::session::{
    ClientSession, Outcome, Params, Protocol, SessionFactory, SideMessage, Startup,
};

/// A file with SQL.
#[derive(Debug, Clone)]
pub struct Script {
    /// As the user named it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Script {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Script, Failure> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Script { name, text }),
            Err(error) => Err(Failure::whole(name, Error::from(error))),
        }
    }
}

/// Where a script, or the start of the server, stopped and why.
#[derive(Debug)]
pub struct Failure {
    /// `file:line` or `file`; None when it is no script's fault.
    pub place: Option<String>,
    /// Why.
    pub error: Error,
}

impl Failure {
    /// A failure of a file as a whole.
    pub fn whole(name: String, error: Error) -> Failure {
        Failure { place: Some(name), error }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { place: None, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.error)?,
            None => write!(f, "{}", self.error)?,
        }
        if let Some(detail) = self.error.detail_text() {
            write!(f, "\n  detail: {detail}")?;
        }
        if let Some(hint) = self.error.hint_text() {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Takes what a script's statements give.
#[async_trait]
pub trait Output: Send {
    /// The result of a statement, to be read to its end. Never [`Outcome::CopyIn`].
    async fn take(&mut self, outcome: Outcome, style: &TextStyle) -> Result<()>;

    /// What a statement had to say besides.
    fn notice(&mut self, severity: &str, message: &Error);
}

/// Reads results and shows none: for scripts at the start of a server.
pub(super) struct Quiet;

#[async_trait]
impl Output for Quiet {
    async fn take(&mut self, outcome: Outcome, _: &TextStyle) -> Result<()> {
        match outcome {
            Outcome::Rows(mut rows) => while rows.stream.next().await.transpose()?.is_some() {},
            Outcome::CopyOut(mut data) => while data.stream.next().await.transpose()?.is_some() {},
            Outcome::Done(_) | Outcome::CopyIn(_) => {}
        }
        Ok(())
    }

    fn notice(&mut self, severity: &str, message: &Error) {
        tracing::info!("{severity}: {message}");
    }
}

/// Runs a script to its end or its first error.
pub(super) async fn run(
    sessions: Arc<dyn SessionFactory>,
    script: Script,
    mut output: Box<dyn Output>,
) -> Result<(), Failure> {
    let startup = Startup {
        user: "tidemill".to_owned(),
        database: "tidemill".to_owned(),
        settings: vec![("application_name".to_owned(), script.name.clone())],
        id: 0,
    };
    let mut session = sessions.open(startup).await?;
    // What a session says of its settings at the beginning is for drivers.
    session.drain_messages();
    for statement in statements(&script.text) {
        if let Err(error) = run_one(session.as_mut(), statement.text, output.as_mut()).await {
            let line = statement.line_of(&script.text, error.position());
            return Err(Failure { place: Some(format!("{}:{line}", script.name)), error });
        }
    }
    Ok(())
}

async fn run_one(
    session: &mut dyn ClientSession,
    text: &str,
    output: &mut dyn Output,
) -> Result<()> {
    if text.starts_with('\\') {
        return Err(Error::unsupported("backslash commands are psql's, and not SQL")
            .hint("Take them out of the script, or run it with psql -f against a server."));
    }
    for statement in session.split(text).await? {
        // As in the extended protocol: rows come as rows, those of a SUBSCRIBE too.
        let outcome = session.execute(&statement, Params::new(), Protocol::Extended).await?;
        notices(session, output);
        if let Outcome::CopyIn(_) = outcome {
            return Err(Error::unsupported("COPY … FROM STDIN has no input in a script").hint(
                "Write INSERT … VALUES, or read the data from a file: CREATE SOURCE … WITH (connector = 'file', path = '…', format = 'csv').",
            ));
        }
        let style = session.text_style();
        output.take(outcome, &style).await?;
        session.sync().await?;
        notices(session, output);
    }
    Ok(())
}

fn notices(session: &mut dyn ClientSession, output: &mut dyn Output) {
    for message in session.drain_messages() {
        if let SideMessage::Notice(severity, what) = message {
            output.notice(severity, &what);
        }
    }
}

/// One statement of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ScriptStatement<'a> {
    /// Where it begins, in bytes.
    start: usize,
    /// Without what stands before it and without its semicolon.
    text: &'a str,
}

impl ScriptStatement<'_> {
    /// The line, from 1, of a position (1-based, in characters) in the statement; of its beginning
    /// when none is known.
    fn line_of(&self, script: &str, position: Option<usize>) -> usize {
        let before = script.get(..self.start).unwrap_or_default();
        let chars = position.map_or(0, |position| position.saturating_sub(1));
        let within = self.text.chars().take(chars).filter(|c| *c == '\n').count();
        1 + before.matches('\n').count() + within
    }
}

/// Cuts a script at the semicolons that end statements.
fn statements(script: &str) -> Vec<ScriptStatement<'_>> {
    let mut found = Vec::new();
    // Where the statement began, once there is one.
    let mut start = None;
    let mut at = 0;
    while let Some(c) = script[at..].chars().next() {
        let rest = &script[at..];
        if let Some(length) = comment(rest) {
            at += length;
            continue;
        }
        if c == ';' {
            if let Some(start) = start.take() {
                found.push(ScriptStatement { start, text: script[start..at].trim_end() });
            }
            at += 1;
            continue;
        }
        if !c.is_whitespace() {
            start.get_or_insert(at);
        }
        at += token(script, at, c);
    }
    if let Some(start) = start {
        found.push(ScriptStatement { start, text: script[start..].trim_end() });
    }
    found
}

/// The length of the comment that `rest` begins with.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("--") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    // Comments nest, as in Postgres.
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(rest.len())
}

/// The length of what begins at `at` with `c` and must not be cut: a quoted text, a word, or the
/// character alone.
fn token(script: &str, at: usize, c: char) -> usize {
    let rest = &script[at..];
    let until = |end: usize, closing: &str| {
        rest[end..].find(closing).map_or(rest.len(), |found| end + found + closing.len())
    };
    match c {
        '"' => until(1, "\""),
        '\'' if is_escape_string(script, at) => escaped(rest),
        // A doubled quote ends one text and begins the next: that is the same to us.
        '\'' => until(1, "'"),
        '$' => match dollar_tag(rest) {
            Some(tag) => until(tag.len(), tag),
            None => 1,
        },
        _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        _ => c.len_utf8(),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Is the quote at `at` that of E'…', where a backslash takes the next character along?
fn is_escape_string(script: &str, at: usize) -> bool {
    let mut before = script[..at].chars().rev();
    matches!(before.next(), Some('e' | 'E')) && !before.next().is_some_and(is_word)
}

fn escaped(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '\'' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `$$` or `$tag$` at the beginning.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let name = &rest[1..end];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| &rest[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<&str> {
        statements(script).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_end_statements_but_not_in_quotes_and_comments() {
        let script = "-- a; comment\nSELECT ';', \"a;b\" /* x; /* y; */ ; */ ;\n\n;  ;SELECT $$;$$, $t$ $$; $t$;\n";
        assert_eq!(
            texts(script),
            ["SELECT ';', \"a;b\" /* x; /* y; */ ; */", "SELECT $$;$$, $t$ $$; $t$"]
        );
        assert_eq!(
            texts(r"SELECT E'it\'s; ', 'it''s; ', '\'; SELECT 2"),
            [r"SELECT E'it\'s; ', 'it''s; ', '\'", "SELECT 2"]
        );
        assert_eq!(texts("SELECT $1; SELECT a$b$c;"), ["SELECT $1", "SELECT a$b$c"]);
        assert_eq!(texts(" -- nothing\n /* at all */ ; "), [""; 0]);
        assert_eq!(
            texts("SELECT 'ü;é'; SELECT 'open; SELECT 3;"),
            ["SELECT 'ü;é'", "SELECT 'open; SELECT 3;"]
        );
    }

    #[test]
    fn a_line_is_that_of_the_position_or_else_of_the_statement() {
        let script = "SELECT 1;\n\n/* a\n b */ SELECT 'é',\n  x\nFROM t;";
        let second = statements(script)[1];
        assert_eq!(second.line_of(script, None), 4);
        let at = second.text.chars().position(|c| c == 'x').unwrap() + 1;
        assert_eq!(second.line_of(script, Some(at)), 5);
    }
}
