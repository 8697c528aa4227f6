//! What a COPY statement says about its data: the format and its punctuation.
//!
//! The statement parser fills these in; the decoder and encoder of this room obey them. They live
//! here, below the parser, because the codecs may not know the language that asks for them.
//! Defaults are those of Postgres (manual, COPY): text is tab-separated with `\N` for NULL, csv is
//! comma-separated with nothing for NULL.

/// The options of COPY, as in Postgres (manual, COPY). Defaults that depend on the format are
/// filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// text, csv or binary.
    pub format: CopyFormat,
    /// One byte: tab in text, comma in csv.
    pub delimiter: u8,
    /// What stands for NULL: `\N` in text, nothing in csv.
    pub null: String,
    /// A first line with names; on input MATCH checks them.
    pub header: CopyHeader,
    /// csv only.
    pub quote: u8,
    /// csv only.
    pub escape: u8,
    /// csv output: always quote these columns; `*` is all.
    pub force_quote: Option<ForceColumns>,
    /// csv input: never match NULL in these columns.
    pub force_not_null: Option<ForceColumns>,
    /// csv input: match NULL in these columns even when quoted.
    pub force_null: Option<ForceColumns>,
}

impl CopyOptions {
    /// The defaults of `FORMAT text`.
    pub fn text() -> Self {
        CopyOptions {
            format: CopyFormat::Text,
            delimiter: b'\t',
            null: "\\N".to_owned(),
            header: CopyHeader::Off,
            quote: b'"',
            escape: b'"',
            force_quote: None,
            force_not_null: None,
            force_null: None,
        }
    }

    /// The defaults of `FORMAT csv`.
    pub fn csv() -> Self {
        CopyOptions {
            format: CopyFormat::Csv,
            delimiter: b',',
            null: String::new(),
            ..Self::text()
        }
    }

    /// The defaults of `FORMAT binary`, which has no punctuation.
    pub fn binary() -> Self {
        CopyOptions { format: CopyFormat::Binary, ..Self::text() }
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::text()
    }
}

/// The format of COPY data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated with backslash escapes.
    Text,
    /// Comma-separated.
    Csv,
    /// PGCOPY.
    Binary,
}

/// COPY's HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyHeader {
    /// None.
    Off,
    /// There is a line of names.
    On,
    /// There is one, and the names must be the columns'.
    Match,
}

/// Columns named in FORCE_….
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForceColumns {
    /// `*`.
    All,
    /// These.
    Some(Vec<String>),
}

impl ForceColumns {
    /// Whether the column is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            ForceColumns::All => true,
            ForceColumns::Some(names) => names.iter().any(|n| n == name),
        }
    }
}
