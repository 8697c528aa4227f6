//! One error type for the whole house: what went wrong, in the words and codes a Postgres client
//! knows.
//!
//! Every failure that can reach a client carries a SQLSTATE ([`SqlState`]), a lower-case factual
//! message, and where it helps a hint (a sentence that says how to go on) and a position in the
//! statement's text. Errors of arrow and DataFusion are translated here once, so that no other room
//! has to know their variants.
//!
//! SQLSTATEs: PostgreSQL manual, appendix A.

use std::fmt;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

mod foreign;
mod panic;
mod sentences;

pub(crate) use foreign::missing_function;
pub use panic::{contained, contained_call, panicked};

/// What every fallible function of Tidemill returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with everything the Postgres protocol can tell a client about it.
#[derive(Debug, Clone)]
pub struct Error(Box<ErrorParts>);

#[derive(Debug, Clone)]
struct ErrorParts {
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
}

/// Declares the SQLSTATEs in use, each once, with its five-character code.
macro_rules! sqlstates {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The SQLSTATEs that Tidemill raises (PostgreSQL manual, appendix A).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SqlState { $($(#[$doc])* $name,)* }

        impl SqlState {
            /// The five characters that go over the wire.
            pub const fn code(self) -> &'static str {
                match self { $(SqlState::$name => $code,)* }
            }

            /// The one with these five characters, if it is one of ours.
            pub fn of_code(code: &str) -> Option<SqlState> {
                match code {
                    $($code => Some(SqlState::$name),)*
                    _ => None,
                }
            }
        }
    };
}

sqlstates! {
    /// `successful_completion`, for notices.
    Success = "00000",
    /// `warning`, for notices.
    Warning = "01000",
    /// `protocol_violation`.
    ProtocolViolation = "08P01",
    /// `feature_not_supported`.
    NotSupported = "0A000",
    /// `cardinality_violation`.
    CardinalityViolation = "21000",
    /// `data_exception`.
    DataException = "22000",
    /// `string_data_right_truncation`.
    StringTooLong = "22001",
    /// `numeric_value_out_of_range`.
    OutOfRange = "22003",
    /// `invalid_datetime_format`.
    BadDatetime = "22007",
    /// `null_value_not_allowed`.
    NullNotAllowed = "22004",
    /// `datetime_field_overflow`.
    DatetimeOverflow = "22008",
    /// `invalid_time_zone_displacement_value`.
    BadZoneOffset = "22009",
    /// `interval_field_overflow`.
    IntervalOverflow = "22015",
    /// `substring_error`.
    BadSubstring = "22011",
    /// `division_by_zero`.
    DivisionByZero = "22012",
    /// `invalid_parameter_value`.
    BadArgument = "22023",
    /// `invalid_use_of_escape_character`.
    BadEscapeUse = "2200C",
    /// `invalid_escape_sequence`.
    BadEscape = "22025",
    /// `invalid_regular_expression`.
    BadRegex = "2201B",
    /// `invalid_argument_for_power_function`, of roots too.
    BadPowerArgument = "2201F",
    /// `invalid_argument_for_logarithm`.
    BadLogarithmArgument = "2201E",
    /// `invalid_argument_for_width_bucket_function`.
    BadBucketArgument = "2201G",
    /// `invalid_argument_for_ntile_function`.
    BadNtileArgument = "22014",
    /// `invalid_row_count_in_limit_clause`.
    BadLimit = "2201W",
    /// `invalid_row_count_in_result_offset_clause`.
    BadOffset = "2201X",
    /// `array_subscript_error`.
    ArraySubscript = "2202E",
    /// `invalid_text_representation`.
    BadText = "22P02",
    /// `invalid_binary_representation`.
    BadBinary = "22P03",
    /// `bad_copy_file_format`.
    BadCopyFormat = "22P04",
    /// `untranslatable_character`: an escape in JSON that no text can hold.
    Untranslatable = "22P05",
    /// `character_not_in_repertoire`.
    BadCharacter = "22021",
    /// `not_null_violation`.
    NotNull = "23502",
    /// `unique_violation`.
    Unique = "23505",
    /// `check_violation`.
    Check = "23514",
    /// `invalid_cursor_state`.
    InvalidCursorState = "24000",
    /// `active_sql_transaction`.
    ActiveTransaction = "25001",
    /// `read_only_sql_transaction`.
    ReadOnlyTransaction = "25006",
    /// `no_active_sql_transaction`.
    NoActiveTransaction = "25P01",
    /// `in_failed_sql_transaction`.
    FailedTransaction = "25P02",
    /// `idle_in_transaction_session_timeout`.
    IdleInTransaction = "25P03",
    /// `invalid_sql_statement_name`.
    NoSuchStatement = "26000",
    /// `invalid_authorization_specification`.
    BadAuthorization = "28000",
    /// `invalid_password`.
    BadPassword = "28P01",
    /// `dependent_objects_still_exist`.
    DependantsExist = "2BP01",
    /// `invalid_cursor_name`.
    NoSuchCursor = "34000",
    /// `invalid_savepoint_specification`.
    NoSuchSavepoint = "3B001",
    /// `undefined_database`.
    UndefinedDatabase = "3D000",
    /// `invalid_schema_name`.
    UndefinedSchema = "3F000",
    /// `deadlock_detected`.
    Deadlock = "40P01",
    /// `syntax_error`.
    Syntax = "42601",
    /// `insufficient_privilege`.
    InsufficientPrivilege = "42501",
    /// `undefined_column`.
    UndefinedColumn = "42703",
    /// `undefined_object`.
    UndefinedObject = "42704",
    /// `undefined_function`.
    UndefinedFunction = "42883",
    /// `undefined_parameter`.
    UndefinedParameter = "42P02",
    /// `ambiguous_alias`.
    AmbiguousAlias = "42P09",
    /// `duplicate_alias`.
    DuplicateAlias = "42712",
    /// `undefined_table`.
    UndefinedTable = "42P01",
    /// `ambiguous_column`.
    AmbiguousColumn = "42702",
    /// `duplicate_column`.
    DuplicateColumn = "42701",
    /// `duplicate_function`.
    DuplicateFunction = "42723",
    /// `ambiguous_function`.
    AmbiguousFunction = "42725",
    /// `invalid_function_definition`.
    InvalidFunctionDefinition = "42P13",
    /// `duplicate_object`.
    DuplicateObject = "42710",
    /// `duplicate_cursor`.
    DuplicateCursor = "42P03",
    /// `duplicate_prepared_statement`.
    DuplicateStatement = "42P05",
    /// `duplicate_schema`.
    DuplicateSchema = "42P06",
    /// `reserved_name`.
    ReservedName = "42939",
    /// `duplicate_table`.
    DuplicateTable = "42P07",
    /// `grouping_error`.
    Grouping = "42803",
    /// `cannot_coerce`.
    CannotCast = "42846",
    /// `datatype_mismatch`.
    TypeMismatch = "42804",
    /// `wrong_object_type`.
    WrongObjectType = "42809",
    /// `invalid_column_reference`.
    InvalidColumnReference = "42P10",
    /// `invalid_table_definition`.
    InvalidTableDefinition = "42P16",
    /// `invalid_object_definition`.
    InvalidObjectDefinition = "42P17",
    /// `windowing_error`.
    Windowing = "42P20",
    /// `indeterminate_datatype`.
    IndeterminateType = "42P18",
    /// `generated_always` (writing a generated column).
    GeneratedAlways = "428C9",
    /// `disk_full`.
    DiskFull = "53100",
    /// `out_of_memory`.
    OutOfMemory = "53200",
    /// `too_many_connections`.
    TooManyConnections = "53300",
    /// `configuration_limit_exceeded`.
    LimitExceeded = "53400",
    /// `program_limit_exceeded`.
    ProgramLimit = "54000",
    /// `statement_too_complex`.
    TooComplex = "54001",
    /// `too_many_columns`.
    TooManyColumns = "54011",
    /// `object_not_in_prerequisite_state`.
    NotInState = "55000",
    /// `cant_change_runtime_param`.
    CantChangeParameter = "55P02",
    /// `lock_not_available`.
    LockNotAvailable = "55P03",
    /// `query_canceled`.
    Cancelled = "57014",
    /// `admin_shutdown`.
    ShuttingDown = "57P01",
    /// `cannot_connect_now`.
    CannotConnectNow = "57P03",
    /// `system_error`: the disk, the socket.
    Io = "58030",
    /// `internal_error`: a bug of ours.
    Internal = "XX000",
    /// `data_corrupted`.
    Corrupted = "XX001",
}

impl Error {
    /// An error of that kind; the message is lower-case and states a fact.
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Error(Box::new(ErrorParts {
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }))
    }

    /// 0A000: what Tidemill does not do; give a [`hint`](Self::hint) that says what to write
    /// instead.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(SqlState::NotSupported, message)
    }

    /// XX000: an invariant of ours did not hold.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::Internal, message)
    }

    /// Adds the sentence that says how to go on.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a second sentence of facts.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds where in the statement's text: a 1-based offset in characters.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Puts `context` and a colon before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The SQLSTATE.
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The detail, if there is one.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The 1-based character offset into the statement, if known.
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// The name among these that is most like `name`, if one is much like it.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (edit_distance(known, name), known));
    near.filter(|(distance, known)| {
        *distance <= 1 + name.len() / 4 && *distance < name.len().min(known.len())
    })
    .min()
    .map(|(_, known)| known)
}

/// Levenshtein's distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<Error> for ArrowError {
    fn from(error: Error) -> Self {
        ArrowError::ExternalError(Box::new(error))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::new(SqlState::DiskFull, error.to_string()),
            _ => Self::new(SqlState::Io, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested() {
        assert_eq!(edit_distance("bids", "bid"), 1);
        assert_eq!(edit_distance("auction", "auctoin"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(nearest("auctoin", ["bid", "auction"].into_iter()), Some("auction"));
        assert_eq!(nearest("x", ["y", "bid", "auction"].into_iter()), None);
    }

    #[test]
    fn an_error_keeps_its_code_on_the_way_through_arrow_and_datafusion() {
        let ours = Error::new(SqlState::NotNull, "null value").hint("Give a value.");
        let through: Error = DataFusionError::from(ArrowError::from(ours)).into();
        assert_eq!(through.state(), SqlState::NotNull);
        assert_eq!(through.hint_text(), Some("Give a value."));
    }
}
