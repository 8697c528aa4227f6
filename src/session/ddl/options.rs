//! WITH options, by their meaning; one that nobody knows is an error that names the known ones.

use super::super::settings::interval_ms;
use crate::error::{Error, Result, SqlState};
use crate::sql::Options;

/// Refuses options that are not among `known`.
pub fn only(options: &Options, what: &str, known: &[&str]) -> Result<()> {
    match options.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let error = Error::new(
                SqlState::BadArgument,
                format!("unrecognized option \"{name}\" of a {what}"),
            );
            Err(if known.is_empty() {
                error.hint(format!("A {what} has no options."))
            } else {
                error.hint(format!("Its options are: {}.", known.join(", ")))
            })
        }
    }
}

/// The value of an option.
pub fn get<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    options.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A length of time in milliseconds.
pub fn time(options: &Options, name: &str) -> Result<Option<i64>> {
    get(options, name)
        .map(|value| {
            interval_ms(value).map_err(|error| {
                Error::new(
                    SqlState::BadArgument,
                    format!("invalid value for option \"{name}\": \"{value}\""),
                )
                .detail(error.message().to_owned())
                .hint("Write for example '10 seconds' or '7 days'.")
            })
        })
        .transpose()
}

/// A number of bytes: `1000000`, `'64 MB'`, `'1GiB'`.
pub fn bytes(options: &Options, name: &str) -> Result<Option<u64>> {
    get(options, name)
        .map(|value| parse_bytes(value).ok_or_else(|| wrong(name, value, "'64 MB'")))
        .transpose()
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "kib" | "k" => 1 << 10,
        "mb" | "mib" | "m" => 1 << 20,
        "gb" | "gib" | "g" => 1 << 30,
        "tb" | "tib" | "t" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// true or false.
pub fn boolean(options: &Options, name: &str) -> Result<Option<bool>> {
    get(options, name)
        .map(|value| match value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(wrong(name, value, "true")),
        })
        .transpose()
}

/// `scan_startup`: whether to begin with what arrives from now on.
pub fn from_latest(options: &Options) -> Result<Option<bool>> {
    get(options, "scan_startup")
        .map(|value| match value.to_ascii_lowercase().as_str() {
            "latest" => Ok(true),
            "earliest" => Ok(false),
            _ => Err(wrong("scan_startup", value, "'earliest' or 'latest'")),
        })
        .transpose()
}

/// 22023: the value is none that the option has.
pub fn wrong(name: &str, value: &str, example: &str) -> Error {
    Error::new(SqlState::BadArgument, format!("invalid value for option \"{name}\": \"{value}\""))
        .hint(format!("Write for example {example}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("64 MB"), Some(64 << 20));
        assert_eq!(parse_bytes("1000"), Some(1000));
        assert_eq!(parse_bytes("-1"), None);
        assert_eq!(parse_bytes("0"), None);
    }
}
