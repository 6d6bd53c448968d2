//! The calls that a recorder answers: the filter that holds them, and what their arguments say.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

/// What a call asks for. Addresses are in the asking process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// To give a file to others; `None` leaves an id as it is.
    Chown { object: Object, uid: Option<u32>, gid: Option<u32> },
    /// To make a node.
    Mknod { at: Place, mode: u32, device: u32 },
    /// To be someone else.
    Identity,
}

/// A path, and where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A descriptor of the process; `None` is its working directory.
    pub(super) directory: Option<u32>,
    /// Where the path's text is.
    pub(super) path: u64,
}

/// The file meant by a call of the chown family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// An open file.
    Descriptor(u32),
    /// A path.
    Path {
        at: Place,
        /// Whether a link at its end is followed.
        follow: bool,
        /// Whether an empty path means the directory itself (`AT_EMPTY_PATH`).
        empty: bool,
    },
}

/// A call by its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chown,
    Lchown,
    Fchown,
    /// The same with ids of 16 bits, of the first 32-bit systems.
    Chown16,
    Lchown16,
    Fchown16,
    Fchownat,
    Mknod,
    Mknodat,
    /// setuid, setgid, setreuid, setregid, setresuid, setresgid, setgroups, setfsuid, setfsgid. All return 0, the last
    /// two as that is the id before.
    Identity,
}

/// Calls by number on one architecture (`AUDIT_ARCH_*` of linux/audit.h).
struct Architecture {
    audit: u32,
    calls: &'static [(u32, Kind)],
}

use Kind::{Chown, Chown16, Fchown, Fchown16, Fchownat, Identity, Lchown, Lchown16, Mknod, Mknodat};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        audit: 0xC000_003E,
        calls: &[
            (92, Chown),
            (93, Fchown),
            (94, Lchown),
            (105, Identity),
            (106, Identity),
            (113, Identity),
            (114, Identity),
            (116, Identity),
            (117, Identity),
            (119, Identity),
            (122, Identity),
            (123, Identity),
            (133, Mknod),
            (259, Mknodat),
            (260, Fchownat),
        ],
    },
    Architecture { audit: 0x4000_0003, calls: &with_late_32_bit_calls((297, Mknodat), (298, Fchownat)) },
];

#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Architecture; 2] = [
    Architecture { audit: 0xC000_00B7, calls: &GENERIC },
    Architecture { audit: 0x4000_0028, calls: &with_late_32_bit_calls((324, Mknodat), (325, Fchownat)) },
];

#[cfg(target_arch = "riscv64")]
const ARCHITECTURES: [Architecture; 1] = [Architecture { audit: 0xC000_00F3, calls: &GENERIC }];

/// Where the numbers are not known here, nothing is held, and giving a file away fails as the kernel wants.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const ARCHITECTURES: [Architecture; 0] = [];

/// Numbers of the architectures that came to Linux late.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const GENERIC: [(u32, Kind); 12] = [
    (33, Mknodat),
    (54, Fchownat),
    (55, Fchown),
    (143, Identity),
    (144, Identity),
    (145, Identity),
    (146, Identity),
    (147, Identity),
    (149, Identity),
    (151, Identity),
    (152, Identity),
    (159, Identity),
];

/// x86 and arm share the numbers of their early calls.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const fn with_late_32_bit_calls(mknodat: (u32, Kind), fchownat: (u32, Kind)) -> [(u32, Kind); 27] {
    [
        (14, Mknod),
        (16, Lchown16),
        (23, Identity),
        (46, Identity),
        (70, Identity),
        (71, Identity),
        (81, Identity),
        (95, Fchown16),
        (138, Identity),
        (139, Identity),
        (164, Identity),
        (170, Identity),
        (182, Chown16),
        (198, Lchown),
        (203, Identity),
        (204, Identity),
        (206, Identity),
        (207, Fchown),
        (208, Identity),
        (210, Identity),
        (212, Chown),
        (213, Identity),
        (214, Identity),
        (215, Identity),
        (216, Identity),
        mknodat,
        fchownat,
    ]
}

