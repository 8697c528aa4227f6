//! What rows of the site look like: those of one kind of event with its columns, or all events, with
//! what kind each is and a struct for each kind, of which one is not NULL.
//!
//! Columns may be declared as others spell them: `itemName` and `item_name` are one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, StructArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{can_cast_types, cast, take};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::generate::{NexmarkColumn, Site};
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// Which events are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteRows {
    /// Those of one kind.
    Of(EventKind),
    /// All.
    Events,
}

/// The three kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    Person,
    Auction,
    Bid,
}

/// A column of a source: where its values come from.
#[derive(Debug, Clone)]
pub(super) enum SiteColumn {
    Plain(NexmarkColumn),
    /// 0 is a person, 1 an auction, 2 a bid.
    EventType,
    /// A struct of these columns of the events of a kind, NULL for the others.
    Struct(EventKind, Vec<NexmarkColumn>),
}

const KINDS: [(&str, EventKind); 3] =
    [("person", EventKind::Person), ("auction", EventKind::Auction), ("bid", EventKind::Bid)];

impl SiteRows {
    /// What the option `table` can be.
    pub(super) const NAMES: [&'static str; 3] = ["person", "auction", "bid"];

    pub(super) fn named(name: &str) -> Result<SiteRows> {
        let kind = KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        kind.map(SiteRows::Of).ok_or_else(|| Error::internal(format!("nexmark has no {name}")))
    }

    /// The event that is row `row`.
    pub(super) fn event(self, row: u64) -> u64 {
        let SiteRows::Of(kind) = self else { return row };
        let (first, count) = kind.share();
        row / count * 50 + first + row % count
    }

    /// How many of the first `events` events are rows.
    pub(super) fn among(self, events: u64) -> u64 {
        let SiteRows::Of(kind) = self else { return events };
        let (first, count) = kind.share();
        events / 50 * count + (events % 50).saturating_sub(first).min(count)
    }

    /// All columns, as they are without being declared.
    pub(super) fn columns(self) -> Vec<(Field, SiteColumn)> {
        let plain = |column: NexmarkColumn| (field(column), SiteColumn::Plain(column));
        let SiteRows::Of(kind) = self else {
            let structs = KINDS.map(|(name, kind)| {
                let fields: Fields = kind.columns().into_iter().map(field).collect();
                let field = Field::new(name, DataType::Struct(fields), true);
                (field, SiteColumn::Struct(kind, kind.columns()))
            });
            let kind = Field::new("event_type", DataType::Int32, false);
            let mut columns = vec![(kind, SiteColumn::EventType)];
            columns.extend(structs);
            columns.push(plain(NexmarkColumn::DateTime));
            return columns;
        };
        kind.columns().into_iter().map(plain).collect()
    }

    /// The column for each declared one.
    ///
    /// # Errors
    ///
    /// 42703 for a name that is none, 42804 for a type that its values cannot be read as.
    pub(super) fn matching(self, declared: &[Field]) -> Result<Vec<SiteColumn>> {
        let all = self.columns();
        let matched = declared.iter().map(|wanted| {
            let (own, column) = named(&all, wanted.name(), |(field, _)| field.name())?;
            match (column, wanted.data_type()) {
                (SiteColumn::Struct(kind, all), DataType::Struct(fields)) => {
                    let inner = fields.iter().map(|wanted| {
                        let column = *named(all, wanted.name(), |column| column.name())?;
                        check_type(&field(column), wanted)?;
                        Ok(column)
                    });
                    Ok(SiteColumn::Struct(*kind, inner.collect::<Result<_>>()?))
                }
                (SiteColumn::Struct(..), _) => Err(mistyped(own, wanted)),
                _ => check_type(own, wanted).map(|()| column.clone()),
            }
        });
        matched.collect()
    }
}

impl EventKind {
    /// Of each 50 events, which are of this kind: the first one and how many.
    fn share(self) -> (u64, u64) {
        match self {
            EventKind::Person => (0, 1),
            EventKind::Auction => (1, 3),
            EventKind::Bid => (4, 46),
        }
    }

