//! The functions a template may call: Go's own (without those that escape) and Docker's.

use crate::ast::Operand;
use crate::compare;
use crate::printf;
use crate::value;
use serde_json::Value;
use std::cmp::Ordering;

/// Longest run of padding that `pad` makes.
const MAX_PAD: i64 = 1_000_000;

/// A function by its name in templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    And,
    Or,
    Not,
    Len,
    Index,
    Slice,
    Print,
    Printf,
    Println,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Json,
    Join,
    Split,
    Upper,
    Lower,
    Title,
    Pad,
    Truncate,
}

/// How many arguments: exactly, or at least.
pub(crate) enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

impl Function {
    pub(crate) fn named(name: &str) -> Option<Function> {
        Function::ALL.iter().copied().find(|function| function.name() == name)
    }

    const ALL: [Function; 23] = {
        use Function::*;
        [
            And, Or, Not, Len, Index, Slice, Print, Printf, Println, Eq, Ne, Lt, Le, Gt, Ge, Json, Join,
            Split, Upper, Lower, Title, Pad, Truncate,
        ]
    };

    pub(crate) fn name(self) -> &'static str {
        match self {
            Function::And => "and",
            Function::Or => "or",
            Function::Not => "not",
            Function::Len => "len",
            Function::Index => "index",
            Function::Slice => "slice",
            Function::Print => "print",
            Function::Printf => "printf",
            Function::Println => "println",
            Function::Eq => "eq",
            Function::Ne => "ne",
            Function::Lt => "lt",
            Function::Le => "le",
            Function::Gt => "gt",
            Function::Ge => "ge",
            Function::Json => "json",
            Function::Join => "join",
            Function::Split => "split",
            Function::Upper => "upper",
            Function::Lower => "lower",
            Function::Title => "title",
            Function::Pad => "pad",
            Function::Truncate => "truncate",
        }
    }

    pub(crate) fn arity(self) -> Arity {
        match self {
            Function::And
            | Function::Or
            | Function::Index
            | Function::Slice
            | Function::Printf
            | Function::Eq => Arity::AtLeast(1),
            Function::Print | Function::Println => Arity::AtLeast(0),
            Function::Ne
            | Function::Lt
            | Function::Le
            | Function::Gt
            | Function::Ge
            | Function::Join
            | Function::Split
            | Function::Truncate => Arity::Exactly(2),
            Function::Not
            | Function::Len
            | Function::Json
            | Function::Upper
            | Function::Lower
            | Function::Title => Arity::Exactly(1),
            Function::Pad => Arity::Exactly(3),
        }
    }
}

/// An evaluated argument and, unless it came down the pipe, where it stands in the template.
pub(crate) struct Argument<'t, 'v> {
    pub value: crate::val::Val<'v>,
    pub operand: Option<&'t Operand>,
}

/// Why a call failed.
pub(crate) enum Failure {
    /// The argument of that index is of a wrong type.
    Argument(usize, String),
    /// The function itself refused.
    Call(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Call(message)
    }
}

