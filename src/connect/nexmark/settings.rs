//! The options of the source, as Tidemill calls them and as Flink's and RisingWave's sources of the
//! same name do, so that what was written for these is taken as it is.
//!
//! What would only change how fast others generate (`nexmark.split.num`, `nexmark.max.chunk.size`)
//! is known and changes no row. Proportions of the three kinds that are not Nexmark's are refused.

use arrow::datatypes::Field;

use super::super::options::{ConnectorOptions, bad};
use super::site_columns::SiteRows;
use crate::error::{Error, Result};

const TABLE: [&str; 2] = ["table", "nexmark.table.type"];
const EVENTS: [&str; 3] = ["events", "events.num", "nexmark.event.num"];
const RATE: [&str; 3] = ["rate", "next-event.rate", GAP];
const FIRST_RATE: &str = "first-event.rate";
const SEED: &str = "seed";
/// Nanoseconds between two events: a rate as well.
const GAP: &str = "nexmark.min.event.gap.in.ns";
const NO_MATTER: [&str; 2] = ["nexmark.split.num", "nexmark.max.chunk.size"];
/// What of 50 events is a person, an auction, a bid.
const PROPORTIONS: [(&str, u64); 3] =
    [("person.proportion", 1), ("auction.proportion", 3), ("bid.proportion", 46)];

/// What the options say.
pub(super) struct SiteSettings {
    pub(super) rows: SiteRows,
    /// How many events there are in all.
    pub(super) events: Option<u64>,
    /// How many arrive in a second.
    pub(super) rate: Option<u64>,
    pub(super) seed: u64,
}

/// Reads them.
///
/// # Errors
///
/// 22023 for an option that is not known or cannot have its value, 0A000 for other proportions and
/// for a rate that changes.
pub(super) fn read(options: &ConnectorOptions<'_>) -> Result<SiteSettings> {
    let others = PROPORTIONS.map(|(name, _)| name);
    let names = TABLE.iter().chain(&EVENTS).chain(&RATE).chain([&FIRST_RATE, &SEED]);
    let names: Vec<&str> = names.chain(&NO_MATTER).chain(&others).copied().collect();
    options.only("nexmark", &names)?;
    for name in NO_MATTER {
        options.number(name, 1)?;
    }
    check_proportions(options)?;
    let (events, rate) = (options.number_of(&EVENTS, 0)?, rate(options)?);
    if events.is_none() && rate.is_none() {
        return Err(bad("connector 'nexmark' needs option \"events\" or \"rate\"".into()).hint(
            "events is how many events there are in all, rate how many arrive in a second.",
        ));
    }
    let seed = options.number(SEED, 0)?.unwrap_or(0);
    Ok(SiteSettings { rows: rows(options)?, events, rate, seed })
}

/// The columns of the rows that the options name, as the source has them.
pub(in super::super) fn implied_columns(options: &ConnectorOptions<'_>) -> Result<Vec<Field>> {
    Ok(rows(options)?.columns().into_iter().map(|(field, _)| field).collect())
}

/// Without a table: all events.
fn rows(options: &ConnectorOptions<'_>) -> Result<SiteRows> {
    let Some(given) = options.given(&TABLE)? else { return Ok(SiteRows::Events) };
    SiteRows::named(options.word(given, &SiteRows::NAMES)?)
}

fn rate(options: &ConnectorOptions<'_>) -> Result<Option<u64>> {
    let rate = match options.given(&RATE)? {
        None => None,
        Some(GAP) => options.number(GAP, 1)?.map(|gap| (1_000_000_000 / gap).max(1)),
        Some(name) => options.number(name, 1)?,
    };
    let first = options.number(FIRST_RATE, 1)?;
    match (first, rate) {
        (Some(first), Some(rate)) if first != rate => Err(Error::unsupported(format!(
            "{FIRST_RATE} other than the rate after it is not supported (0A000)"
        ))
        .hint("Events arrive as fast at the end as at the beginning: give one rate.")),
        _ => Ok(rate.or(first)),
    }
}

fn check_proportions(options: &ConnectorOptions<'_>) -> Result<()> {
    for (name, ours) in PROPORTIONS {
        if options.number(name, 0)?.is_some_and(|given| given != ours) {
            return Err(Error::unsupported(format!(
                "{name} other than {ours} is not supported (0A000)"
            ))
            .hint("Of 50 events 1 is a person, 3 are auctions and 46 are bids, as Nexmark says."));
        }
    }
    Ok(())
}
