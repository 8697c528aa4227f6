//! SIMILAR TO: the standard's patterns as regular expressions.

/// The regular expression that SIMILAR TO's pattern means (Postgres manual, 9.7.2): all of the text
/// must match.
pub(crate) fn similar_to(pattern: &str, escape: Option<char>) -> String {
    let mut regex = String::from("^(?:");
    let (mut chars, mut in_brackets) = (pattern.chars(), false);
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                // At the end it stands for itself.
                regex.push_str(&regex_syntax_escape(chars.next().unwrap_or(c)));
            }
            ']' if in_brackets => {
                in_brackets = false;
                regex.push(']');
            }
            c if in_brackets => {
                if c == '\\' || c == '[' {
                    regex.push('\\');
                }
                regex.push(c);
            }
            '[' => {
                in_brackets = true;
                regex.push('[');
            }
            '%' => regex.push_str("(?s:.*)"),
            '_' => regex.push_str("(?s:.)"),
            '(' => regex.push_str("(?:"),
            '|' | '*' | '+' | '?' | '{' | '}' | ')' => regex.push(c),
            other => regex.push_str(&regex_syntax_escape(other)),
        }
    }
    regex.push_str(")$");
    regex
}

fn regex_syntax_escape(c: char) -> String {
    regex::escape(c.encode_utf8(&mut [0; 4]))
}
