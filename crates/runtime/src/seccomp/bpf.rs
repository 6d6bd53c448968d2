//! The assembler: tables of calls and outcomes to classic BPF.
//!
//! Per architecture a binary tree over ranges of call numbers with the same outcome; a call with conditions gets a
//! chain of its own at its leaf. The program is written backwards, so that every jump target (jumps only go forward)
//! is known when the jump is written; jumps beyond BPF's 255 instructions go through a long jump beside them.

use super::action;
use libc::sock_filter;
use std::collections::BTreeMap;

/// What the kernel does with a call: a seccomp return value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `args[index] & mask` compared with `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub index: u32,
    pub compare: Compare,
    pub mask: u64,
    pub value: u64,
    /// Only the low 32 bits count.
    pub narrow: bool,
}

/// An outcome under conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub conditions: Vec<Condition>,
    pub outcome: Outcome,
}

/// The rules of one architecture.
pub(super) struct Table {
    /// `AUDIT_ARCH_*`.
    pub audit_arch: u32,
    /// Whether numbers with bit 30 are another ABI's, to be answered with `unknown`.
    pub x32_below: bool,
    /// For numbers above the highest one with a rule, if the default is an error: calls that the profile's author could
    /// not know of answer ENOSYS, so that programs fall back (as runc and crun do).
    pub unknown: Outcome,
    pub calls: BTreeMap<u32, Vec<Rule>>,
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn arg_low(index: u32) -> u32 {
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    16 + 8 * index + low
}
const fn arg_high(index: u32) -> u32 {
    let high = if cfg!(target_endian = "little") { 4 } else { 0 };
    16 + 8 * index + high
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// A place in the program: instructions from its end.
#[derive(Clone, Copy)]
struct Label(usize);

/// The program so far, last instruction first.
#[derive(Default)]
struct Backwards {
    program: Vec<sock_filter>,
    /// Where each outcome was last written: one near enough is jumped to, not written again.
    returns: Vec<(Outcome, Label)>,
}

/// How far back a return is still used: under the 255 of a jump, with room for what is written in between.
const NEAR: usize = 240;

impl Backwards {
    fn here(&self) -> Label {
        Label(self.program.len())
    }

    fn push(&mut self, code: u16, k: u32) -> Label {
        self.program.push(sock_filter { code, jt: 0, jf: 0, k });
        self.here()
    }

    fn ret(&mut self, outcome: Outcome) -> Label {
        let made = self.returns.iter().find(|(o, at)| *o == outcome && self.distance(*at) <= NEAR);
        if let Some(&(_, at)) = made {
            return at;
        }
        let at = self.push(RETURN, outcome.0);
        self.returns.retain(|(o, _)| *o != outcome);
        self.returns.push((outcome, at));
        at
    }

    /// Goes on at `target` without a condition: by falling into it, or by a jump.
    fn go_on(&mut self, target: Label) {
        let distance = self.distance(target) as u32;
        if distance > 0 {
            self.push(JUMP, distance);
        }
    }

    /// How many instructions a jump written now would skip to reach `target`.
    fn distance(&self, target: Label) -> usize {
        self.program.len() - target.0
    }

    fn near(&mut self, target: Label) -> Label {
        if self.distance(target) <= 250 {
            target
        } else {
            let distance = self.distance(target) as u32;
            self.push(JUMP, distance)
        }
    }

    /// `if accumulator (code) k then yes else no`.
    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let yes = self.near(yes);
        let no = self.near(no);
        self.program.push(sock_filter { code, jt: self.distance(yes) as u8, jf: self.distance(no) as u8, k });
        self.here()
    }

    /// Goes to `yes` if the condition holds, else to `no`.
    fn condition(&mut self, c: &Condition, yes: Label, no: Label) -> Label {
        let (mask_low, mask_high) = (c.mask as u32, (c.mask >> 32) as u32);
        let (low, high) = (c.value as u32, (c.value >> 32) as u32);
        // Each operator is one of ==, >, >= with its branches as they are or swapped.
        let (code, yes, no) = match c.compare {
            Compare::Equal => (EQUAL, yes, no),
            Compare::NotEqual => (EQUAL, no, yes),
            Compare::Greater => (GREATER, yes, no),
            Compare::LessOrEqual => (GREATER, no, yes),
            Compare::GreaterOrEqual => (AT_LEAST, yes, no),
            Compare::Less => (AT_LEAST, no, yes),
        };
        self.branch(code, low, yes, no);
        if mask_low != u32::MAX {
            self.push(AND, mask_low);
        }
        let low_entry = self.push(LOAD, arg_low(c.index));
        if c.narrow || mask_high == 0 {
            return low_entry;
        }
        // Upper words first: equal ones leave it to the lower words.
        if code == EQUAL {
            self.branch(EQUAL, high, low_entry, no);
        } else {
            let equal = self.branch(EQUAL, high, low_entry, no);
            self.branch(GREATER, high, yes, equal);
        }
        if mask_high != u32::MAX {
            self.push(AND, mask_high);
        }
        self.push(LOAD, arg_high(c.index))
    }

    /// Tries `rules` in order, `default` if none matches.
    fn chain(&mut self, rules: &[Rule], default: Outcome) -> Label {
        let mut next = self.ret(default);
        for rule in rules.iter().rev() {
            let mut entry = self.ret(rule.outcome);
            for condition in rule.conditions.iter().rev() {
                entry = self.condition(condition, entry, next);
            }
            next = entry;
        }
        next
    }

    /// A search tree over `ranges`, each from its number up to the next one's.
    fn tree(&mut self, ranges: &[(u32, Leaf<'_>)], default: Outcome) -> Label {
        if let [(_, leaf)] = ranges {
            return match leaf {
                Leaf::Always(outcome) => self.ret(*outcome),
                Leaf::Rules(rules) => self.chain(rules, default),
            };
        }
        let (left, right) = ranges.split_at(ranges.len() / 2);
        let right_entry = self.tree(right, default);
        let left_entry = self.tree(left, default);
        self.branch(AT_LEAST, right[0].0, right_entry, left_entry)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf<'a> {
    Always(Outcome),
    Rules(&'a [Rule]),
}

/// Ranges of call numbers, each from its first number up to the next one's.
struct Ranges<'a>(Vec<(u32, Leaf<'a>)>);

impl<'a> Ranges<'a> {
    fn add(&mut self, from: u32, leaf: Leaf<'a>) {
        // A range that would end where it begins gives way.
        if self.0.last().is_some_and(|&(start, _)| start == from) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|&(_, last)| last != leaf) {
            self.0.push((from, leaf));
        }
    }
}

impl Table {
    fn ranges(&self, default: Outcome) -> Vec<(u32, Leaf<'_>)> {
        let mut ranges = Ranges(Vec::new());
        ranges.add(0, Leaf::Always(default));
        let mut highest = None;
        for (&number, rules) in &self.calls {
            let leaf = match rules.first() {
                Some(rule) if rule.conditions.is_empty() => Leaf::Always(rule.outcome),
                _ => Leaf::Rules(rules),
            };
            ranges.add(number, leaf);
            ranges.add(number + 1, Leaf::Always(default));
            highest = Some(number);
        }
        if default.0 & 0xffff_0000 == action::ERRNO
            && let Some(highest) = highest
        {
            ranges.add(highest + 1, Leaf::Always(self.unknown));
        }
        if self.x32_below {
            ranges.add(0x4000_0000, Leaf::Always(self.unknown));
        }
        ranges.0
    }
}

/// Assembles the filter; calls of an architecture without a table get `foreign`.
pub(super) fn assemble(tables: &[Table], default: Outcome, foreign: Outcome) -> Vec<sock_filter> {
    let mut program = Backwards::default();
    let mut next = program.ret(foreign);
    // Written backwards: the first table, the native one, is to be asked first.
    for table in tables.iter().rev() {
        let tree = program.tree(&table.ranges(default), default);
        program.go_on(tree);
        let tree = program.push(LOAD, NUMBER);
        next = program.branch(EQUAL, table.audit_arch, tree, next);
    }
    program.go_on(next);
    program.push(LOAD, ARCH);
    program.program.reverse();
    program.program
}

/// Runs a program as the kernel would, on one call.
#[cfg(test)]
pub(super) fn interpret(program: &[sock_filter], arch: u32, number: u32, args: &[u64]) -> u32 {
    let mut accumulator = 0_u32;
    let mut at = 0;
    loop {
        let i = program[at];
        at += 1;
        match i.code {
            LOAD => {
                accumulator = match i.k {
                    NUMBER => number,
                    ARCH => arch,
                    offset => {
                        let index = (offset - 16) / 8;
                        let value = args.get(index as usize).copied().unwrap_or(0);
                        if offset == arg_low(index) { value as u32 } else { (value >> 32) as u32 }
                    }
                }
            }
            AND => accumulator &= i.k,
            RETURN => return i.k,
            JUMP => at += i.k as usize,
            code => {
                let holds = match code {
                    EQUAL => accumulator == i.k,
                    GREATER => accumulator > i.k,
                    AT_LEAST => accumulator >= i.k,
                    other => panic!("unexpected instruction {other:#x}"),
                };
                at += usize::from(if holds { i.jt } else { i.jf });
            }
        }
    }
}
