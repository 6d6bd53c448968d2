//! System call filters: the runtime spec's seccomp section compiled to BPF, Docker's default profile as such a
//! section, and the loading of both.
//!
//! libseccomp is not used: its filters compare call numbers one after the other, which the kernel, as it tries every
//! number to build its cache, makes ten times slower to load than the tree over number ranges that [`bpf`] builds.
//! What a call name means is in `syscalls.txt`. Differences from libseccomp: rules for one call are tried in order and
//! the first match counts, and x32 calls answer ENOSYS.

mod bpf;
mod numbers;
mod profile;

pub(crate) use profile::docker_default;

use crate::Error;
use crate::container::syscalls;
use crate::spec::{Seccomp, SeccompArg, SeccompRule};
use bpf::{Compare, Condition, Outcome, Rule, Table};
use numbers::Arch;
use std::collections::BTreeMap;

/// seccomp(2) return actions.
mod action {
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    pub const KILL_THREAD: u32 = 0x0000_0000;
    pub const TRAP: u32 = 0x0003_0000;
    pub const ERRNO: u32 = 0x0005_0000;
    pub const TRACE: u32 = 0x7ff0_0000;
    pub const LOG: u32 = 0x7ffc_0000;
    pub const ALLOW: u32 = 0x7fff_0000;
}

/// A compiled filter, ready to load.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    program: Vec<libc::sock_filter>,
    flags: libc::c_ulong,
}

/// Compiles a seccomp section for the architectures it names.
///
/// # Errors
/// On unknown actions, operators and flags. Unknown call names are skipped, as crun and runc do: a profile names calls
/// of many kernels and architectures.
pub(crate) fn compile(seccomp: &Seccomp) -> Result<Filter, Error> {
    let default = parse_action(&seccomp.default_action, seccomp.default_errno_ret)?;
    let mut arches = Vec::new();
    for name in &seccomp.architectures {
        if let Some(arch) = Arch::from_oci(name)
            && !arches.contains(&arch)
        {
            arches.push(arch);
        }
    }
    if arches.is_empty() {
        arches.extend(Arch::native());
    }
    let mut rules: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    for rule in &seccomp.syscalls {
        let outcome = parse_action(&rule.action, rule.errno_ret)?;
        if outcome == default {
            continue;
        }
        let alternatives = alternatives(rule)?;
        for name in &rule.names {
            let list = rules.entry(name).or_default();
            list.extend(
                alternatives.iter().map(|conditions| Rule { conditions: conditions.clone(), outcome }),
            );
        }
    }
    let tables: Vec<Table> = arches
        .into_iter()
        .map(|arch| {
            let mut calls = BTreeMap::new();
            for (name, list) in &rules {
                if let Some(number) = arch.number(name) {
                    let mut list = list.clone();
                    for rule in &mut list {
                        narrow(name, &mut rule.conditions);
                    }
                    calls.insert(number, list);
                }
            }
            Table {
                audit_arch: arch.audit_arch(),
                x32_below: arch.has_x32(),
                unknown: Outcome(action::ERRNO | libc::ENOSYS as u32),
                calls,
            }
        })
        .collect();
    let mut flags = 0;
    for flag in &seccomp.flags {
        flags |= match flag.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_TSYNC" => libc::SECCOMP_FILTER_FLAG_TSYNC,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 0,
            other => return Err(Error::Spec(format!("unknown seccomp flag \"{other}\""))),
        };
    }
    Ok(Filter { program: bpf::assemble(&tables, default, Outcome(action::KILL_PROCESS)), flags })
}

/// The ways a rule can match: one list of conditions that must all hold, or, where two conditions are on the same
/// argument, each alone (so libseccomp's users, runc and crun, read such rules).
fn alternatives(rule: &SeccompRule) -> Result<Vec<Vec<Condition>>, Error> {
    let conditions = rule.args.iter().map(parse_condition).collect::<Result<Vec<_>, _>>()?;
    let repeated =
        rule.args.iter().enumerate().any(|(n, a)| rule.args[..n].iter().any(|b| a.index == b.index));
    Ok(if repeated { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] })
}

/// The kernel reads some arguments as 32 bits: a filter that compares 64 is passed by setting an upper bit.
fn narrow(name: &str, conditions: &mut [Condition]) {
    if matches!(name, "socket" | "socketpair" | "personality") {
        for condition in conditions.iter_mut().filter(|c| c.index == 0) {
            condition.narrow = true;
        }
    }
}

