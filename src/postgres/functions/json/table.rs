//! The functions of JSON: what each takes and gives, and what it makes of one row.

use std::borrow::Cow;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;

use super::columns::JsonOut;
use super::edit::{self, At};
use super::shape::{self, JsonShape};
use crate::error::{Error, Result, SqlState};
use crate::pgtypes::values::normal_json;
use crate::types::SqlType;
use Takes::{Boolean, Key, Text, Texts, Value};

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A value of the function's family.
    Value,
    Text,
    /// The name of a member or the number of an element.
    Key,
    /// An array of texts, or as many texts as there are.
    Texts,
    Boolean,
}

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// A value of the function's family.
    Value,
    Text,
    Integer,
    Boolean,
    Values,
    Texts,
    Members,
    MembersAsText,
}

#[derive(Debug)]
pub(super) struct JsonRow {
    /// Behind the family's name.
    pub(super) name: &'static str,
    /// Of JSON too; otherwise of JSONB alone.
    pub(super) is_of_both: bool,
    pub(super) takes: &'static [Takes],
    /// How many of the arguments there must be.
    pub(super) least: usize,
    pub(super) gives: Gives,
    pub(super) of: JsonRowFunction,
}

type JsonRowFunction = for<'r> fn(&JsonGiven<'r>) -> Result<Option<JsonOut<'r>>>;

const fn of_both(
    name: &'static str,
    takes: &'static [Takes],
    gives: Gives,
    of: JsonRowFunction,
) -> JsonRow {
    JsonRow { name, is_of_both: true, takes, least: takes.len(), gives, of }
}

const fn of_jsonb(
    name: &'static str,
    takes: &'static [Takes],
    gives: Gives,
    of: JsonRowFunction,
) -> JsonRow {
    JsonRow { name, is_of_both: false, takes, least: takes.len(), gives, of }
}

