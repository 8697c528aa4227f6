//! The numbers by which Postgres clients know types: oids, lengths and type modifiers.
//!
//! Drivers choose their decoder by oid, so these must be exactly those of `pg_type` (PostgreSQL
//! source, `pg_type.dat`). A type modifier carries what is in parentheses: a length, a precision, a
//! precision and scale.

use crate::types::{SqlType, WIDE_NUMERIC};

/// Oid of each type without parameters, and of the array of it.
const OIDS: &[(SqlType, u32, u32, i16)] = &[
    (SqlType::Boolean, 16, 1000, 1),
    (SqlType::Bytea, 17, 1001, -1),
    (SqlType::Char, 18, 1002, 1),
    (SqlType::Name, 19, 1003, 64),
    (SqlType::BigInt, 20, 1016, 8),
    (SqlType::SmallInt, 21, 1005, 2),
    (SqlType::Int, 23, 1007, 4),
    (SqlType::Text, 25, 1009, -1),
    (SqlType::Oid, 26, 1028, 4),
    (SqlType::Json, 114, 199, -1),
    (SqlType::Real, 700, 1021, 4),
    (SqlType::Double, 701, 1022, 8),
    (SqlType::Bpchar(None), 1042, 1014, -1),
    (SqlType::Varchar(None), 1043, 1015, -1),
    (SqlType::Date, 1082, 1182, 4),
    (SqlType::Time, 1083, 1183, 8),
    (SqlType::Timestamp(6), 1114, 1115, 8),
    (SqlType::TimestampTz(6), 1184, 1185, 8),
    (SqlType::Interval, 1186, 1187, 16),
    (SqlType::Decimal(None), 1700, 1231, -1),
    (SqlType::Uuid, 2950, 2951, 16),
    (SqlType::Jsonb, 3802, 3807, -1),
];

const RECORD: (u32, u32) = (2249, 2287);
const UNKNOWN: u32 = 705;

impl SqlType {
    /// The oid and the oid of the array of it.
    fn oids(&self) -> (u32, u32) {
        let key = match self {
            SqlType::Row(_) => return RECORD,
            // Clients are shown text: an `unknown` column is something they have no decoder for.
            SqlType::Unknown => SqlType::Text,
            // In Postgres an array type is the same for any number of dimensions.
            SqlType::Array(_) => {
                let array = self.innermost().oids().1;
                return (array, array);
            }
            SqlType::Decimal(_) => SqlType::Decimal(None),
            SqlType::Timestamp(_) => SqlType::Timestamp(6),
            SqlType::TimestampTz(_) => SqlType::TimestampTz(6),
            simple => simple.without_length(),
        };
        OIDS.iter()
            .find(|(t, ..)| *t == key)
            .map_or((25, 1009), |(_, oid, array, _)| (*oid, *array))
    }

    /// The type's oid in `pg_type`.
    pub fn oid(&self) -> u32 {
        self.oids().0
    }

    /// The type a client means by an oid; None when Tidemill has no such type, or for 0 and what
    /// the client leaves to the server.
    pub fn from_oid(oid: u32) -> Option<SqlType> {
        if oid == UNKNOWN {
            return Some(SqlType::Unknown);
        }
        OIDS.iter().find_map(|(sql_type, plain, array, _)| match oid {
            o if o == *plain => Some(sql_type.clone()),
            o if o == *array => Some(SqlType::Array(Box::new(sql_type.clone()))),
            _ => None,
        })
    }

    /// `pg_type.typlen`: bytes of a fixed-length type, −1 for the others.
    pub fn typlen(&self) -> i16 {
        let oid = self.oid();
        OIDS.iter().find(|(_, o, ..)| *o == oid).map_or(-1, |(.., len)| *len)
    }

    /// `pg_attribute.atttypmod`: the length or precision as Postgres packs it, −1 for none.
    pub fn modifier(&self) -> i32 {
        const HEADER: i32 = 4;
        match self {
            SqlType::Varchar(Some(n)) | SqlType::Bpchar(Some(n)) => {
                i32::try_from(*n).map_or(-1, |n| n.saturating_add(HEADER))
            }
            SqlType::Decimal(Some((WIDE_NUMERIC, _))) => -1,
            SqlType::Decimal(Some((p, s))) => {
                ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + HEADER
            }
            SqlType::Timestamp(p) | SqlType::TimestampTz(p) if *p != 6 => i32::from(*p),
            SqlType::Array(_) => self.innermost().modifier(),
            _ => -1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oid_names_the_same_type_both_ways() {
        for (sql_type, oid, array, _) in OIDS {
            assert_eq!(sql_type.oid(), *oid);
            assert_eq!(SqlType::from_oid(*oid).as_ref(), Some(sql_type));
            let list = SqlType::Array(Box::new(sql_type.clone()));
            assert_eq!(list.oid(), *array);
            assert_eq!(SqlType::from_oid(*array), Some(list));
        }
        assert_eq!(SqlType::from_oid(0), None);
    }

    #[test]
    fn modifiers_are_packed_as_in_pg_attribute() {
        assert_eq!(SqlType::Decimal(Some((10, 2))).modifier(), 655_366);
        assert_eq!(SqlType::Varchar(Some(10)).modifier(), 14);
        assert_eq!(SqlType::TimestampTz(3).modifier(), 3);
        assert_eq!(SqlType::Timestamp(6).modifier(), -1);
        assert_eq!(SqlType::Bpchar(Some(3)).typlen(), -1);
        assert_eq!(SqlType::Timestamp(3).typlen(), 8);
    }
}