fn parse_condition(arg: &SeccompArg) -> Result<Condition, Error> {
    if arg.index > 5 {
        return Err(Error::Spec(format!("seccomp: a system call has no argument {}", arg.index)));
    }
    let (compare, mask, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (Compare::NotEqual, u64::MAX, arg.value),
        "SCMP_CMP_LT" => (Compare::Less, u64::MAX, arg.value),
        "SCMP_CMP_LE" => (Compare::LessOrEqual, u64::MAX, arg.value),
        "SCMP_CMP_EQ" => (Compare::Equal, u64::MAX, arg.value),
        "SCMP_CMP_GE" => (Compare::GreaterOrEqual, u64::MAX, arg.value),
        "SCMP_CMP_GT" => (Compare::Greater, u64::MAX, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Compare::Equal, arg.value, arg.value_two & arg.value),
        other => return Err(Error::Spec(format!("unknown seccomp operator \"{other}\""))),
    };
    Ok(Condition { index: arg.index, compare, mask, value, narrow: false })
}

fn parse_action(name: &str, errno: Option<u32>) -> Result<Outcome, Error> {
    let errno = errno.unwrap_or(libc::EPERM as u32) & 0xffff;
    Ok(Outcome(match name {
        "SCMP_ACT_ALLOW" => action::ALLOW,
        "SCMP_ACT_ERRNO" => action::ERRNO | errno,
        "SCMP_ACT_LOG" => action::LOG,
        "SCMP_ACT_TRAP" => action::TRAP,
        "SCMP_ACT_TRACE" => action::TRACE | errno,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => action::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => action::KILL_PROCESS,
        other => return Err(Error::Spec(format!("unsupported seccomp action \"{other}\""))),
    }))
}

impl Filter {
    /// Loads the filter into this thread, for good. Needs `no_new_privs` or CAP_SYS_ADMIN in the user namespace.
    pub(crate) fn load(&self) -> std::io::Result<()> {
        // Since Linux 4.17; without, programs pay for a mitigation that Docker's runtimes switch off as well.
        let fast = self.flags | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        match syscalls::load_filter(&self.program, fast) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                syscalls::load_filter(&self.program, self.flags)
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        compile(&docker_default(&crate::capability::docker_default())).expect("the default profile compiles")
    }

    fn check(filter: &Filter, name: &str, args: &[u64], want: u32) {
        for arch in Arch::all() {
            let Some(number) = arch.number(name) else { continue };
            let got = bpf::interpret(&filter.program, arch.audit_arch(), number, args);
            assert_eq!(got, want, "{name}{args:?} on {arch:?}: {got:#x}");
        }
    }

    const EPERM: u32 = action::ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = action::ERRNO | libc::ENOSYS as u32;

