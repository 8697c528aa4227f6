//! One column that is being built. The values are read as Postgres reads them, so a file means what
//! COPY of it means.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::Field;

use crate::error::Error;
use crate::limits::FIELD_ERROR_CHARS;
use crate::pgtypes::values::ColumnBuilder;
use crate::types::SqlType;

/// What a record says about a column.
#[derive(Clone, Copy)]
pub(super) enum RecordField<'t> {
    Null,
    /// Nothing: where the column has a DEFAULT it is that, else NULL.
    Missing,
    /// A value as text.
    Text(&'t str),
    /// A value in JSON's own spelling, for a column whose values JSON has a spelling for.
    Json(&'t str),
}

/// A declared column: checks every value, keeps those of the columns that are wanted.
pub(super) struct DecodedColumn {
    name: String,
    nullable: bool,
    wanted: bool,
    /// Of a column that is not wanted: the last value at the most.
    builder: ColumnBuilder,
    /// Of a column with a DEFAULT: which rows say nothing of it.
    missing: Option<Vec<bool>>,
}

impl DecodedColumn {
    pub(super) fn new(field: &Field, wanted: bool) -> DecodedColumn {
        DecodedColumn {
            name: field.name().clone(),
            nullable: field.is_nullable(),
            wanted,
            builder: ColumnBuilder::new(&SqlType::from_field(field), 0),
            missing: None,
        }
    }

    /// From now on it is told which rows say nothing of it.
    pub(super) fn with_default(&mut self) {
        self.missing = Some(Vec::new());
    }

    /// Appends a value; when it is none of this type nothing is appended and the reason returned.
    #[inline]
    pub(super) fn append(&mut self, value: RecordField<'_>) -> Result<(), String> {
        if !self.wanted {
            self.builder.truncate(0);
        }
        let before = self.builder.len();
        let is_missing = matches!(value, RecordField::Missing);
        let appended = match value {
            RecordField::Text(text) => self.builder.append_str(text),
            RecordField::Json(text) => self.builder.append_json(text),
            RecordField::Null | RecordField::Missing
                if self.nullable || is_missing && self.missing.is_some() =>
            {
                self.builder.append_null();
                Ok(())
            }
            RecordField::Null | RecordField::Missing => {
                let name = &self.name;
                return Err(format!(
                    "null value in column \"{name}\" violates not-null constraint"
                ));
            }
        };
        match appended {
            Ok(()) => {
                if let Some(missing) = &mut self.missing {
                    missing.push(is_missing);
                }
                Ok(())
            }
            Err(error) => {
                self.builder.truncate(before);
                Err(self.refused(&error))
            }
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The value appended last, if it is a timestamp and not NULL: microseconds.
    pub(super) fn micros(&self) -> Option<i64> {
        self.builder.last_micros()
    }

    #[cold]
    fn refused(&self, error: &Error) -> String {
        let detail = error.detail_text().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let why: String = error.message().chars().take(FIELD_ERROR_CHARS).collect();
        format!("column \"{}\": {why}{detail}", self.name)
    }

    /// A NULL, whatever the constraint: also the place holder in a row that will not be delivered.
    pub(super) fn fill(&mut self) {
        if self.wanted {
            self.builder.append_null();
        }
        if let Some(missing) = &mut self.missing {
            missing.push(false);
        }
    }

    /// Which of the rows that have been appended say nothing of it, if it has a DEFAULT.
    pub(super) fn take_missing(&mut self) -> Option<BooleanArray> {
        self.missing.as_mut().map(|missing| std::mem::take(missing).into())
    }

    /// What has been appended.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let next = ColumnBuilder::new(self.builder.sql_type(), self.builder.len());
        std::mem::replace(&mut self.builder, next).finish()
    }
}