pub(super) static FUNCTIONS: [JsonRow; 39] = [
    of_both("field", &[Value, Key], Gives::Value, |given| Ok(given.field()?.map(JsonOut::part))),
    of_both("field_text", &[Value, Key], Gives::Text, |given| given.field().and_then(as_text)),
    of_both("path", &[Value, Texts], Gives::Value, |given| Ok(given.at_path()?.map(JsonOut::part))),
    of_both("path_text", &[Value, Texts], Gives::Text, |given| given.at_path().and_then(as_text)),
    of_both("extract_path", &[Value, Texts], Gives::Value, |given| {
        Ok(given.at_path()?.map(JsonOut::part))
    }),
    of_both("extract_path_text", &[Value, Texts], Gives::Text, |given| {
        given.at_path().and_then(as_text)
    }),
    of_both("as_is", &[Text], Gives::Value, |given| Ok(Some(JsonOut::part(given.text(0))))),
    of_both("typeof", &[Value], Gives::Text, |given| {
        let kind = shape::kind(given.text(0));
        Ok(Some(JsonOut::Text(Cow::Borrowed(kind))))
    }),
    of_both("array_length", &[Value], Gives::Integer, |given| match given.shape()? {
        JsonShape::Array(elements) => Ok(i32::try_from(elements.len()).ok().map(JsonOut::Integer)),
        JsonShape::Object(_) => Err(bad("cannot get array length of a non-array")),
        JsonShape::Scalar(_) => Err(bad("cannot get array length of a scalar")),
    }),
    of_both("strip_nulls", &[Value], Gives::Value, |given| {
        owned(edit::without_nulls(given.text(0), given.is_jsonb))
    }),
    of_both("elements", &[Value], Gives::Values, |given| {
        let elements = given.elements("array_elements")?;
        Ok(Some(JsonOut::Texts(elements.into_iter().map(|e| Some(Cow::Borrowed(e))).collect())))
    }),
    of_both("elements_text", &[Value], Gives::Texts, |given| {
        let elements = given.elements("array_elements_text")?;
        let texts = elements.into_iter().map(shape::as_text).collect::<Result<_>>()?;
        Ok(Some(JsonOut::Texts(texts)))
    }),
    of_both("keys", &[Value], Gives::Texts, |given| match given.shape()? {
        JsonShape::Object(members) => {
            Ok(Some(JsonOut::Texts(members.into_iter().map(|(key, _)| Some(key)).collect())))
        }
        JsonShape::Array(_) => Err(given.cannot_call("object_keys", "an array")),
        JsonShape::Scalar(_) => Err(given.cannot_call("object_keys", "a scalar")),
    }),
    of_both("members", &[Value], Gives::Members, |given| {
        let pairs = given.members("each")?.into_iter();
        let member = |(key, value)| (key, Some(Cow::Borrowed(value)));
        Ok(Some(JsonOut::Members(pairs.map(member).collect())))
    }),
    of_both("members_text", &[Value], Gives::MembersAsText, |given| {
        let pairs = given.members("each_text")?.into_iter();
        let member = |(key, value)| Ok((key, shape::as_text(value)?));
        Ok(Some(JsonOut::Members(pairs.map(member).collect::<Result<_>>()?)))
    }),
    of_both("member_keys", &[Value], Gives::Texts, |given| {
        let pairs = given.members("each")?.into_iter();
        Ok(Some(JsonOut::Texts(pairs.map(|(key, _)| Some(key)).collect())))
    }),
    of_both("member_names", &[Value], Gives::Texts, |given| {
        let pairs = given.members("each_text")?.into_iter();
        Ok(Some(JsonOut::Texts(pairs.map(|(key, _)| Some(key)).collect())))
    }),
    of_both("member_values", &[Value], Gives::Values, |given| {
        let pairs = given.members("each")?.into_iter();
        Ok(Some(JsonOut::Texts(pairs.map(|(_, value)| Some(Cow::Borrowed(value))).collect())))
    }),
    of_both("member_texts", &[Value], Gives::Texts, |given| {
        let pairs = given.members("each_text")?.into_iter();
        let texts = pairs.map(|(_, value)| shape::as_text(value)).collect::<Result<_>>()?;
        Ok(Some(JsonOut::Texts(texts)))
    }),
    of_both("of_values", &[Texts], Gives::Value, |given| {
        let values = given.texts(0);
        let values = values.iter().map(|value| value.as_deref().unwrap_or("null"));
        let whole = values.collect::<Vec<_>>().join(", ");
        owned(given.in_form(format!("[{}]", whole.trim_start())))
    }),
    of_both("of_members", &[Texts], Gives::Value, |given| {
        let members: Vec<String> = given.texts(0).into_iter().flatten().collect();
        owned(given.in_form(format!("{{ {} }}", members.join(", "))))
    }),
    JsonRow { least: 1, ..of_both("object", &[Texts, Texts], Gives::Value, object_of_texts) },
    of_jsonb("exists", &[Value, Text], Gives::Boolean, |given| {
        Ok(Some(JsonOut::Boolean(has_key(&given.shape()?, given.text(1))?)))
    }),
    of_jsonb("exists_any", &[Value, Texts], Gives::Boolean, |given| given.has_keys(false)),
    of_jsonb("exists_all", &[Value, Texts], Gives::Boolean, |given| given.has_keys(true)),
    of_jsonb("contains", &[Value, Value], Gives::Boolean, |given| {
        Ok(Some(JsonOut::Boolean(shape::contains(given.text(0), given.text(1), true)?)))
    }),
    of_jsonb("contained", &[Value, Value], Gives::Boolean, |given| {
        Ok(Some(JsonOut::Boolean(shape::contains(given.text(1), given.text(0), true)?)))
    }),
    of_jsonb("concat", &[Value, Value], Gives::Value, |given| {
        owned(edit::joined(given.text(0), given.text(1)))
    }),
    of_jsonb("delete", &[Value, Key], Gives::Value, |given| match given.index(1) {
        Some(at) => owned(edit::without_element(given.text(0), at)),
        None => owned(edit::without_keys(given.text(0), &[Some(given.text(1).to_owned())])),
    }),
    of_jsonb("delete_keys", &[Value, Texts], Gives::Value, |given| {
        owned(edit::without_keys(given.text(0), &given.texts(1)))
    }),
    of_jsonb("delete_path", &[Value, Texts], Gives::Value, |given| {
        owned(edit::changed(given.text(0), &given.texts(1), At::Delete))
    }),
    JsonRow {
        least: 3,
        ..of_jsonb("set", &[Value, Texts, Value, Boolean], Gives::Value, |given| {
            let at = if given.flag(3, true) { At::Put } else { At::Replace };
            owned(edit::changed(given.text(0), &given.texts(1), at(given.text(2))))
        })
    },
    JsonRow {
        least: 3,
        ..of_jsonb("insert", &[Value, Texts, Value, Boolean], Gives::Value, |given| {
            let at = if given.flag(3, false) { At::Behind } else { At::Before };
            owned(edit::changed(given.text(0), &given.texts(1), at(given.text(2))))
        })
    },
    of_both("record_value", &[Value, Text], Gives::Value, |given| {
        Ok(given.record_member()?.map(JsonOut::part))
    }),
    of_both("record_text", &[Value, Text], Gives::Text, |given| {
        given.record_member().and_then(as_text)
    }),
    of_both("record_texts", &[Value, Text], Gives::Texts, |given| {
        let Some(member) = given.record_member()? else { return Ok(None) };
        let JsonShape::Array(elements) = JsonShape::of(member)? else {
            return Err(Error::new(SqlState::BadText, "expected JSON array")
                .hint(format!("See the value of key \"{}\".", given.text(1))));
        };
        let texts = elements.into_iter().map(shape::as_text).collect::<Result<_>>()?;
        Ok(Some(JsonOut::Texts(texts)))
    }),
    of_jsonb("pretty", &[Value], Gives::Text, |given| owned(edit::pretty(given.text(0), 0))),
    of_jsonb("order", &[Value], Gives::Text, |given| owned(shape::order_key(given.text(0)))),
    of_jsonb("scalar", &[Value, Text], Gives::Text, scalar),
];

