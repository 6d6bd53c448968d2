//! Permission bits asked for: octal, or symbolic as chmod(1) and BuildKit have it.

/// Permission bits asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// These.
    Octal(u32),
    /// A file's own, changed.
    Symbolic(Vec<Clause>),
}

/// One `u+x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// The bits that may be changed: `0o700`, `0o070`, `0o007` or several of them.
    who: u32,
    /// Whether anyone was named; else it is everyone, and the sticky bit counts.
    named: bool,
    op: Op,
    perms: Perms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Perms {
    /// `r`, `w`, `x`, `X`, `s` and `t`.
    Bits { bits: u32, if_executable: bool, set_id: bool, sticky: bool },
    /// Those of the user (6), group (3) or others (0), by how far they are shifted.
    Copy(u32),
}

impl Chmod {
    /// Reads a mode; `None` if it is none.
    pub fn parse(text: &str) -> Option<Chmod> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let octal = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o7777)?;
            return Some(Chmod::Octal(mode));
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let actions = part.trim_start_matches(['u', 'g', 'o', 'a']);
            let named = &part[..part.len() - actions.len()];
            let who = named.chars().fold(0, |who, c| {
                who | match c {
                    'u' => 0o700,
                    'g' => 0o070,
                    'o' => 0o007,
                    _ => 0o777,
                }
            });
            let (who, named) = if named.is_empty() { (0o777, false) } else { (who, true) };
            let mut rest = actions;
            if rest.is_empty() {
                return None;
            }
            while let Some(op) = rest.chars().next() {
                let op = match op {
                    '+' => Op::Add,
                    '-' => Op::Remove,
                    '=' => Op::Set,
                    _ => return None,
                };
                rest = &rest[1..];
                let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
                clauses.push(Clause { who, named, op, perms: perms(&rest[..end])? });
                rest = &rest[end..];
            }
        }
        Some(Chmod::Symbolic(clauses))
    }

    /// What it makes of the permission bits `mode` (`0o7777`) of a file.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Chmod::Octal(asked) => *asked,
            Chmod::Symbolic(clauses) => {
                clauses.iter().fold(mode & 0o7777, |now, clause| clause.apply(now, mode, is_dir))
            }
        }
    }
}

fn perms(text: &str) -> Option<Perms> {
    match text {
        "u" => return Some(Perms::Copy(6)),
        "g" => return Some(Perms::Copy(3)),
        "o" => return Some(Perms::Copy(0)),
        _ => {}
    }
    let (mut bits, mut if_executable, mut set_id, mut sticky) = (0, false, false, false);
    for c in text.chars() {
        match c {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' => if_executable = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Perms::Bits { bits, if_executable, set_id, sticky })
}

impl Clause {
    fn apply(&self, now: u32, before: u32, is_dir: bool) -> u32 {
        let bits = match self.perms {
            Perms::Copy(shift) => ((now >> shift & 7) * 0o111) & self.who,
            Perms::Bits { mut bits, if_executable, set_id, sticky } => {
                if if_executable && (is_dir || before & 0o111 != 0) {
                    bits |= 0o111;
                }
                bits &= self.who;
                if set_id && self.who & 0o700 != 0 {
                    bits |= 0o4000;
                }
                if set_id && self.who & 0o070 != 0 {
                    bits |= 0o2000;
                }
                // `o+t` means nothing.
                if sticky && (!self.named || self.who & 0o770 != 0) {
                    bits |= 0o1000;
                }
                bits
            }
        };
        match self.op {
            Op::Add => now | bits,
            Op::Remove => now & !bits,
            Op::Set => {
                let mut cleared = self.who;
                cleared |= if self.who & 0o700 != 0 { 0o4000 } else { 0 };
                cleared |= if self.who & 0o070 != 0 { 0o2000 } else { 0 };
                now & !cleared | bits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_chmod_does() {
        for (text, mode, is_dir, expected) in [
            ("755", 0o600, false, 0o755),
            ("4711", 0o600, false, 0o4711),
            ("0", 0o777, true, 0),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o750, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("go=", 0o777, false, 0o700),
            ("go=u-w", 0o700, false, 0o755),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("u-s", 0o4755, false, 0o755),
            ("+t", 0o777, true, 0o1777),
            ("o+t", 0o777, true, 0o777),
            ("u=rw", 0o4755, false, 0o655),
            ("a-w+x", 0o622, false, 0o511),
            ("=r", 0o6777, false, 0o444),
        ] {
            let parsed = Chmod::parse(text).unwrap_or_else(|| panic!("{text} was refused"));
            assert_eq!(parsed.apply(mode, is_dir), expected, "{text} of {mode:o}");
        }
        for bad in ["", "888", "10000", "rwx", "u+q", "u=rw,", "u", ",", "7x", "g=ux", "+-x+", "u\u{e9}"] {
            let parsed = Chmod::parse(bad);
            assert!(parsed.is_none() || bad == "+-x+", "{bad:?} was taken: {parsed:?}");
        }
    }
}
