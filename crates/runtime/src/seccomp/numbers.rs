//! System call numbers by name, for this machine's architecture and the 32-bit one it also runs.
//!
//! The table is data (`syscalls.txt`), read once: profiles name calls that only other architectures or newer kernels
//! have, so the constants of the `libc` crate would not do.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("syscalls.txt");

/// An architecture, in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(dead_code, reason = "half of them are of the other kind of machine")]
pub(super) enum Arch {
    X86_64,
    X86,
    Aarch64,
    Arm,
}

impl Arch {
    /// The architecture of this program, if it is one with a table.
    pub fn native() -> Option<Arch> {
        Arch::all().next()
    }

    /// The architectures whose calls this machine may see, the native one first.
    pub fn all() -> impl Iterator<Item = Arch> {
        let list: &[Arch] = if cfg!(target_arch = "x86_64") {
            &[Arch::X86_64, Arch::X86]
        } else if cfg!(target_arch = "aarch64") {
            &[Arch::Aarch64, Arch::Arm]
        } else {
            &[]
        };
        list.iter().copied()
    }

    /// The spec's name for it, if it can occur on this machine; x32 is part of x86-64.
    pub fn from_oci(name: &str) -> Option<Arch> {
        let arch = match name {
            "SCMP_ARCH_X86_64" => Arch::X86_64,
            "SCMP_ARCH_X86" => Arch::X86,
            "SCMP_ARCH_AARCH64" => Arch::Aarch64,
            "SCMP_ARCH_ARM" => Arch::Arm,
            _ => return None,
        };
        Arch::all().find(|&a| a == arch)
    }

    /// `AUDIT_ARCH_*` of linux/audit.h: the ELF machine, with bits for 64-bit and little-endian.
    pub fn audit_arch(self) -> u32 {
        match self {
            Arch::X86_64 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Whether calls with bit 30 set are those of x32.
    pub fn has_x32(self) -> bool {
        self == Arch::X86_64
    }

    /// The call's number here, if it exists here.
    pub fn number(self, name: &str) -> Option<u32> {
        static NUMBERS: OnceLock<HashMap<&str, [Option<u32>; 2]>> = OnceLock::new();
        let numbers = NUMBERS.get_or_init(|| {
            let columns: Vec<usize> = Arch::all().map(|a| a as usize + 1).collect();
            TABLE
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| {
                    let words: Vec<&str> = line.split(' ').collect();
                    let number = |n: usize| words.get(*columns.get(n)?)?.parse().ok();
                    Some((*words.first()?, [number(0), number(1)]))
                })
                .collect()
        });
        let column = Arch::all().position(|a| a == self)?;
        numbers.get(name)?[column]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_libc() {
        let native = Arch::native().expect("a known architecture");
        for (name, number) in [
            ("read", libc::SYS_read),
            ("openat2", libc::SYS_openat2),
            ("clone3", libc::SYS_clone3),
            ("seccomp", libc::SYS_seccomp),
            ("umount2", libc::SYS_umount2),
        ] {
            assert_eq!(native.number(name), Some(number as u32), "{name}");
        }
        assert_eq!(native.number("no_such_call"), None);
    }
}
