//! Values as Postgres writes and reads them: text and binary.

/// How values are written as text: the settings that change it.
#[derive(Debug, Clone)]
pub struct TextStyle {
    /// TIMESTAMPTZ is shown in this zone.
    pub time_zone: String,
}