const LOAD: u16 = (BPF_LD | BPF_W | BPF_ABS) as u16;
const EQUAL: u16 = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
const RETURN: u16 = (BPF_RET | BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The seccomp program: the calls above are held for a listener, all others allowed.
pub(super) fn filter() -> Vec<sock_filter> {
    let step = |code: u16, k: u32| sock_filter { code, jt: 0, jf: 0, k };
    let mut program = vec![step(LOAD, ARCH)];
    for Architecture { audit, calls } in ARCHITECTURES {
        // Fewer than 255 calls, so that every jump is a short one.
        let count = calls.len() as u8;
        program.push(sock_filter { code: EQUAL, jt: 0, jf: count + 3, k: audit });
        program.push(step(LOAD, NUMBER));
        for (n, (number, _)) in calls.iter().enumerate() {
            // To the last instruction of the block, over the rest of the comparisons and a return.
            program.push(sock_filter { code: EQUAL, jt: count - n as u8, jf: 0, k: *number });
        }
        program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
        program.push(step(RETURN, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// What was asked; `None` for a call that is not ours.
pub(super) fn read(data: &libc::seccomp_data) -> Option<Call> {
    let architecture = ARCHITECTURES.iter().find(|architecture| architecture.audit == data.arch)?;
    let number = u32::try_from(data.nr).ok()?;
    let (_, kind) = architecture.calls.iter().find(|(known, _)| *known == number)?;
    let args = &data.args;
    let id = |n: usize| match args[n] as u32 {
        u32::MAX => None,
        id => Some(id),
    };
    let id16 = |n: usize| match args[n] as u16 {
        u16::MAX => None,
        id => Some(u32::from(id)),
    };
    let directory = |n: usize| match args[n] as i32 {
        libc::AT_FDCWD => None,
        descriptor => Some(descriptor as u32),
    };
    let plain = Place { directory: None, path: args[0] };
    let place = Place { directory: directory(0), path: args[1] };
    let path = |follow| Object::Path { at: plain, follow, empty: false };
    let descriptor = Object::Descriptor(args[0] as u32);
    Some(match kind {
        Chown => Call::Chown { object: path(true), uid: id(1), gid: id(2) },
        Lchown => Call::Chown { object: path(false), uid: id(1), gid: id(2) },
        Fchown => Call::Chown { object: descriptor, uid: id(1), gid: id(2) },
        Chown16 => Call::Chown { object: path(true), uid: id16(1), gid: id16(2) },
        Lchown16 => Call::Chown { object: path(false), uid: id16(1), gid: id16(2) },
        Fchown16 => Call::Chown { object: descriptor, uid: id16(1), gid: id16(2) },
        Fchownat => {
            let flags = args[4] as i32;
            let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
            let object = Object::Path { at: place, follow, empty: flags & libc::AT_EMPTY_PATH != 0 };
            Call::Chown { object, uid: id(2), gid: id(3) }
        }
        Mknod => Call::Mknod { at: plain, mode: args[1] as u32, device: args[2] as u32 },
        Mknodat => Call::Mknod { at: place, mode: args[2] as u32, device: args[3] as u32 },
        Identity => Call::Identity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(arch: u32, nr: u32, args: [u64; 6]) -> libc::seccomp_data {
        libc::seccomp_data { nr: nr as i32, arch, instruction_pointer: 0, args }
    }

    /// What the program says, as the kernel would run it.
    fn verdict(arch: u32, number: u32) -> u32 {
        let program = filter();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match step.code {
                LOAD => accumulator = if step.k == ARCH { arch } else { number },
                EQUAL => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn exactly_the_known_calls_are_held() {
        for architecture in &ARCHITECTURES {
            for number in 0..600 {
                let known = architecture.calls.iter().any(|(call, _)| *call == number);
                let held = verdict(architecture.audit, number) == libc::SECCOMP_RET_USER_NOTIF;
                assert_eq!(held, known, "{number} of {:#x}", architecture.audit);
                assert_eq!(read(&data(architecture.audit, number, [0; 6])).is_some(), known);
            }
        }
        assert_eq!(verdict(0xDEAD, 92), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn numbers_agree_with_libc() {
        let kind = |number: libc::c_long| {
            ARCHITECTURES[0]
                .calls
                .iter()
                .find(|(known, _)| i64::from(*known) == number)
                .map(|(_, kind)| *kind)
        };
        assert_eq!(kind(libc::SYS_fchownat), Some(Fchownat));
        assert_eq!(kind(libc::SYS_fchown), Some(Fchown));
        assert_eq!(kind(libc::SYS_mknodat), Some(Mknodat));
        #[cfg(target_arch = "x86_64")]
        for (number, expected) in
            [(libc::SYS_chown, Chown), (libc::SYS_lchown, Lchown), (libc::SYS_mknod, Mknod)]
        {
            assert_eq!(kind(number), Some(expected));
        }
        for number in [
            libc::SYS_setuid,
            libc::SYS_setgid,
            libc::SYS_setreuid,
            libc::SYS_setregid,
            libc::SYS_setresuid,
            libc::SYS_setresgid,
            libc::SYS_setgroups,
            libc::SYS_setfsuid,
            libc::SYS_setfsgid,
        ] {
            assert_eq!(kind(number), Some(Identity), "{number}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn arguments_by_architecture() {
        let object = Object::Path { at: Place { directory: None, path: 0x1000 }, follow: true, empty: false };
        let native = read(&data(0xC000_003E, 92, [0x1000, 70_000, u64::from(u32::MAX), 0, 0, 0]));
        assert_eq!(native, Some(Call::Chown { object, uid: Some(70_000), gid: None }));
        let short = read(&data(0x4000_0003, 182, [0x1000, 0xFFFF, 33, 0, 0, 0]));
        assert_eq!(short, Some(Call::Chown { object, uid: None, gid: Some(33) }));
        let wide = read(&data(0x4000_0003, 212, [0x1000, 0xFFFF, 33, 0, 0, 0]));
        assert_eq!(wide, Some(Call::Chown { object, uid: Some(0xFFFF), gid: Some(33) }));
        let at = read(&data(0xC000_003E, 260, [0xFFFF_FF9C, 1, 2, 3, 0x1100, 0]));
        let object = Object::Path { at: Place { directory: None, path: 1 }, follow: false, empty: true };
        assert_eq!(at, Some(Call::Chown { object, uid: Some(2), gid: Some(3) }));
    }
}
