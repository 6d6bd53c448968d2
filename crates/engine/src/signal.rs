//! Signals by name or number, as Docker's command line takes them.

use crate::{Error, Result};

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first and last real-time signals that programs can use.
const REAL_TIME: (i32, i32) = (34, 64);

/// The number of `text`: `15`, `TERM`, `SIGTERM`, `sigterm`, `RTMIN+3`.
pub(crate) fn number(text: &str) -> Result<i32> {
    let invalid = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=REAL_TIME.1).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(place) = NAMES.iter().position(|known| *known == name) {
        return Ok(i32::try_from(place).unwrap_or(0) + 1);
    }
    let alias = match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        _ => None,
    };
    let real_time = || {
        let (base, sign, rest) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => (REAL_TIME.0, 1, rest.strip_prefix('+')),
            (_, Some(rest)) => (REAL_TIME.1, -1, rest.strip_prefix('-')),
            _ => return None,
        };
        let offset = match rest {
            None if name.len() == 5 => 0,
            rest => rest?.parse::<u8>().ok()?,
        };
        let number = base + sign * i32::from(offset);
        (REAL_TIME.0..=REAL_TIME.1).contains(&number).then_some(number)
    };
    alias.or_else(real_time).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers() {
        for (text, expected) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigusr1", 10),
            ("hup", 1),
            ("SYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in ["0", "65", "-1", "", "NOPE", "RTMIN+31", "RTMINx", "SIG"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
