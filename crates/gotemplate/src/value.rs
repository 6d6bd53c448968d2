//! How Go prints values (`%v`), what it calls their types, and which of them are true.

use serde_json::{Number, Value};

/// A value as Go's `%v` prints it: strings bare, lists `[a b]`, objects `map[k:v]` with sorted keys, null `<nil>`.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&number(n)),
        Value::String(s) => out.push_str(s),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (index, key) in sorted_keys(value).into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write(&map[key], out);
            }
            out.push(']');
        }
    }
}

/// An object's keys in the order Go walks maps in.
pub(crate) fn sorted_keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = match value {
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    keys.sort_unstable();
    keys
}

fn number(n: &Number) -> String {
    match n.as_f64() {
        Some(float) if n.is_f64() => shortest(float),
        _ => n.to_string(),
    }
}

/// Go's `%v` of a float64: the shortest digits, with an exponent below 1e-4 and from 1e6 up.
pub(crate) fn shortest(float: f64) -> String {
    if float == 0.0 || float.is_nan() || float.is_infinite() {
        return match float {
            f if f.is_nan() => "NaN".to_owned(),
            f if f.is_infinite() => if f > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            f if f.is_sign_negative() => "-0".to_owned(),
            _ => "0".to_owned(),
        };
    }
    let scientific = format!("{float:e}");
    let exponent: i32 =
        scientific.rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if (-4..6).contains(&exponent) { format!("{float}") } else { go_exponent(&scientific) }
}

/// `1e-7` as Go writes it: `1e-07`.
pub(crate) fn go_exponent(scientific: &str) -> String {
    match scientific.rsplit_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent.trim_start_matches('+')),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => scientific.to_owned(),
    }
}

/// The Go type that the JSON decoder would have made.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => "[]string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's notion of a non-empty value.
pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prints_as_go() {
        for (value, expected) in [
            (json!(null), "<nil>"),
            (json!(1.5), "1.5"),
            (json!(1e30), "1e+30"),
            (json!(1e20), "1e+20"),
            (json!(123456.5), "123456.5"),
            (json!(1234567.5), "1.2345675e+06"),
            (json!(1e-7), "1e-07"),
            (json!(0.0001), "0.0001"),
            (json!(-3), "-3"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(["a", 1, null]), "[a 1 <nil>]"),
            (json!({"b": 1, "a": {"x": []}}), "map[a:map[x:[]] b:1]"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