fn bad(message: &str) -> Error {
    Error::new(SqlState::BadArgument, message)
}

fn owned<'r>(text: Result<String>) -> Result<Option<JsonOut<'r>>> {
    Ok(Some(JsonOut::Text(Cow::Owned(text?))))
}

fn as_text(value: Option<&str>) -> Result<Option<JsonOut<'_>>> {
    let text = value.map(shape::as_text).transpose()?;
    Ok(text.flatten().map(JsonOut::Text))
}

/// `jsonb_object(keys and values)`, `jsonb_object(keys, values)`.
fn object_of_texts<'r>(given: &JsonGiven<'r>) -> Result<Option<JsonOut<'r>>> {
    let odd = |message: &str| Error::new(SqlState::ArraySubscript, message);
    let texts = given.texts(0);
    let pairs: Vec<(Option<String>, Option<String>)> = if given.columns.len() == 2 {
        let values = given.texts(1);
        if values.len() != texts.len() {
            return Err(odd("mismatched array dimensions"));
        }
        texts.into_iter().zip(values).collect()
    } else {
        if texts.len() % 2 == 1 {
            return Err(odd("array must have even number of elements"));
        }
        texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    };
    let member = |(key, value): (Option<String>, Option<String>)| {
        let key = key.ok_or_else(|| {
            Error::new(SqlState::NullNotAllowed, "null value not allowed for object key")
        })?;
        let value = value.map_or("null".to_owned(), |value| shape::quoted(&value));
        Ok(format!("{} : {value}", shape::quoted(&key)))
    };
    let members = pairs.into_iter().map(member).collect::<Result<Vec<_>>>()?;
    owned(given.in_form(format!("{{{}}}", members.join(", "))))
}

/// The text of a number or truth value that is cast to the type that the second argument names.
fn scalar<'r>(given: &JsonGiven<'r>) -> Result<Option<JsonOut<'r>>> {
    let (value, wanted) = (given.text(0), given.text(1));
    let kind = match shape::kind(value) {
        "number" => "numeric",
        other => other,
    };
    let fitting = if wanted == "boolean" { "boolean" } else { "numeric" };
    if kind != fitting {
        return Err(bad(&format!("cannot cast jsonb {kind} to type {wanted}")));
    }
    Ok(Some(JsonOut::part(value)))
}

fn has_key(shape: &JsonShape<'_>, key: &str) -> Result<bool> {
    let is_it = |value: &str| value.starts_with('"') && value == shape::quoted(key);
    Ok(match shape {
        JsonShape::Object(_) => shape.member(key).is_some(),
        JsonShape::Array(elements) => elements.iter().any(|element| is_it(element)),
        JsonShape::Scalar(text) => is_it(text),
    })
}

/// The arguments of one row, of which none is NULL.
pub(super) struct JsonGiven<'r> {
    pub(super) columns: &'r [ArrayRef],
    /// Which of them are there once for all rows.
    pub(super) is_constant: &'r [bool],
    pub(super) row: usize,
    pub(super) family: &'r SqlType,
    pub(super) is_jsonb: bool,
}

impl<'r> JsonGiven<'r> {
    /// Which row of an argument's column is meant.
    fn place(&self, at: usize) -> usize {
        if self.is_constant.get(at) == Some(&true) { 0 } else { self.row }
    }

