//! Names of Linux signals, as `STOPSIGNAL` and `docker kill` take them.

const NAMES: [&str; 35] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
];

/// Whether `text` is a signal: a number but 0, or a name with or without `SIG`, in any case.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |digits: &str, last: u32| {
        !digits.starts_with('0') && digits.parse::<u32>().is_ok_and(|number| (1..=last).contains(&number))
    };
    NAMES.contains(&name)
        || name == "RTMAX"
        || name.strip_prefix("RTMIN+").is_some_and(|digits| offset(digits, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|digits| offset(digits, 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for signal in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "SIGRTMIN", "37"] {
            assert!(is_signal(signal), "{signal:?} was refused");
        }
        for signal in ["", "0", "SIG", "SIGFOO", "RTMIN+16", "RTMIN+0", "RTMAX-15", "TERM "] {
            assert!(!is_signal(signal), "{signal:?} was taken");
        }
    }
}
