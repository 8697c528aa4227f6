//! `set_config(name, value, is_local)` and `current_setting(name [, missing_ok])` inside a query.
//!
//! Both are volatile, so that each runs when its turn comes: `SELECT current_setting('jit'),
//! set_config('jit', 'off', false)` gives the value from before and the one from after. What a
//! query changes belongs to its transaction, as with SET.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::super::shared_settings::SharedSettings;
use crate::error::{Error, Result, SqlState};

/// Their names.
pub(crate) const NAMES: [&str; 2] = ["set_config", "current_setting"];

/// Both, over the settings of a session.
pub(crate) fn all(settings: &SharedSettings) -> [Arc<ScalarUDF>; 2] {
    let function = |does: Does, forms: Vec<TypeSignature>| {
        let signature = Signature::one_of(forms, Volatility::Volatile);
        Arc::new(ScalarUDF::from(SettingFunction { does, signature, settings: settings.clone() }))
    };
    let (text, truth) = (DataType::Utf8, DataType::Boolean);
    [
        function(
            Does::Set,
            vec![TypeSignature::Exact(vec![text.clone(), text.clone(), truth.clone()])],
        ),
        function(
            Does::Get,
            vec![TypeSignature::Exact(vec![text.clone()]), TypeSignature::Exact(vec![text, truth])],
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Set,
    Get,
}

#[derive(Debug)]
struct SettingFunction {
    does: Does,
    signature: Signature,
    settings: SharedSettings,
}

impl PartialEq for SettingFunction {
    fn eq(&self, other: &Self) -> bool {
        self.does == other.does
    }
}

impl Eq for SettingFunction {}

impl Hash for SettingFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.does.hash(state);
    }
}

impl SettingFunction {
    fn set(
        &self,
        name: Option<&str>,
        value: Option<&str>,
        is_local: Option<bool>,
    ) -> Result<Option<String>> {
        let Some(name) = name else {
            return Err(Error::new(SqlState::NullNotAllowed, "SET requires parameter name"));
        };
        self.settings.set_config(name, value, is_local.unwrap_or(false)).map(Some)
    }

    fn get(&self, name: Option<&str>, missing_ok: Option<bool>) -> Result<Option<String>> {
        let Some(name) = name else { return Ok(None) };
        match self.settings.get(name) {
            Err(error)
                if error.state() == SqlState::UndefinedObject && missing_ok == Some(true) =>
            {
                Ok(None)
            }
            value => value.map(Some),
        }
    }
}

impl ScalarUDFImpl for SettingFunction {
    fn name(&self) -> &str {
        match self.does {
            Does::Set => NAMES[0],
            Does::Get => NAMES[1],
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        // The same constants for every row: once has the effect of all. Without a row there is
        // none.
        let rows = if is_scalar { args.number_rows.min(1) } else { args.number_rows };
        let column = |at: usize, wanted: &DataType| -> DfResult<Option<ArrayRef>> {
            args.args.get(at).map(|arg| Ok(cast(&arg.to_array(rows)?, wanted)?)).transpose()
        };
        let text = |array: &Option<ArrayRef>, row: usize| -> Option<String> {
            let array = array.as_ref()?.as_string::<i32>();
            array.is_valid(row).then(|| array.value(row).to_owned())
        };
        let truth = |array: &Option<ArrayRef>, row: usize| -> Option<bool> {
            let array: &BooleanArray = array.as_ref()?.as_boolean();
            array.is_valid(row).then(|| array.value(row))
        };
        let name = column(0, &DataType::Utf8)?;
        let (value, flag) = match self.does {
            Does::Set => (column(1, &DataType::Utf8)?, column(2, &DataType::Boolean)?),
            Does::Get => (None, column(1, &DataType::Boolean)?),
        };
        let answer = |row: usize| match self.does {
            Does::Set => self.set(
                text(&name, row).as_deref(),
                text(&value, row).as_deref(),
                truth(&flag, row),
            ),
            Does::Get => self.get(text(&name, row).as_deref(), truth(&flag, row)),
        };
        let values: StringArray = (0..rows).map(answer).collect::<Result<_>>()?;
        match (is_scalar, rows) {
            (true, 0) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
            (true, _) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            (false, _) => Ok(ColumnarValue::Array(Arc::new(values))),
        }
    }
}
