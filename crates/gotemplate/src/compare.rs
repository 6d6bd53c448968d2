//! `eq`, `ne`, `lt`, `le`, `gt`, `ge` with Go's rules: only values of one basic kind compare.

use crate::value::type_name;
use serde_json::Value;
use std::cmp::Ordering;

#[derive(PartialEq, Eq, Clone, Copy)]
enum Kind {
    Bool,
    Integer,
    Float,
    String,
    Other,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Number(n) if n.is_f64() => Kind::Float,
        Value::Number(_) => Kind::Integer,
        Value::String(_) => Kind::String,
        Value::Null | Value::Array(_) | Value::Object(_) => Kind::Other,
    }
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// Whether the first equals any of the others.
pub(crate) fn equals_any(first: &Value, others: &[&Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equals(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn equals(a: &Value, b: &Value) -> Result<bool, String> {
    if a.is_null() || b.is_null() {
        return Ok(a.is_null() && b.is_null());
    }
    match (kind(a), kind(b)) {
        (Kind::Other, Kind::Other) if type_name(a) == type_name(b) => {
            Err(format!("non-comparable type {}: {}", crate::value::text(a), type_name(a)))
        }
        (Kind::Other, Kind::Other) => Err(format!(
            "non-comparable types {}: {}, {}: {}",
            crate::value::text(a),
            type_name(a),
            type_name(b),
            crate::value::text(b)
        )),
        (x, y) if x != y => Err(INCOMPATIBLE.to_owned()),
        _ => Ok(a == b || (kind(a) == Kind::Integer && integers(a, b) == Some(Ordering::Equal))),
    }
}

/// The order of two numbers or two strings.
pub(crate) fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    const INVALID: &str = "invalid type for comparison";
    let ordered = match (kind(a), kind(b)) {
        (Kind::Other, _) | (_, Kind::Other) => return Err(INVALID.to_owned()),
        (x, y) if x != y => return Err(INCOMPATIBLE.to_owned()),
        (Kind::Bool, _) => return Err(INVALID.to_owned()),
        (Kind::String, _) => a.as_str().cmp(&b.as_str()),
        (Kind::Integer, _) => integers(a, b).unwrap_or(Ordering::Equal),
        (Kind::Float, _) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Greater),
            _ => Ordering::Equal,
        },
    };
    Ok(ordered)
}

fn integers(a: &Value, b: &Value) -> Option<Ordering> {
    let wide = |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    Some(wide(a)?.cmp(&wide(b)?))
}
