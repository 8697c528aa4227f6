//! SET, SHOW and RESET: the variables that drivers set, and ours.
//!
//! A value is kept as the text that SHOW gives. It is checked when it is set; whoever uses it may
//! rely on that.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::{ByteaOutput, TextStyle};
use crate::sql::{interval, parse_expr};
use crate::types::Zone;

/// What values a variable takes.
#[derive(Clone, Copy)]
enum SettingType {
    /// Any text.
    Text,
    Bool,
    /// A time; a number alone is milliseconds.
    Time,
    /// A whole number in these bounds.
    Int(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    Zone,
    Encoding,
    DateStyle,
    /// An interval.
    Interval,
    /// Cannot be set.
    Fixed,
}

struct Variable {
    name: &'static str,
    default: &'static str,
    form: SettingType,
    /// The client is told of each change (ParameterStatus).
    is_reported: bool,
    about: &'static str,
}

const fn var(
    name: &'static str,
    default: &'static str,
    form: SettingType,
    about: &'static str,
) -> Variable {
    Variable { name, default, form, is_reported: false, about }
}

const fn reported(
    name: &'static str,
    default: &'static str,
    form: SettingType,
    about: &'static str,
) -> Variable {
    Variable { name, default, form, is_reported: true, about }
}

const LEVELS: &[&str] = &["read committed", "repeatable read", "serializable", "read uncommitted"];
const MESSAGE_LEVELS: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error", "info",
];