/// Calls any function but `and` and `or`, whose arguments are evaluated only as needed.
pub(crate) fn call(function: Function, args: &[Argument<'_, '_>], html: bool) -> Result<Value, Failure> {
    let values: Vec<&Value> = args.iter().map(|arg| arg.value.json()).collect();
    let string = |index: usize| string(args, index);
    let mapped = |change: fn(&str) -> String| string(0).map(|text| Value::String(change(text)));
    match function {
        Function::And | Function::Or => Ok(values.last().copied().cloned().unwrap_or_default()),
        Function::Not => Ok(Value::Bool(!value::truth(values[0]))),
        Function::Len => Ok(Value::from(length(&args[0].value)?)),
        Function::Index => Err(Failure::Call("index is evaluated in place".to_owned())),
        Function::Slice => slice(args),
        Function::Print => Ok(Value::String(sprint(&values))),
        Function::Println => {
            let mut line = values.iter().map(|value| value::text(value)).collect::<Vec<_>>().join(" ");
            line.push('\n');
            Ok(Value::String(line))
        }
        Function::Printf => Ok(Value::String(printf::sprintf(string(0)?, &values[1..]))),
        Function::Eq => Ok(Value::Bool(compare::equals_any(values[0], &values[1..])?)),
        Function::Ne => Ok(Value::Bool(!compare::equals(values[0], values[1])?)),
        Function::Lt => ordered(&values, |order| order == Ordering::Less),
        Function::Le => ordered(&values, |order| order != Ordering::Greater),
        Function::Gt => ordered(&values, |order| order == Ordering::Greater),
        Function::Ge => ordered(&values, |order| order != Ordering::Less),
        Function::Json => Ok(Value::String(json(values[0], html))),
        Function::Join => {
            let separator = string(1)?;
            let parts: Vec<String> = match values[0] {
                Value::Array(items) => items.iter().map(value::text).collect(),
                Value::Null => Vec::new(),
                other => return Err(wrong_type(args, 0, "[]string", other)),
            };
            Ok(Value::String(parts.join(separator)))
        }
        Function::Split => {
            let (text, separator) = (string(0)?, string(1)?);
            let parts: Vec<Value> = if separator.is_empty() {
                text.chars().map(|c| Value::String(c.to_string())).collect()
            } else {
                text.split(separator).map(|part| Value::String(part.to_owned())).collect()
            };
            Ok(Value::Array(parts))
        }
        Function::Upper => mapped(str::to_uppercase),
        Function::Lower => mapped(str::to_lowercase),
        Function::Title => mapped(title),
        Function::Pad => {
            let text = string(0)?;
            let (before, after) = (integer(args, 1)?, integer(args, 2)?);
            if text.is_empty() {
                return Ok(Value::String(String::new()));
            }
            let spaces = |count: i64| match usize::try_from(count) {
                Ok(count) if i64::try_from(count).is_ok_and(|c| c <= MAX_PAD) => Ok(" ".repeat(count)),
                _ => Err(Failure::Call(format!("padding of {count} spaces"))),
            };
            Ok(Value::String(format!("{}{text}{}", spaces(before)?, spaces(after)?)))
        }
        Function::Truncate => {
            let (text, length) = (string(0)?, integer(args, 1)?);
            let length = usize::try_from(length)
                .map_err(|_| Failure::Call(format!("length out of range: {length}")))?;
            let cut = text.as_bytes().get(..length).unwrap_or(text.as_bytes());
            Ok(Value::String(String::from_utf8_lossy(cut).into_owned()))
        }
    }
}

/// What the same call does while a table's header is made: names pass unchanged, only `pad` (and what arranges
/// rather than changes text) still works, so that columns keep their alignment.
pub(crate) fn call_for_header(
    function: Function,
    args: &[Argument<'_, '_>],
) -> Option<Result<Value, Failure>> {
    match function {
        Function::Json
        | Function::Join
        | Function::Split
        | Function::Upper
        | Function::Lower
        | Function::Title
        | Function::Truncate => Some(string(args, 0).map(|text| Value::String(text.to_owned()))),
        _ => None,
    }
}

fn string<'a>(args: &'a [Argument<'_, '_>], index: usize) -> Result<&'a str, Failure> {
    match args[index].value.json() {
        Value::String(text) => Ok(text),
        Value::Null if args[index].value.is_text() => Ok(""),
        other => Err(wrong_type(args, index, "string", other)),
    }
}

fn integer(args: &[Argument<'_, '_>], index: usize) -> Result<i64, Failure> {
    let value = args[index].value.json();
    match value.as_i64() {
        Some(number) => Ok(number),
        None => Err(wrong_type(args, index, "int", value)),
    }
}