    fn of(event: u64) -> EventKind {
        match event % 50 {
            0 => EventKind::Person,
            1..4 => EventKind::Auction,
            _ => EventKind::Bid,
        }
    }

    fn columns(self) -> Vec<NexmarkColumn> {
        use NexmarkColumn::*;
        match self {
            EventKind::Person => {
                vec![PersonId, Name, Email, CreditCard, City, State, DateTime, PersonExtra]
            }
            EventKind::Auction => vec![
                AuctionId,
                ItemName,
                Description,
                InitialBid,
                Reserve,
                DateTime,
                Expires,
                Seller,
                Category,
                AuctionExtra,
            ],
            EventKind::Bid => vec![BidAuction, Bidder, Price, Channel, Url, DateTime, BidExtra],
        }
    }
}

impl SiteColumn {
    /// Its values for these events, of the declared type.
    pub(super) fn values(&self, site: &Site, events: &[u64], wanted: &Field) -> Result<ArrayRef> {
        let values: ArrayRef = match (self, wanted.data_type()) {
            (SiteColumn::Plain(column), _) => site.column(*column, events),
            (SiteColumn::EventType, _) => Arc::new(Int32Array::from_iter_values(
                events.iter().map(|event| EventKind::of(*event) as i32),
            )),
            (SiteColumn::Struct(kind, columns), DataType::Struct(fields)) => {
                structs(*kind, columns, fields, site, events)?
            }
            (SiteColumn::Struct(..), other) => new_null_array(other, events.len()),
        };
        of_type(values, wanted.data_type())
    }
}

fn structs(
    kind: EventKind,
    columns: &[NexmarkColumn],
    fields: &Fields,
    site: &Site,
    events: &[u64],
) -> Result<ArrayRef> {
    let own: Vec<u64> =
        events.iter().copied().filter(|event| EventKind::of(*event) == kind).collect();
    let mut next = 0;
    let places = events.iter().map(|event| {
        (EventKind::of(*event) == kind).then(|| {
            next += 1;
            next - 1
        })
    });
    let places: UInt32Array = places.collect();
    let nulls: Option<NullBuffer> = places.nulls().cloned();
    let children = columns.iter().zip(fields).map(|(column, wanted)| {
        let values = of_type(site.column(*column, &own), wanted.data_type())?;
        Ok(take(&values, &places, None)?)
    });
    let children = children.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls, events.len())?))
}

fn of_type(values: ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if values.data_type() == wanted { Ok(values) } else { Ok(cast(&values, wanted)?) }
}

fn field(column: NexmarkColumn) -> Field {
    let kind = if column.is_text() {
        DataType::Utf8
    } else if column.is_time() {
        DataType::Timestamp(TimeUnit::Microsecond, None)
    } else {
        DataType::Int64
    };
    Field::new(column.name(), kind, false)
}

/// The one of that name, however its words are put together.
fn named<'a, T>(all: &'a [T], wanted: &str, name: impl Fn(&T) -> &str) -> Result<&'a T> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    all.iter().find(|known| plain(name(known)) == plain(wanted)).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(&name).collect();
        Error::new(SqlState::UndefinedColumn, format!("nexmark has no column \"{wanted}\" there"))
            .hint(format!("There are: {}.", names.join(", ")))
    })
}

fn check_type(own: &Field, wanted: &Field) -> Result<()> {
    if can_cast_types(own.data_type(), wanted.data_type()) {
        return Ok(());
    }
    Err(mistyped(own, wanted))
}

fn mistyped(own: &Field, wanted: &Field) -> Error {
    let [own, other] = [own, wanted].map(|field| SqlType::from_field(field).declaration());
    let what = format!("column \"{}\" of nexmark cannot be read as {other}", wanted.name());
    Error::new(SqlState::TypeMismatch, what).hint(format!("It is {own}."))
}