/// By name, as SHOW spells it.
const VARIABLES: &[Variable] = &[
    var(
        "allowed_lateness",
        "0",
        SettingType::Interval,
        "How long windows of a continuous query stay open after the watermark.",
    ),
    reported("application_name", "", SettingType::Text, "The name of the application."),
    var(
        "bytea_output",
        "hex",
        SettingType::Word(&["hex", "escape"]),
        "How bytea is written as text.",
    ),
    var("check_function_bodies", "on", SettingType::Bool, "Has no effect."),
    reported(
        "client_encoding",
        "UTF8",
        SettingType::Encoding,
        "The client's encoding; always UTF8.",
    ),
    var("client_min_messages", "notice", SettingType::Word(MESSAGE_LEVELS), "Has no effect."),
    reported("DateStyle", "ISO, MDY", SettingType::DateStyle, "How dates are written; always ISO."),
    var("default_table_access_method", "heap", SettingType::Text, "Has no effect."),
    var("default_tablespace", "", SettingType::Text, "Has no effect."),
    var("default_transaction_deferrable", "off", SettingType::Bool, "Has no effect."),
    var(
        "default_transaction_isolation",
        "read committed",
        SettingType::Word(LEVELS),
        "Has no effect: each statement sees one moment.",
    ),
    var(
        READ_ONLY_DEFAULT,
        "off",
        SettingType::Bool,
        "Whether transactions only read, unless they say READ WRITE.",
    ),
    var("enable_bitmapscan", "on", SettingType::Bool, "Has no effect."),
    var("enable_hashagg", "on", SettingType::Bool, "Has no effect."),
    var("enable_hashjoin", "on", SettingType::Bool, "Has no effect."),
    var("enable_indexonlyscan", "on", SettingType::Bool, "Has no effect."),
    var("enable_indexscan", "on", SettingType::Bool, "Has no effect."),
    var("enable_material", "on", SettingType::Bool, "Has no effect."),
    var("enable_mergejoin", "on", SettingType::Bool, "Has no effect."),
    var("enable_nestloop", "on", SettingType::Bool, "Has no effect."),
    var("enable_seqscan", "on", SettingType::Bool, "Has no effect."),
    var("enable_sort", "on", SettingType::Bool, "Has no effect."),
    var(
        "extra_float_digits",
        "1",
        SettingType::Int(-15, 3),
        "Has no effect: floats are written exactly.",
    ),
    var("geqo", "on", SettingType::Bool, "Has no effect."),
    var(
        "idle_in_transaction_session_timeout",
        "0",
        SettingType::Time,
        "How long a transaction may be idle.",
    ),
    var("idle_session_timeout", "0", SettingType::Time, "Has no effect."),
    reported("in_hot_standby", "off", SettingType::Fixed, "There is no standby."),
    reported("integer_datetimes", "on", SettingType::Fixed, "Times are integers."),
    reported(
        "IntervalStyle",
        "postgres",
        SettingType::Word(&["postgres"]),
        "How intervals are written.",
    ),
    reported("is_superuser", "on", SettingType::Fixed, "Every user may do everything."),
    var("jit", "off", SettingType::Bool, "Has no effect."),
    var("lc_collate", "C", SettingType::Fixed, "Text is ordered by its bytes."),
    var("lc_ctype", "C.UTF-8", SettingType::Fixed, "Characters are Unicode's."),
    var("lc_messages", "C", SettingType::Text, "Messages are in English."),
    var("lc_monetary", "C", SettingType::Text, "Has no effect."),
    var("lc_numeric", "C", SettingType::Text, "Has no effect."),
    var("lc_time", "C", SettingType::Text, "Has no effect."),
    var(
        "lock_timeout",
        "0",
        SettingType::Time,
        "How long a statement waits for the lock of a table.",
    ),
    var(
        "max_index_keys",
        "32",
        SettingType::Fixed,
        "The most columns of a key that clients may expect.",
    ),
    var("max_identifier_length", "63", SettingType::Fixed, "The longest name, bytes."),
    var("plan_cache_mode", "auto", SettingType::Text, "Has no effect."),
    var("role", "none", SettingType::Text, "Has no effect."),
    var("row_security", "on", SettingType::Bool, "Has no effect."),
    var(
        "scan_startup",
        "earliest",
        SettingType::Word(&["earliest", "latest"]),
        "Where a continuous query begins to read.",
    ),
    var(
        "search_path",
        "\"$user\", public",
        SettingType::Text,
        "Names without a schema are in public.",
    ),
    reported("server_encoding", "UTF8", SettingType::Fixed, "The server's encoding."),
    reported(
        "server_version",
        "15.0",
        SettingType::Fixed,
        "The version of Postgres that clients may expect.",
    ),
    var("server_version_num", "150000", SettingType::Fixed, "The same as a number."),
    reported("session_authorization", "", SettingType::Text, "The user."),
    reported(
        "standard_conforming_strings",
        "on",
        SettingType::Bool,
        "A backslash in '…' is a backslash.",
    ),
    var("statement_timeout", "0", SettingType::Time, "How long a statement may take."),
    var("synchronize_seqscans", "on", SettingType::Bool, "Has no effect."),
    var("synchronous_commit", "on", SettingType::Text, "Always on."),
    reported("TimeZone", "UTC", SettingType::Zone, "TIMESTAMPTZ is shown in this zone."),
    var("transaction_deferrable", "off", SettingType::Bool, "Has no effect."),
    var(
        "transaction_isolation",
        "read committed",
        SettingType::Word(LEVELS),
        "Each statement sees one moment.",
    ),
    var(READ_ONLY, "off", SettingType::Bool, "Whether the transaction only reads."),
    var("work_mem", "4MB", SettingType::Text, "Has no effect; see --memory-limit."),
    var("xmloption", "content", SettingType::Text, "Has no effect."),
];

/// A session's variables.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What RESET goes back to, where it is not the default: from the startup message.
    initial: BTreeMap<String, String>,
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
    /// The session's values when the transaction began.
    before: Option<BTreeMap<String, String>>,
    /// Reported variables that a query has changed with `set_config`, and the client has not been
    /// told of.
    pending_reports: Vec<(String, String)>,
    /// Another one after each change.
    version: u64,
}

/// A variable's name as it is told, whatever case it was asked for in.
pub fn name_of(name: &str) -> &str {
    find(name).map_or(name, |variable| variable.name)
}

fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> Error {
    Error::new(
        SqlState::UndefinedObject,
        format!("unrecognized configuration parameter \"{name}\""),
    )
}

