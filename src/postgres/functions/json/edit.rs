//! JSONB with something put in, taken out or written otherwise (Postgres manual, 9.16).

use std::borrow::Cow;

use super::shape::{JsonShape, array, key_order, kind, object, place, quoted};
use crate::error::{Error, Result, SqlState};

fn bad(message: &str) -> Error {
    Error::new(SqlState::BadArgument, message)
}

type Members<'t> = Vec<(Cow<'t, str>, &'t str)>;

fn written(members: &Members<'_>) -> String {
    object(members.iter().map(|(key, value)| (key.as_ref(), *value)))
}

/// `one || other`.
pub(super) fn joined(one: &str, other: &str) -> Result<String> {
    Ok(match (JsonShape::of(one)?, JsonShape::of(other)?) {
        (JsonShape::Object(mut members), JsonShape::Object(others)) => {
            let is_new =
                |key: &str| others.binary_search_by(|(other, _)| key_order(other, key)).is_err();
            members.retain(|(key, _)| is_new(key));
            members.extend(others);
            members.sort_by(|(one, _), (other, _)| key_order(one, other));
            written(&members)
        }
        (left, right) => {
            let elements = |of, whole| match of {
                JsonShape::Array(elements) => elements,
                _ => vec![whole],
            };
            array(elements(left, one).into_iter().chain(elements(right, other)))
        }
    })
}

/// Without these keys, or the strings among the elements that are they.
pub(super) fn without_keys(of: &str, keys: &[Option<String>]) -> Result<String> {
    let is_one = |key: &str| keys.iter().flatten().any(|one| one == key);
    Ok(match JsonShape::of(of)? {
        JsonShape::Object(mut members) => {
            members.retain(|(key, _)| !is_one(key));
            written(&members)
        }
        JsonShape::Array(elements) => {
            let quoted: Vec<String> = keys.iter().flatten().map(|key| quoted(key)).collect();
            array(elements.into_iter().filter(|element| !quoted.iter().any(|key| key == element)))
        }
        JsonShape::Scalar(_) => return Err(bad("cannot delete from scalar")),
    })
}

/// Without the element at a place.
pub(super) fn without_element(of: &str, at: i64) -> Result<String> {
    match JsonShape::of(of)? {
        JsonShape::Array(mut elements) => {
            if let Some(at) = place(at, elements.len()).filter(|at| *at < elements.len()) {
                elements.remove(at);
            }
            Ok(array(elements))
        }
        JsonShape::Object(_) => Err(bad("cannot delete from object using integer index")),
        JsonShape::Scalar(_) => Err(bad("cannot delete from scalar")),
    }
}