    fn text(&self, at: usize) -> &'r str {
        self.columns[at].as_string_opt::<i32>().map_or("", |texts| texts.value(self.place(at)))
    }

    fn index(&self, at: usize) -> Option<i64> {
        Some(self.columns[at].as_primitive_opt::<Int64Type>()?.value(self.place(at)))
    }

    fn flag(&self, at: usize, default: bool) -> bool {
        self.columns.get(at).map_or(default, |flags| flags.as_boolean().value(self.place(at)))
    }

    /// The elements of an array, or the texts from there on.
    fn texts(&self, at: usize) -> Vec<Option<String>> {
        if let Some(list) = self.columns[at].as_list_opt::<i32>() {
            let items = list.value(self.place(at));
            // An array of arrays has the elements of all.
            return match items.as_list_opt::<i32>() {
                Some(lists) => strings(lists.values()),
                None => strings(&items),
            };
        }
        (at..self.columns.len()).map(|at| Some(self.text(at).to_owned())).collect()
    }

    fn shape(&self) -> Result<JsonShape<'r>> {
        JsonShape::of(self.text(0))
    }

    /// The JSON text in the form of the family.
    fn in_form(&self, text: String) -> Result<String> {
        if self.is_jsonb { normal_json(&text) } else { Ok(text) }
    }

    /// `->`.
    fn field(&self) -> Result<Option<&'r str>> {
        let Some(at) = self.index(1) else {
            return shape::member(self.text(0), self.text(1), self.is_jsonb);
        };
        let text = self.text(0).trim_start();
        if let (true, Ok(at)) = (text.starts_with('['), usize::try_from(at)) {
            return shape::element(text, at);
        }
        Ok(match self.shape()? {
            // To JSONB a scalar is an array of one.
            JsonShape::Scalar(text) if self.is_jsonb && matches!(at, 0 | -1) => Some(text),
            shape => shape.element(at),
        })
    }

    /// What a column of a record is made of.
    fn record_member(&self) -> Result<Option<&'r str>> {
        let other = |what: &str| Err(bad(&format!("cannot call populate_composite on {what}")));
        let shape = self.shape()?;
        match shape {
            JsonShape::Object(_) => Ok(shape.member(self.text(1)).filter(|text| *text != "null")),
            JsonShape::Array(_) => other("an array"),
            JsonShape::Scalar(_) => other("a scalar"),
        }
    }

    /// `#>`.
    fn at_path(&self) -> Result<Option<&'r str>> {
        let mut value = self.text(0);
        for step in self.texts(1) {
            let Some(step) = step else { return Ok(None) };
            let next = if value.trim_start().starts_with('[') {
                let at = step.trim_start().parse::<i32>().ok();
                at.and_then(|at| {
                    JsonShape::of(value).map(|shape| shape.element(at.into())).transpose()
                })
                .transpose()?
            } else {
                shape::member(value, &step, self.is_jsonb)?
            };
            match next {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value.trim()))
    }

    fn cannot_call(&self, function: &str, what: &str) -> Error {
        bad(&format!("cannot call {}_{function} on {what}", self.family))
    }

    fn elements(&self, function: &str) -> Result<Vec<&'r str>> {
        match self.shape()? {
            JsonShape::Array(elements) => Ok(elements),
            JsonShape::Object(_) if self.is_jsonb => {
                Err(bad("cannot extract elements from an object"))
            }
            JsonShape::Scalar(_) if self.is_jsonb => {
                Err(bad("cannot extract elements from a scalar"))
            }
            JsonShape::Object(_) => Err(self.cannot_call(function, "a non-array")),
            JsonShape::Scalar(_) => Err(self.cannot_call(function, "a scalar")),
        }
    }

    fn members(&self, function: &str) -> Result<Vec<(Cow<'r, str>, &'r str)>> {
        match self.shape()? {
            JsonShape::Object(members) => Ok(members),
            _ if self.is_jsonb => Err(self.cannot_call(function, "a non-object")),
            JsonShape::Array(_) => Err(bad("cannot deconstruct an array as an object")),
            JsonShape::Scalar(_) => Err(bad("cannot deconstruct a scalar")),
        }
    }

    /// `?|` and `?&`.
    fn has_keys(&self, all: bool) -> Result<Option<JsonOut<'r>>> {
        let shape = self.shape()?;
        for key in self.texts(1).into_iter().flatten() {
            if has_key(&shape, &key)? != all {
                return Ok(Some(JsonOut::Boolean(!all)));
            }
        }
        Ok(Some(JsonOut::Boolean(all)))
    }
}

fn strings(items: &ArrayRef) -> Vec<Option<String>> {
    let texts = items.as_string_opt::<i32>();
    texts.into_iter().flatten().map(|text| text.map(str::to_owned)).collect()
}
