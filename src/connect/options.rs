//! The `WITH (option = value, …)` of a source or a sink, checked: an option nobody knows is an error
//! that names the known ones.

use crate::connect::{SINK_OPTIONS, STREAM_OPTIONS};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::parse_interval;
use crate::time::DAY_MICROS;

/// Options by lower-case name.
pub(super) struct ConnectorOptions<'a> {
    all: Vec<(String, &'a str)>,
    /// Those that are not the connector's business.
    others: &'static [&'static str],
}

impl<'a> ConnectorOptions<'a> {
    /// Of a stream.
    pub(super) fn new(options: &'a [(String, String)]) -> Result<Self> {
        Self::beside(options, &STREAM_OPTIONS)
    }

    /// Of a sink.
    pub(super) fn of_sink(options: &'a [(String, String)]) -> Result<Self> {
        Self::beside(options, &SINK_OPTIONS)
    }

    fn beside(options: &'a [(String, String)], others: &'static [&'static str]) -> Result<Self> {
        let mut all: Vec<(String, &'a str)> = Vec::with_capacity(options.len());
        for (name, value) in options {
            let name = name.to_ascii_lowercase();
            if all.iter().any(|(known, _)| *known == name) {
                return Err(bad(format!("option \"{name}\" is given more than once")));
            }
            all.push((name, value));
        }
        Ok(ConnectorOptions { all, others })
    }

    /// The same without one of them.
    pub(super) fn without(&self, name: &str) -> ConnectorOptions<'a> {
        ConnectorOptions {
            all: self.all.iter().filter(|(known, _)| known != name).cloned().collect(),
            others: self.others,
        }
    }

    pub(super) fn connector(&self) -> Result<&'a str> {
        self.required("connector")
    }

    /// Refuses every option that is neither the stream's or sink's own nor among `known`.
    pub(super) fn only(&self, connector: &str, known: &[&str]) -> Result<()> {
        for (name, _) in &self.all {
            if !known.contains(&name.as_str()) && !self.others.contains(&name.as_str()) {
                return Err(bad(format!("connector '{connector}' has no option \"{name}\""))
                    .hint(format!("Its options are: {}.", known.join(", "))));
            }
        }
        Ok(())
    }

    /// Refuses what says how CSV is written, where no CSV is read.
    pub(super) fn only_csv(&self, csv: &[&str]) -> Result<()> {
        match csv.iter().find(|name| self.get(name).is_some()) {
            Some(name) => {
                Err(bad(format!("option \"{name}\" is for format 'csv'")).hint("Leave it away."))
            }
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.all.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The names of all that are given.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a str> {
        self.get(name).ok_or_else(|| {
            bad(format!("option \"{name}\" is missing"))
                .hint(format!("Write WITH ({name} = '…', …)."))
        })
    }

    /// One of the listed words, or the first of them when the option is not given.
    pub(super) fn word(&self, name: &str, words: &[&'static str]) -> Result<&'static str> {
        let Some(value) = self.get(name) else { return Ok(words[0]) };
        let found = words.iter().copied().find(|word| value.eq_ignore_ascii_case(word));
        found.ok_or_else(|| {
            bad(format!("option \"{name}\" cannot be '{value}'"))
                .hint(format!("It is one of: {}.", words.join(", ")))
        })
    }

    /// A whole number of at least `least`.
    pub(super) fn number(&self, name: &str, least: u64) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.trim().replace('_', "").parse::<u64>() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(bad(format!(
                "option \"{name}\" must be a whole number of at least {least}, not '{value}'"
            ))),
        }
    }

    /// The same of an option that goes by several names, of which one may be given.
    pub(super) fn number_of(&self, names: &[&str], least: u64) -> Result<Option<u64>> {
        match self.given(names)? {
            Some(name) => self.number(name, least),
            None => Ok(None),
        }
    }

    /// By which of its names an option is given.
    pub(super) fn given<'n>(&self, names: &[&'n str]) -> Result<Option<&'n str>> {
        let given: Vec<&str> =
            names.iter().copied().filter(|name| self.get(name).is_some()).collect();
        match given.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [one, other, ..] => {
                Err(bad(format!("options \"{one}\" and \"{other}\" are one"))
                    .hint("Give one of them."))
            }
        }
    }

    /// A length of time without months, in milliseconds.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match milliseconds(value) {
            Some(ms) => Ok(Some(ms)),
            None => Err(bad(format!("option \"{name}\" must be a length of time, not '{value}'"))
                .hint("Write for example '10 seconds'.")),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" | "t" => Ok(Some(true)),
            "false" | "off" | "no" | "0" | "f" => Ok(Some(false)),
            _ => Err(bad(format!("option \"{name}\" must be true or false, not '{value}'"))),
        }
    }

    /// One ASCII character; `\t` is understood.
    pub(super) fn character(&self, name: &str, default: u8) -> Result<u8> {
        match self.get(name) {
            None => Ok(default),
            Some("\\t" | "\t") => Ok(b'\t'),
            Some(one) if one.len() == 1 && !matches!(one.as_bytes()[0], b'\n' | b'\r') => {
                Ok(one.as_bytes()[0])
            }
            Some(other) => {
                Err(bad(format!("option \"{name}\" must be one ASCII character, not '{other}'")))
            }
        }
    }
}

/// A length of time: a number of milliseconds, or an interval without months.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    if let Ok(ms) = text.trim().parse() {
        return Some(ms);
    }
    let interval = parse_interval(text).ok().filter(|interval| interval.months == 0)?;
    let days = i64::from(interval.days).checked_mul(DAY_MICROS / 1_000)?;
    u64::try_from(days.checked_add(interval.nanoseconds / 1_000_000)?).ok()
}

/// 22023.
pub(super) fn bad(message: String) -> Error {
    Error::new(SqlState::BadArgument, message)
}