/// Whether a transaction only reads, and whether those to come will.
pub(super) const READ_ONLY: &str = "transaction_read_only";
pub(super) const READ_ONLY_DEFAULT: &str = "default_transaction_read_only";

/// Prefixes that are not for custom variables.
const RESERVED: [&str; 2] = ["datafusion.", "tidemill."];

fn is_custom(name: &str) -> bool {
    name.contains('.') && !RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

fn invalid(name: &str, value: &str) -> Error {
    Error::new(
        SqlState::BadArgument,
        format!("invalid value for parameter \"{name}\": \"{value}\""),
    )
}

/// The value as it is kept, or why it cannot be.
fn checked(variable: &Variable, value: &str) -> Result<String> {
    let name = variable.name;
    let plain = value.trim().trim_matches('\'').trim();
    match variable.form {
        SettingType::Text => Ok(value.to_owned()),
        SettingType::Fixed => {
            Err(Error::new(SqlState::CantChangeParameter, format!("parameter \"{name}\" cannot be changed")))
        }
        SettingType::Bool => match plain.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".to_owned()),
            "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".to_owned()),
            _ => Err(Error::new(
                SqlState::BadArgument,
                format!("parameter \"{name}\" requires a Boolean value"),
            )),
        },
        SettingType::Time => time_ms(plain).map(show_time).ok_or_else(|| {
            invalid(name, value)
                .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
        }),
        SettingType::Int(least, most) => match plain.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
            Ok(number) => Err(Error::new(
                SqlState::BadArgument,
                format!("{number} is outside the valid range for parameter \"{name}\" ({least} .. {most})"),
            )),
            Err(_) => Err(invalid(name, value)),
        },
        SettingType::Word(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(plain))
            .map(|word| (*word).to_owned())
            .ok_or_else(|| invalid(name, value).hint(format!("Available values: {}.", words.join(", ")))),
        SettingType::Zone => {
            Ok(match Zone::of_setting(plain)? {
                Zone::Named(zone) => zone.name().to_owned(),
                Zone::Utc | Zone::Fixed(_) => plain.to_owned(),
            })
        }
        SettingType::Encoding => match plain.to_ascii_lowercase().replace(['-', '_', '"'], "").as_str() {
            "utf8" | "unicode" => Ok("UTF8".to_owned()),
            _ => Err(invalid(name, value).hint("The only encoding is UTF8.")),
        },
        SettingType::DateStyle => {
            let words = plain.to_ascii_uppercase();
            if words.contains("DMY") || words.contains("EUROPEAN") {
                return Err(Error::unsupported("dates with the day first are not read")
                    .hint("Write dates as in ISO, 2026-01-31, or read them with to_date."));
            }
            let known = words.split(',').all(|word| {
                matches!(
                    word.trim().trim_matches('"'),
                    "ISO" | "MDY" | "YMD" | "DMY" | "US" | "EUROPEAN" | "DEFAULT"
                )
            });
            if known {
                Ok("ISO, MDY".to_owned())
            } else {
                Err(invalid(name, value).hint("Dates are always written in ISO."))
            }
        }
        SettingType::Interval => {
            interval_ms(plain).map(|_| plain.to_owned()).map_err(|error| match error.hint_text() {
                Some(_) => error,
                None => invalid(name, value).hint("Write for example '10 seconds'."),
            })
        }
    }
}

/// A time as GUCs are written; a number alone is milliseconds.
fn time_ms(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = (number * factor).round();
    (ms <= f64::from(i32::MAX)).then_some(ms as u64)
}

fn show_time(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match units.iter().find(|(size, _)| ms > 0 && ms.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", ms / size),
        None => "0".to_owned(),
    }
}

/// An interval without months, in milliseconds; a number alone is milliseconds.
pub fn interval_ms(text: &str) -> Result<i64> {
    let text = text.trim();
    let bad = |what: &str| {
        Error::new(SqlState::BadArgument, what.to_owned()).hint("Write for example '10 seconds'.")
    };
    if let Ok(ms) = text.parse::<i64>() {
        return if ms < 0 { Err(bad("the interval must not be negative")) } else { Ok(ms) };
    }
    let expr = parse_expr(&format!("INTERVAL '{}'", text.replace('\'', "''")))?;
    let parts = interval(&expr)?;
    match parts.as_micros() {
        None => Err(bad("an interval in months or years has no fixed length")),
        Some(micros) if micros < 0 => Err(bad("the interval must not be negative")),
        Some(micros) => Ok(micros / 1_000),
    }
}

