//! `printf`: Go's fmt.Sprintf for JSON values, with its `%!verb(type=value)` notes for what does not fit.
//!
//! Lists and objects apply the verb to their elements, as Go does. `%#v` shows Go syntax for strings only;
//! `%p` and complex numbers have nothing to act on here.

use crate::value;
use serde_json::Value;

/// Go refuses wider fields, which also bounds the output of one verb.
const MAX_WIDTH: usize = 1_000_000;

#[derive(Default, Clone)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// The format applied to the arguments. Never fails: what is wrong shows in the text.
pub(crate) fn sprintf(format: &str, args: &[&Value]) -> String {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut next = 0;
    let mut reordered = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = Flags::default();
        let mut bad_index = false;
        while let Some(&flag) = chars.peek() {
            match flag {
                '-' => flags.minus = true,
                '+' => flags.plus = true,
                '#' => flags.sharp = true,
                ' ' => flags.space = true,
                '0' => flags.zero = true,
                _ => break,
            }
            chars.next();
        }
        index(&mut chars, args.len(), &mut next, &mut reordered, &mut bad_index);
        flags.width = count(&mut chars, args, &mut next, "WIDTH", &mut out, &mut flags.minus);
        if chars.peek() == Some(&'.') {
            chars.next();
            index(&mut chars, args.len(), &mut next, &mut reordered, &mut bad_index);
            let mut negative = false;
            flags.precision = count(&mut chars, args, &mut next, "PREC", &mut out, &mut negative).or(Some(0));
            if negative {
                flags.precision = None;
                out.push_str("%!(BADPREC)");
            }
        }
        index(&mut chars, args.len(), &mut next, &mut reordered, &mut bad_index);
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        if bad_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
            continue;
        }
        match args.get(next) {
            Some(arg) => {
                next += 1;
                apply(verb, arg, &flags, &mut out);
            }
            None => {
                out.push_str("%!");
                out.push(verb);
                out.push_str("(MISSING)");
            }
        }
    }
    if !reordered && next < args.len() {
        out.push_str("%!(EXTRA ");
        for (position, arg) in args[next..].iter().enumerate() {
            if position > 0 {
                out.push_str(", ");
            }
            if arg.is_null() {
                out.push_str("<nil>");
            } else {
                out.push_str(&format!("{}={}", value::type_name(arg), value::text(arg)));
            }
        }
        out.push(')');
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// `[n]` before a verb or `*`: the next argument to take.
fn index(chars: &mut Chars<'_>, have: usize, next: &mut usize, reordered: &mut bool, bad: &mut bool) {
    if chars.peek() != Some(&'[') {
        return;
    }
    *reordered = true;
    chars.next();
    let mut digits = String::new();
    while let Some(&c) = chars.peek() {
        chars.next();
        if c == ']' {
            break;
        }
        digits.push(c);
    }
    match digits.parse::<usize>() {
        Ok(number) if number >= 1 && number <= have => *next = number - 1,
        _ => *bad = true,
    }
}

/// Digits, or `*` for an argument.
fn count(
    chars: &mut Chars<'_>,
    args: &[&Value],
    next: &mut usize,
    what: &str,
    out: &mut String,
    negative: &mut bool,
) -> Option<usize> {
    if chars.peek() == Some(&'*') {
        chars.next();
        let number = args.get(*next).and_then(|arg| arg.as_i64());
        *next += 1;
        if let Some(number) = number
            && let Ok(size) = usize::try_from(number.unsigned_abs())
            && size <= MAX_WIDTH
        {
            *negative |= number < 0;
            return Some(size);
        }
        out.push_str(&format!("%!(BAD{what})"));
        return None;
    }
    let mut digits = String::new();
    while let Some(c) = chars.peek().filter(|c| c.is_ascii_digit()) {
        digits.push(*c);
        chars.next();
    }
    if digits.is_empty() {
        return None;
    }
    match digits.parse::<usize>() {
        Ok(size) if size <= MAX_WIDTH => Some(size),
        _ => {
            out.push_str(&format!("%!(BAD{what})"));
            None
        }
    }
}

fn apply(verb: char, arg: &Value, flags: &Flags, out: &mut String) {
    match (verb, arg) {
        ('T', _) => pad(value::type_name(arg), flags, false, out),
        (_, Value::Null) if verb == 'v' => pad("<nil>", flags, false, out),
        (_, Value::Null) => {
            out.push_str(&format!("%!{verb}(<nil>)"));
        }
        (_, Value::Array(items)) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                apply(verb, item, flags, out);
            }
            out.push(']');
        }
        (_, Value::Object(map)) => {
            out.push_str("map[");
            for (index, key) in value::sorted_keys(arg).into_iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                apply(verb, &Value::String(key.to_owned()), flags, out);
                out.push(':');
                apply(verb, &map[key], flags, out);
            }
            out.push(']');
        }
        (_, Value::String(text)) => string(verb, text, flags, out, arg),
        (_, Value::Bool(b)) => match verb {
            't' | 'v' => pad(if *b { "true" } else { "false" }, flags, false, out),
            _ => bad(verb, arg, out),
        },
        (_, Value::Number(number)) => match number.as_f64() {
            Some(float) if number.is_f64() => self::float(verb, float, flags, out, arg),
            _ => {
                let wide =
                    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).unwrap_or(0);
                integer(verb, wide, flags, out, arg);
            }
        },
    }
}