    #[test]
    fn docker_profile_decides_as_docker() {
        let filter = filter();
        for name in ["read", "openat", "fchmodat2", "mseal", "exit_group", "ptrace", "sync_file_range2"] {
            check(&filter, name, &[], action::ALLOW);
        }
        for name in ["mount", "unshare", "setns", "bpf", "io_uring_setup", "keyctl", "reboot", "swapon"] {
            check(&filter, name, &[], EPERM);
        }
        check(&filter, "clone3", &[], ENOSYS);
        check(&filter, "clone", &[libc::SIGCHLD as u64], action::ALLOW);
        check(&filter, "clone", &[libc::CLONE_NEWUSER as u64 | 17], EPERM);
        check(&filter, "socket", &[libc::AF_INET as u64], action::ALLOW);
        check(&filter, "socket", &[libc::AF_VSOCK as u64], EPERM);
        check(&filter, "socket", &[libc::AF_ALG as u64], EPERM);
        check(&filter, "socket", &[1 << 32 | libc::AF_VSOCK as u64], EPERM);
        check(&filter, "socket", &[39], action::ALLOW);
        for persona in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
            check(&filter, "personality", &[persona], action::ALLOW);
        }
        check(&filter, "personality", &[0x40000], EPERM);
    }

    #[test]
    fn capabilities_open_calls() {
        let mut names = crate::capability::docker_default();
        names.push("CAP_SYS_ADMIN".into());
        names.push("CAP_SYS_TIME".into());
        let filter = compile(&docker_default(&names)).expect("compiles");
        for name in ["mount", "unshare", "clone3", "clock_settime"] {
            check(&filter, name, &[], action::ALLOW);
        }
        check(&filter, "clone", &[libc::CLONE_NEWUSER as u64], action::ALLOW);
        check(&filter, "reboot", &[], EPERM);
    }

    #[test]
    fn newer_calls_than_the_profile_do_not_exist() {
        let filter = filter();
        for arch in Arch::all() {
            let got = bpf::interpret(&filter.program, arch.audit_arch(), 600, &[]);
            assert_eq!(got, ENOSYS, "{arch:?}");
        }
        let foreign = bpf::interpret(&filter.program, 0x1234, 0, &[]);
        assert_eq!(foreign, action::KILL_PROCESS);
        if Arch::native() == Some(Arch::X86_64) {
            let x32 = bpf::interpret(&filter.program, Arch::X86_64.audit_arch(), 0x4000_0001, &[]);
            assert_eq!(x32, ENOSYS);
        }
    }

    #[test]
    fn every_number_agrees_with_a_plain_lookup() {
        let seccomp = docker_default(&crate::capability::docker_default());
        let filter = filter();
        let conditional = ["clone", "socket", "personality"];
        let unconditional: Vec<&str> = seccomp
            .syscalls
            .iter()
            .filter(|r| r.args.is_empty() && r.action == "SCMP_ACT_ALLOW")
            .flat_map(|r| r.names.iter().map(String::as_str))
            .collect();
        for arch in Arch::all() {
            let allowed: Vec<u32> = unconditional.iter().filter_map(|n| arch.number(n)).collect();
            let skipped: Vec<u32> = conditional.iter().filter_map(|n| arch.number(n)).collect();
            for number in (0..700).filter(|n| !skipped.contains(n)) {
                let got = bpf::interpret(&filter.program, arch.audit_arch(), number, &[]);
                assert_eq!(got == action::ALLOW, allowed.contains(&number), "{number} on {arch:?}: {got:#x}");
            }
        }
    }

    #[test]
    fn operators_compare_sixty_four_bits() {
        let big = 0x1_0000_0005_u64;
        let cases: &[(&str, u64, u64, bool)] = &[
            ("SCMP_CMP_EQ", big, 5, false),
            ("SCMP_CMP_EQ", big, big, true),
            ("SCMP_CMP_NE", big, 5, true),
            ("SCMP_CMP_NE", big, big, false),
            ("SCMP_CMP_GT", 5, big, true),
            ("SCMP_CMP_GT", big, 6, false),
            ("SCMP_CMP_GT", big, big, false),
            ("SCMP_CMP_GE", big, big, true),
            ("SCMP_CMP_GE", big, 7, false),
            ("SCMP_CMP_GE", big, big + 1, true),
            ("SCMP_CMP_LT", big, 7, true),
            ("SCMP_CMP_LT", big, big, false),
            ("SCMP_CMP_LE", big, big, true),
            ("SCMP_CMP_LE", 5, big, false),
            ("SCMP_CMP_LE", big, 0x2_0000_0000, false),
        ];
        for &(op, value, given, want) in cases {
            let seccomp = Seccomp {
                default_action: "SCMP_ACT_ERRNO".into(),
                syscalls: vec![SeccompRule {
                    names: vec!["read".into()],
                    action: "SCMP_ACT_ALLOW".into(),
                    args: vec![SeccompArg { index: 2, value, op: op.into(), ..SeccompArg::default() }],
                    ..SeccompRule::default()
                }],
                ..Seccomp::default()
            };
            let filter = compile(&seccomp).expect("compiles");
            let arch = Arch::native().expect("a known architecture");
            let number = arch.number("read").expect("a known call");
            let got = bpf::interpret(&filter.program, arch.audit_arch(), number, &[0, 0, given]);
            assert_eq!(got == action::ALLOW, want, "{given:#x} {op} {value:#x}");
        }
    }

    #[test]
    fn unknown_words_are_errors_and_unknown_calls_are_not() {
        let mut seccomp = Seccomp {
            default_action: "SCMP_ACT_ALLOW".into(),
            syscalls: vec![SeccompRule {
                names: vec!["no_such_call".into()],
                action: "SCMP_ACT_ERRNO".into(),
                ..SeccompRule::default()
            }],
            ..Seccomp::default()
        };
        assert!(compile(&seccomp).is_ok());
        seccomp.syscalls[0].action = "SCMP_ACT_DANCE".into();
        assert!(compile(&seccomp).is_err());
    }

    #[test]
    fn program_is_short() {
        let length = filter().program.len();
        assert!(length < 400, "{length} instructions");
    }
}
