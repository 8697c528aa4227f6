//! The auction site itself: what the columns of event `n` are.
//!
//! Every column of every event has a random stream of its own, begun from (seed, event, column). So
//! a column costs nothing when it is not asked for, and any event can be computed first.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, StringBuilder, TimestampMicrosecondArray};

use super::super::random::{Random, mix};

/// 2015-07-15 00:00:00 UTC, ms.
const BASE_TIME_MS: u64 = 1_436_918_400_000;
const FIRST_ID: u64 = 1000;
/// How many of the newest persons are active, and how many auctions are open.
const ACTIVE_PERSONS: u64 = 1000;
const OPEN_AUCTIONS: u64 = 100;
/// Bids and auctions may name ids up to so many ahead of the newest.
const ID_LEAD: u64 = 10;
/// Of so many neighbouring ids, one is hot.
const HOT_OF: u64 = 100;
const CHANNELS: u64 = 10_000;

const STATES: [&str; 6] = ["az", "ca", "id", "or", "wa", "wy"];
const CITIES: [&str; 10] = [
    "phoenix",
    "los angeles",
    "san francisco",
    "boise",
    "portland",
    "bend",
    "redmond",
    "seattle",
    "kent",
    "cheyenne",
];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const FIRST_NAMES: [&str; 11] = [
    "peter", "paul", "luke", "john", "saul", "vicky", "kate", "julie", "sarah", "deiter", "walter",
];
const LAST_NAMES: [&str; 9] =
    ["shultz", "abrams", "spencer", "white", "bartels", "walton", "smith", "jones", "noris"];

/// A column of one of the three tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NexmarkColumn {
    PersonId,
    Name,
    Email,
    CreditCard,
    City,
    State,
    PersonExtra,
    AuctionId,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    AuctionExtra,
    BidAuction,
    Bidder,
    Price,
    Channel,
    Url,
    BidExtra,
    DateTime,
}

impl NexmarkColumn {
    pub(super) fn name(self) -> &'static str {
        use NexmarkColumn::*;
        match self {
            PersonId | AuctionId => "id",
            Name => "name",
            Email => "email_address",
            CreditCard => "credit_card",
            City => "city",
            State => "state",
            PersonExtra | AuctionExtra | BidExtra => "extra",
            ItemName => "item_name",
            Description => "description",
            InitialBid => "initial_bid",
            Reserve => "reserve",
            Expires => "expires",
            Seller => "seller",
            Category => "category",
            BidAuction => "auction",
            Bidder => "bidder",
            Price => "price",
            Channel => "channel",
            Url => "url",
            DateTime => "date_time",
        }
    }

    pub(super) fn is_text(self) -> bool {
        use NexmarkColumn::*;
        matches!(
            self,
            Name | Email
                | CreditCard
                | City
                | State
                | PersonExtra
                | ItemName
                | Description
                | AuctionExtra
                | Channel
                | Url
                | BidExtra
        )
    }

    pub(super) fn is_time(self) -> bool {
        matches!(self, NexmarkColumn::DateTime | NexmarkColumn::Expires)
    }
}

/// All that the site's events depend on.
#[derive(Clone)]
pub(super) struct Site {
    seed: u64,
    rate: u64,
}

impl Site {
    pub(super) fn new(seed: u64, rate: u64) -> Site {
        Site { seed: mix(seed ^ 0x7469_6465_6D69_6C6C), rate }
    }

    /// That column of those events.
    pub(super) fn column(&self, column: NexmarkColumn, events: &[u64]) -> ArrayRef {
        if column.is_text() {
            return self.text(column, events);
        }
        let values = events.iter().map(|event| self.number(column, *event) as i64);
        if column.is_time() {
            Arc::new(TimestampMicrosecondArray::from_iter_values(values))
        } else {
            Arc::new(Int64Array::from_iter_values(values))
        }
    }

    fn random(&self, column: NexmarkColumn, event: u64) -> Random {
        Random::of(self.seed, event, column as u64)
    }

    /// When the event happens, ms.
    fn time_ms(&self, event: u64) -> u64 {
        BASE_TIME_MS + (u128::from(event) * 1000 / u128::from(self.rate)) as u64
    }

    fn number(&self, column: NexmarkColumn, event: u64) -> u64 {
        let random = &mut self.random(column, event);
        match column {
            NexmarkColumn::PersonId => FIRST_ID + last_person(event),
            NexmarkColumn::AuctionId => FIRST_ID + last_auction(event),
            NexmarkColumn::InitialBid | NexmarkColumn::Price => price(random),
            NexmarkColumn::Reserve => self.number(NexmarkColumn::InitialBid, event) + price(random),
            NexmarkColumn::DateTime => self.time_ms(event) * 1000,
            NexmarkColumn::Expires => {
                // As long as it takes for the open auctions to be replaced, on the average.
                let now = self.time_ms(event);
                let horizon = self.time_ms(event + OPEN_AUCTIONS * 50 / 3) - now;
                (now + 1 + random.below((horizon * 2).max(1))) * 1000
            }
            NexmarkColumn::Seller if random.below(4) > 0 => {
                FIRST_ID + last_person(event) / HOT_OF * HOT_OF
            }
            // The neighbour of the hot seller, so that hot bidders and hot sellers are not the same
            // persons.
            NexmarkColumn::Bidder if random.below(4) > 0 => {
                FIRST_ID + last_person(event) / HOT_OF * HOT_OF + 1
            }
            NexmarkColumn::Seller | NexmarkColumn::Bidder => {
                let persons = last_person(event) + 1;
                let active = persons.min(ACTIVE_PERSONS);
                FIRST_ID + persons - active + random.below(active + ID_LEAD)
            }
            NexmarkColumn::Category => 10 + random.below(5),
            NexmarkColumn::BidAuction if random.below(2) > 0 => {
                FIRST_ID + last_auction(event) / HOT_OF * HOT_OF
            }
            NexmarkColumn::BidAuction => {
                let last = last_auction(event);
                let first = last.saturating_sub(OPEN_AUCTIONS);
                FIRST_ID + first + random.below(last - first + 1 + ID_LEAD)
            }
            text => unreachable!("{text:?} is text"),
        }
    }

