//! Programs of other architectures, where the kernel has an interpreter for them (binfmt_misc and qemu-user).
//!
//! Only what is registered with the flag F counts: such an interpreter is opened when it is registered, and so works in
//! a container, whose files do not have it.

use std::fs;

use oci::Platform;

/// Where the kernel lists interpreters.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// Whether this machine's kernel can run programs of that platform by emulation.
pub(super) fn runs(platform: &Platform) -> bool {
    let Ok(entries) = fs::read_dir(REGISTERED) else { return false };
    platform.os == "linux"
        && entries
            .flatten()
            .any(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| interprets(&text, platform)))
}

/// Whether an interpreter, as the kernel describes it, runs that platform's programs in a container.
fn interprets(text: &str, platform: &Platform) -> bool {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    text.lines().next() == Some("enabled")
        && field("flags:").is_some_and(|flags| flags.contains('F'))
        && machine(platform).is_some_and(|machine| field("magic").is_some_and(|magic| is_for(magic, machine)))
}

/// Whether an entry's magic, the start of an ELF file in hex, is that of programs of this class, order and machine.
fn is_for(found: &str, (class, order, machine): (u8, u8, u16)) -> bool {
    let bytes: Option<Vec<u8>> =
        (0..found.len() / 2).map(|i| u8::from_str_radix(found.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    let Some(bytes) = bytes.filter(|bytes| bytes.len() >= 20) else { return false };
    let said = [bytes[18], bytes[19]];
    let said = if order == 2 { u16::from_be_bytes(said) } else { u16::from_le_bytes(said) };
    bytes.starts_with(b"\x7fELF") && (bytes[4], bytes[5], said) == (class, order, machine)
}

/// ELF's class (1: 32 bits, 2: 64), byte order (1: little endian, 2: big) and machine of an architecture.
fn machine(platform: &Platform) -> Option<(u8, u8, u16)> {
    Some(match platform.architecture.as_str() {
        "386" => (1, 1, 3),
        "amd64" => (2, 1, 62),
        "arm" => (1, 1, 40),
        "arm64" => (2, 1, 183),
        "loong64" => (2, 1, 258),
        "mips64le" => (2, 1, 8),
        "ppc64le" => (2, 1, 21),
        "riscv64" => (2, 1, 243),
        "s390x" => (2, 2, 22),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As qemu-user-static registers it on Debian.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_interpreter_counts_where_it_works_in_containers() {
        let runs = |text: &str, platform: &str| interprets(text, &platform.parse().unwrap());
        assert!(runs(ARM64, "linux/arm64"));
        for other in ["linux/s390x", "linux/arm/v7", "linux/unheard-of"] {
            assert!(!runs(ARM64, other), "{other}");
        }
        assert!(!runs(&ARM64.replace("POCF", "POC"), "linux/arm64"));
        assert!(!runs(&ARM64.replace("enabled", "disabled"), "linux/arm64"));
        assert!(!runs(&ARM64.replace("7f45", "7f4"), "linux/arm64"));
        assert!(!runs("enabled\n", "linux/arm64"));
    }
}