/// What happens at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At<'t> {
    /// The value is replaced, and put where there is none.
    Put(&'t str),
    Replace(&'t str),
    Before(&'t str),
    Behind(&'t str),
    Delete,
}

impl At<'_> {
    fn value(&self) -> Option<&str> {
        match self {
            At::Put(new) | At::Replace(new) | At::Before(new) | At::Behind(new) => Some(new),
            At::Delete => None,
        }
    }

    fn can_add(&self) -> bool {
        !matches!(self, At::Replace(_) | At::Delete)
    }
}

/// The value with a change at the end of a path.
pub(super) fn changed(of: &str, path: &[Option<String>], at: At<'_>) -> Result<String> {
    if !matches!(kind(of), "object" | "array") {
        let what = if at == At::Delete { "delete" } else { "set" };
        return Err(bad(&format!("cannot {what} path in scalar")));
    }
    if path.is_empty() {
        return Ok(of.to_owned());
    }
    step(of, path, 0, at)
}

fn step(of: &str, path: &[Option<String>], level: usize, at: At<'_>) -> Result<String> {
    let Some(name) = &path[level] else {
        let message = format!("path element at position {} is null", level + 1);
        return Err(Error::new(SqlState::NullNotAllowed, message));
    };
    match JsonShape::of(of)? {
        JsonShape::Object(members) => in_object(&members, name, path, level, at),
        JsonShape::Array(elements) => {
            let index = name.trim_start().parse::<i32>().map_err(|_| {
                let message =
                    format!("path element at position {} is not an integer: \"{name}\"", level + 1);
                Error::new(SqlState::BadText, message)
            })?;
            in_array(&elements, index.into(), path, level, at)
        }
        JsonShape::Scalar(text) => Ok(text.to_owned()),
    }
}

fn in_object(
    members: &Members<'_>,
    name: &str,
    path: &[Option<String>],
    level: usize,
    at: At<'_>,
) -> Result<String> {
    let deeper;
    let mut pairs: Vec<(&str, &str)> =
        members.iter().map(|(key, value)| (key.as_ref(), *value)).collect();
    let found = pairs.iter().position(|(key, _)| *key == name);
    match (found, level + 1 == path.len()) {
        (Some(found), true) => match at {
            At::Before(_) | At::Behind(_) => {
                return Err(bad("cannot replace existing key")
                    .hint("Try using the function jsonb_set to replace key value."));
            }
            At::Delete => drop(pairs.remove(found)),
            At::Put(new) | At::Replace(new) => pairs[found].1 = new,
        },
        (Some(found), false) => {
            deeper = step(pairs[found].1, path, level + 1, at)?;
            pairs[found].1 = &deeper;
        }
        (None, true) if at.can_add() => {
            let place = pairs.partition_point(|(key, _)| key_order(key, name).is_lt());
            pairs.splice(place..place, at.value().map(|new| (name, new)));
        }
        (None, _) => {}
    }
    Ok(object(pairs))
}

fn in_array(
    elements: &[&str],
    index: i64,
    path: &[Option<String>],
    level: usize,
    at: At<'_>,
) -> Result<String> {
    let found = place(index, elements.len()).filter(|at| *at < elements.len());
    let (mut before, mut behind) = match found {
        Some(found) => (elements[..found].to_vec(), elements[found + 1..].to_vec()),
        None if index < 0 => (Vec::new(), elements.to_vec()),
        None => (elements.to_vec(), Vec::new()),
    };
    let deeper;
    match (found, level + 1 == path.len()) {
        (Some(found), false) => {
            deeper = step(elements[found], path, level + 1, at)?;
            before.push(&deeper);
        }
        (Some(found), true) => match &at {
            At::Put(new) | At::Replace(new) => before.push(new),
            At::Before(new) => before.extend([*new, elements[found]]),
            At::Behind(new) => before.extend([elements[found], *new]),
            At::Delete => {}
        },
        (None, true) if at.can_add() => before.extend(at.value()),
        (None, _) => {}
    }
    before.append(&mut behind);
    Ok(array(before))
}

/// Without the members that are null, at any depth. JSON is written without blanks, JSONB as always.
pub(super) fn without_nulls(of: &str, is_jsonb: bool) -> Result<String> {
    let (comma, colon) = if is_jsonb { (", ", ": ") } else { (",", ":") };
    Ok(match JsonShape::of(of)? {
        JsonShape::Object(members) => {
            let kept = members.iter().filter(|(_, value)| kind(value) != "null");
            let member = |(key, value): &(Cow<'_, str>, &str)| {
                Ok(format!("{}{colon}{}", quoted(key), without_nulls(value, is_jsonb)?))
            };
            format!("{{{}}}", kept.map(member).collect::<Result<Vec<_>>>()?.join(comma))
        }
        JsonShape::Array(elements) => {
            let elements = elements.iter().map(|element| without_nulls(element, is_jsonb));
            format!("[{}]", elements.collect::<Result<Vec<_>>>()?.join(comma))
        }
        JsonShape::Scalar(text) => text.to_owned(),
    })
}

/// Each member and element on a line of its own.
pub(super) fn pretty(of: &str, depth: usize) -> Result<String> {
    let lines = |open: char, lines: Vec<String>, close: char| {
        let (inner, outer) = ("    ".repeat(depth + 1), "    ".repeat(depth));
        let lines: Vec<String> = lines.iter().map(|line| format!("{inner}{line}")).collect();
        let end = if lines.is_empty() { "" } else { "\n" };
        format!("{open}\n{}{end}{outer}{close}", lines.join(",\n"))
    };
    Ok(match JsonShape::of(of)? {
        JsonShape::Object(members) => {
            let member = |(key, value): &(Cow<'_, str>, &str)| {
                Ok(format!("{}: {}", quoted(key), pretty(value, depth + 1)?))
            };
            lines('{', members.iter().map(member).collect::<Result<_>>()?, '}')
        }
        JsonShape::Array(elements) => {
            let elements = elements.iter().map(|element| pretty(element, depth + 1));
            lines('[', elements.collect::<Result<_>>()?, ']')
        }
        JsonShape::Scalar(text) => text.to_owned(),
    })
}