impl Settings {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Result<String> {
        let key = name.to_lowercase();
        let own = [&self.local, &self.session, &self.initial]
            .into_iter()
            .find_map(|values| values.get(&key));
        match (own, find(name)) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(variable)) => Ok(variable.default.to_owned()),
            (None, None) => Err(unknown(name)),
        }
    }

    /// What a variable is without SET.
    pub fn default_of(&self, name: &str) -> Option<String> {
        let key = name.to_lowercase();
        self.initial
            .get(&key)
            .cloned()
            .or_else(|| find(name).map(|variable| variable.default.to_owned()))
    }

    fn value(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    /// As a client gives them when it connects; gives those that are to be reported.
    pub fn start(
        &mut self,
        user: &str,
        given: &[(String, String)],
    ) -> Result<Vec<(String, String)>> {
        self.initial.insert("session_authorization".to_owned(), user.to_owned());
        for (name, value) in given {
            let key = name.to_lowercase();
            match find(name) {
                Some(variable) => {
                    self.initial.insert(key, checked(variable, value)?);
                }
                None if is_custom(&key) => {
                    self.initial.insert(key, value.clone());
                }
                // Drivers send what newer servers know; it changes nothing.
                None => {}
            }
        }
        Ok(self.reported())
    }

    fn reported(&self) -> Vec<(String, String)> {
        let reported = VARIABLES.iter().filter(|variable| variable.is_reported);
        reported.map(|variable| (variable.name.to_owned(), self.value(variable.name))).collect()
    }

    /// Runs a change and says which reported variables are different after it.
    fn changes_reported(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Vec<(String, String)>> {
        let before = self.reported();
        self.version += 1;
        change(self)?;
        let after = self.reported();
        Ok(after
            .into_iter()
            .zip(before)
            .filter(|(new, old)| new != old)
            .map(|(new, _)| new)
            .collect())
    }

    /// SET; None is DEFAULT. Gives the reported variables that changed.
    pub fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
        is_local: bool,
    ) -> Result<Vec<(String, String)>> {
        let key = name.to_lowercase();
        let value = match (find(name), value) {
            (Some(variable), Some(value)) => Some(checked(variable, value)?),
            (Some(variable), None) if matches!(variable.form, SettingType::Fixed) => {
                Some(checked(variable, "")?)
            }
            (None, value) if is_custom(&key) => value.map(str::to_owned),
            (Some(_), None) => None,
            (None, _) => return Err(unknown(name)),
        };
        // It is the transaction's, and no plan depends on it.
        if key == READ_ONLY {
            let value = value.unwrap_or_else(|| self.value(READ_ONLY_DEFAULT));
            self.local.insert(key, value);
            return Ok(Vec::new());
        }
        self.changes_reported(|settings| {
            let fallback =
                settings.initial.get(&key).cloned().or(find(&key).map(|v| v.default.to_owned()));
            let values = if is_local { &mut settings.local } else { &mut settings.session };
            match value.or(fallback) {
                Some(value) => values.insert(key.clone(), value),
                None => values.remove(&key),
            };
            if !is_local {
                settings.local.remove(&key);
            }
            Ok(())
        })
    }

    /// `set_config(…)` in a query: sets it, and keeps what the client is to be told. Gives the
    /// value as SHOW has it.
    pub fn set_config(
        &mut self,
        name: &str,
        value: Option<&str>,
        is_local: bool,
    ) -> Result<String> {
        let reports = self.set(name, value, is_local)?;
        self.pending_reports.extend(reports);
        self.get(name)
    }

    /// What the client is to be told of.
    pub fn take_pending_reports(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.pending_reports)
    }

    /// RESET; None is ALL.
    pub fn reset(&mut self, name: Option<&str>) -> Result<Vec<(String, String)>> {
        match name {
            Some(name) => self.set(name, None, false),
            None => self.changes_reported(|settings| {
                settings.session.clear();
                settings.local.clear();
                Ok(())
            }),
        }
    }

    /// A transaction begins.
    pub fn begin(&mut self) {
        self.before = Some(self.session.clone());
        self.local.remove(READ_ONLY);
        if self.value(READ_ONLY_DEFAULT) == "on" {
            self.local.insert(READ_ONLY.to_owned(), "on".to_owned());
        }
    }

    /// It ends; what SET LOCAL did is over, and after a ROLLBACK what SET did as well.
    pub fn end(&mut self, is_committed: bool) -> Vec<(String, String)> {
        self.local.remove(READ_ONLY);
        let before = self.before.take().filter(|before| !is_committed && *before != self.session);
        if self.local.is_empty() && before.is_none() {
            return Vec::new();
        }
        let changed = self.changes_reported(|settings| {
            settings.local.clear();
            if let Some(before) = before {
                settings.session = before;
            }
            Ok(())
        });
        changed.unwrap_or_default()
    }

    /// All, by name: name, value, description.
    pub fn all(&self) -> Vec<(String, String, String)> {
        let known =
            VARIABLES.iter().map(|v| (v.name.to_owned(), self.value(v.name), v.about.to_owned()));
        let custom = self.session.iter().filter(|(name, _)| find(name).is_none());
        let mut all: Vec<_> =
            known.chain(custom.map(|(n, v)| (n.clone(), v.clone(), String::new()))).collect();
        all.sort_by_key(|(name, ..)| name.to_lowercase());
        all
    }

    /// A limit; None: none.
    pub fn time(&self, name: &str) -> Option<Duration> {
        time_ms(&self.value(name)).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// Differs from what it was before if anything has been changed since.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// `allowed_lateness`, milliseconds.
    pub fn lateness_ms(&self) -> Result<i64> {
        interval_ms(&self.value("allowed_lateness"))
    }

    /// `scan_startup` is `latest`.
    pub fn from_latest(&self) -> bool {
        self.value("scan_startup") == "latest"
    }

    /// How values are written as text.
    pub fn style(&self) -> TextStyle {
        let mut style = TextStyle::in_zone(self.value("TimeZone"));
        if self.value("bytea_output") == "escape" {
            style.bytea_output = ByteaOutput::Escape;
        }
        style
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_largest_unit_that_fits() {
        let mut settings = Settings::default();
        settings.set("statement_timeout", Some("5 s"), false).unwrap();
        assert_eq!(settings.get("statement_timeout").unwrap(), "5s");
        settings.set("statement_timeout", Some("1500"), false).unwrap();
        assert_eq!(settings.get("statement_timeout").unwrap(), "1500ms");
        assert_eq!(settings.time("statement_timeout"), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn what_a_transaction_sets_is_gone_when_it_is_rolled_back() {
        let mut settings = Settings::default();
        settings.begin();
        settings.set("timezone", Some("Europe/Vienna"), false).unwrap();
        assert_eq!(settings.end(false), [("TimeZone".to_owned(), "UTC".to_owned())]);
        settings.begin();
        settings.set("lock_timeout", Some("1s"), true).unwrap();
        settings.end(true);
        assert_eq!(settings.get("lock_timeout").unwrap(), "0");
    }

    #[test]
    fn unknown_and_wrong_values_are_refused() {
        let mut settings = Settings::default();
        assert_eq!(
            settings.set("nothing", Some("1"), false).unwrap_err().state(),
            SqlState::UndefinedObject
        );
        assert_eq!(
            settings.set("timezone", Some("Nowhere"), false).unwrap_err().state(),
            SqlState::BadArgument
        );
        assert_eq!(
            settings.set("client_encoding", Some("latin1"), false).unwrap_err().state(),
            SqlState::BadArgument
        );
        settings.set("my.own", Some("1"), false).unwrap();
        assert_eq!(settings.get("my.own").unwrap(), "1");
    }
}