fn bad(verb: char, arg: &Value, out: &mut String) {
    out.push_str(&format!("%!{verb}({}={})", value::type_name(arg), value::text(arg)));
}

fn string(verb: char, text: &str, flags: &Flags, out: &mut String, arg: &Value) {
    let cut: String = match flags.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    match verb {
        'v' if flags.sharp => pad(&quote(&cut, false), flags, false, out),
        's' | 'v' => pad(&cut, flags, flags.zero, out),
        'q' if flags.sharp && !cut.contains('`') && !cut.chars().any(char::is_control) => {
            pad(&format!("`{cut}`"), flags, false, out);
        }
        'q' => pad(&quote(&cut, flags.plus), flags, false, out),
        'x' | 'X' => {
            let bytes = text.as_bytes();
            let bytes = &bytes[..flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
            let mut hex = String::with_capacity(bytes.len() * 2);
            for (index, byte) in bytes.iter().enumerate() {
                if flags.space && index > 0 {
                    hex.push(' ');
                }
                if flags.sharp && (flags.space || index == 0) {
                    hex.push_str(if verb == 'x' { "0x" } else { "0X" });
                }
                hex.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
            }
            pad(&hex, flags, flags.zero, out);
        }
        _ => bad(verb, arg, out),
    }
}

fn integer(verb: char, number: i128, flags: &Flags, out: &mut String, arg: &Value) {
    let magnitude = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'd' | 'v' => ("", magnitude.to_string()),
        'b' => (if flags.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
        'o' => (if flags.sharp { "0" } else { "" }, format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => (if flags.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
        'X' => (if flags.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
        'c' | 'q' | 'U' => {
            let c =
                u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            let text = match verb {
                'c' => c.to_string(),
                'q' => format!("'{}'", escape(c, '\'', flags.plus)),
                _ if flags.sharp => format!("U+{magnitude:04X} '{c}'"),
                _ => format!("U+{magnitude:04X}"),
            };
            return pad(&text, flags, false, out);
        }
        _ => return bad(verb, arg, out),
    };
    let sign = match (number < 0, flags.plus, flags.space) {
        (true, _, _) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let least = match (flags.precision, flags.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(sign.len() + prefix.len()),
        _ => 0,
    };
    let zeros = "0".repeat(least.saturating_sub(digits.len()));
    pad(&format!("{sign}{prefix}{zeros}{digits}"), flags, false, out);
}

fn float(verb: char, number: f64, flags: &Flags, out: &mut String, arg: &Value) {
    // The digits a float64 can have; more would only be zeros that cost memory.
    let precision = flags.precision.map(|precision| precision.min(1100));
    let magnitude = number.abs();
    let digits = match verb {
        'v' => match precision {
            None => value::shortest(magnitude),
            Some(precision) => significant(magnitude, precision),
        },
        'g' | 'G' => match precision {
            None => value::shortest(magnitude),
            Some(precision) => significant(magnitude, precision),
        },
        'f' | 'F' => format!("{magnitude:.*}", precision.unwrap_or(6)),
        'e' | 'E' => value::go_exponent(&format!("{magnitude:.*e}", precision.unwrap_or(6))),
        _ => return bad(verb, arg, out),
    };
    let digits = if matches!(verb, 'E' | 'G') { digits.to_uppercase() } else { digits };
    let sign = match (number.is_sign_negative(), flags.plus, flags.space) {
        (true, _, _) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let zeros = match flags.width {
        Some(width) if flags.zero && !flags.minus => {
            "0".repeat(width.saturating_sub(sign.len() + digits.len()))
        }
        _ => String::new(),
    };
    pad(&format!("{sign}{zeros}{digits}"), flags, false, out);
}

/// `%.Ng`: N significant digits, an exponent where it is below -4 or not below N.
fn significant(magnitude: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let scientific = format!("{magnitude:.*e}", precision - 1);
    let exponent: i32 =
        scientific.rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let (mantissa, exponent) = scientific.rsplit_once('e').unwrap_or((&scientific, "0"));
        value::go_exponent(&format!("{}e{exponent}", trim(mantissa)))
    } else {
        let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
        trim(&format!("{magnitude:.decimals$}"))
    }
}

fn pad(text: &str, flags: &Flags, zeros: bool, out: &mut String) {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        out.push_str(text);
    } else if flags.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else {
        let fill = if zeros { '0' } else { ' ' };
        out.extend(std::iter::repeat_n(fill, missing));
        out.push_str(text);
    }
}

/// A double-quoted Go string.
fn quote(text: &str, ascii: bool) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        out.push_str(&escape(c, '"', ascii));
    }
    out.push('"');
    out
}

fn escape(c: char, quote: char, ascii: bool) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        c if c == quote => format!("\\{c}"),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\x0b' => "\\v".to_owned(),
        c if u32::from(c) < 0x20 || c == '\x7f' => format!("\\x{:02x}", u32::from(c)),
        c if c.is_control() || (ascii && !c.is_ascii()) => {
            let code = u32::from(c);
            if code < 0x1_0000 { format!("\\u{code:04x}") } else { format!("\\U{code:08x}") }
        }
        c => c.to_string(),
    }
}