    fn text(&self, column: NexmarkColumn, events: &[u64]) -> ArrayRef {
        let mut out = StringBuilder::with_capacity(events.len(), events.len() * 16);
        let mut buffer = Vec::new();
        for event in events {
            let random = &mut self.random(column, *event);
            match column {
                NexmarkColumn::Name => {
                    let first = FIRST_NAMES[random.below(11) as usize];
                    // Writing into a builder's buffer cannot fail.
                    let _ = write!(out, "{first} {}", LAST_NAMES[random.below(9) as usize]);
                    out.append_value("");
                }
                NexmarkColumn::Email => {
                    let _ = write!(out, "{}@", random.letters(7, &mut buffer));
                    let _ = write!(out, "{}.com", random.letters(5, &mut buffer));
                    out.append_value("");
                }
                NexmarkColumn::CreditCard => {
                    let mut four = || random.below(10_000);
                    let _ = write!(out, "{:04} {:04} {:04} {:04}", four(), four(), four(), four());
                    out.append_value("");
                }
                NexmarkColumn::City => out.append_value(CITIES[random.below(10) as usize]),
                NexmarkColumn::State => out.append_value(STATES[random.below(6) as usize]),
                NexmarkColumn::ItemName => out.append_value(random.letters(20, &mut buffer)),
                NexmarkColumn::Description => out.append_value(random.letters(100, &mut buffer)),
                NexmarkColumn::PersonExtra => out.append_value(extra(random, 70, 200, &mut buffer)),
                NexmarkColumn::AuctionExtra => {
                    out.append_value(extra(random, 168, 500, &mut buffer))
                }
                NexmarkColumn::BidExtra => out.append_value(extra(random, 32, 100, &mut buffer)),
                NexmarkColumn::Channel => out.append_value(&self.channel(*event).0),
                NexmarkColumn::Url => out.append_value(&self.channel(*event).1),
                number => unreachable!("{number:?} is a number"),
            }
        }
        Arc::new(out.finish())
    }

    /// The channel of a bid and its address: they belong together, so both columns draw the same
    /// number.
    fn channel(&self, event: u64) -> &'static (String, String) {
        let random = &mut self.random(NexmarkColumn::Channel, event);
        let channels = channels();
        match random.below(2) {
            0 => &channels[HOT_CHANNELS.len() + random.below(CHANNELS) as usize],
            _ => &channels[random.below(HOT_CHANNELS.len() as u64) as usize],
        }
    }
}

/// The newest person when the event happens, counted from 0.
fn last_person(event: u64) -> u64 {
    event / 50
}

/// The newest auction when the event (which is no person's) happens, counted from 0.
fn last_auction(event: u64) -> u64 {
    event / 50 * 3 + (event % 50).clamp(1, 3) - 1
}

/// The hot channels and then the others, each with its address; the same for every seed.
fn channels() -> &'static [(String, String)] {
    static ALL: OnceLock<Vec<(String, String)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let hot =
            HOT_CHANNELS.iter().enumerate().map(|(i, name)| (name.to_string(), address(i as u64)));
        let others = (0..CHANNELS).map(|i| {
            let id = match mix(i) % 10 {
                0 => String::new(),
                _ => format!("&channel_id={}", (i as u32).reverse_bits() >> 1),
            };
            (format!("channel-{i}"), address(i) + &id)
        });
        hot.chain(others).collect()
    })
}

fn address(of: u64) -> String {
    let random = &mut Random::from(mix(of));
    let mut word = || {
        let length = 3 + random.below(2) as usize;
        random.letters(length, &mut Vec::new()).to_owned()
    };
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", word(), word(), word())
}

/// In cents, from 1 to 1,000,000 dollars, each order of magnitude as likely.
fn price(random: &mut Random) -> u64 {
    (10f64.powf(random.unit() * 6.0) * 100.0).round() as u64
}

/// Letters that fill a row of about `used` bytes up to `average` on the average.
fn extra<'b>(random: &mut Random, used: u64, average: u64, buffer: &'b mut Vec<u8>) -> &'b str {
    let missing = average.saturating_sub(used);
    let delta = (missing + 2) / 5;
    let length = missing - delta + random.below(2 * delta + 1);
    random.letters(length as usize, buffer)
}