fn wrong_type(args: &[Argument<'_, '_>], index: usize, expected: &str, found: &Value) -> Failure {
    use crate::ast::OperandKind;
    let kind = args[index].operand.map(|operand| &operand.kind);
    let literal = matches!(kind, Some(OperandKind::Literal(_)));
    Failure::Argument(
        index,
        match found {
            Value::Null if matches!(kind, Some(OperandKind::Nil)) => {
                format!("cannot assign nil to {expected}")
            }
            Value::Null => format!("invalid value; expected {expected}"),
            found if literal && expected == "int" => {
                format!("expected integer; found {}", literal_text(found))
            }
            found if literal && expected == "string" => {
                format!("expected string; found {}", literal_text(found))
            }
            found if literal => {
                format!("can't handle {} for arg of type {expected}", literal_text(found))
            }
            found => format!("wrong type for value; expected {expected}; got {}", value::type_name(found)),
        },
    )
}

fn literal_text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => value::text(other),
    }
}

fn ordered(values: &[&Value], wanted: fn(Ordering) -> bool) -> Result<Value, Failure> {
    Ok(Value::Bool(wanted(compare::order(values[0], values[1])?)))
}

fn length(value: &crate::val::Val<'_>) -> Result<usize, Failure> {
    match value.json() {
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null if value.is_empty_container() => Ok(0),
        Value::Null => Err(Failure::Call("len of nil pointer".to_owned())),
        other => Err(Failure::Call(format!("len of type {}", value::type_name(other)))),
    }
}

/// Go's fmt.Sprint: a space between two operands neither of which is a string.
fn sprint(values: &[&Value]) -> String {
    let mut out = String::new();
    let mut previous_string = true;
    for (index, value) in values.iter().enumerate() {
        let is_string = value.is_string();
        if index > 0 && !is_string && !previous_string {
            out.push(' ');
        }
        out.push_str(&value::text(value));
        previous_string = is_string;
    }
    out
}

fn slice(args: &[Argument<'_, '_>]) -> Result<Value, Failure> {
    let fail = |message: String| Err(Failure::Call(message));
    let item = args[0].value.json();
    let capacity = match item {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Null if args[0].value.is_empty_container() => 0,
        Value::Null => return fail("slice of untyped nil".to_owned()),
        other => return fail(format!("can't slice item of type {}", value::type_name(other))),
    };
    if args.len() > 4 {
        return fail(format!("too many slice indexes: {}", args.len() - 1));
    }
    if args.len() == 4 && item.is_string() {
        return fail("cannot 3-index slice a string".to_owned());
    }
    let mut bounds = [0, capacity, capacity];
    for (position, arg) in args[1..].iter().enumerate() {
        bounds[position] = index_of(arg.value.json(), capacity, true)?;
    }
    let [low, high, most] = bounds;
    if low > high {
        return fail(format!("invalid slice index: {low} > {high}"));
    }
    if high > most {
        return fail(format!("invalid slice index: {high} > {most}"));
    }
    Ok(match item {
        Value::String(text) => {
            Value::String(String::from_utf8_lossy(&text.as_bytes()[low..high]).into_owned())
        }
        Value::Array(items) => Value::Array(items[low..high].to_vec()),
        _ => Value::Array(Vec::new()),
    })
}

/// An index into something of that length; `inclusive` for the end of a slice.
pub(crate) fn index_of(index: &Value, length: usize, inclusive: bool) -> Result<usize, String> {
    let number = match index {
        Value::Number(number) if !number.is_f64() => number,
        Value::Null => return Err("cannot index slice/array with nil".to_owned()),
        other => {
            return Err(format!("cannot index slice/array with type {}", value::type_name(other)));
        }
    };
    number
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|&number| number < length || (inclusive && number == length))
        .ok_or_else(|| format!("index out of range: {number}"))
}

/// Upper-cases the first letter of every word, as Go's strings.Title.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let separated = if previous.is_ascii() {
            !(previous.is_ascii_alphanumeric() || previous == '_')
        } else {
            previous.is_whitespace()
        };
        if separated {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        previous = c;
    }
    out
}

/// Compact JSON. With `html`, objects have `<`, `>` and `&` escaped, as what Docker's lists print of a row.
pub(crate) fn json(value: &Value, html: bool) -> String {
    let text = value.to_string();
    if html && value.is_object() && text.contains(['<', '>', '&']) {
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    } else {
        text
    }
}
