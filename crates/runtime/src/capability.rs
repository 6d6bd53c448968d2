//! Capabilities by name and number, and Docker's choice of them.
//!
//! Numbers are the kernel's (include/uapi/linux/capability.h). Applying the sets to a process is
//! [`crate::container`]'s matter.

use crate::Error;

/// Names in order of their numbers, without the `CAP_` in front.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's defaults, in the order its inspect output lists them.
const DOCKER_DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What Docker gives root in a container.
pub fn docker_default() -> Vec<String> {
    DOCKER_DEFAULT.iter().map(|&n| n.to_owned()).collect()
}

/// Every capability this process may hand on: those of its permitted set.
pub fn held() -> Vec<String> {
    let permitted = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
    (0..NAMES.len()).filter(|&n| permitted >> n & 1 == 1).map(|n| format!("CAP_{}", NAMES[n])).collect()
}

/// `base` as Docker's `--cap-add` and `--cap-drop` change it. Names may lack `CAP_` and be of either case; `ALL`
/// stands for [`held`].
///
/// # Errors
/// On a name that is no capability.
pub fn adjust(base: Vec<String>, add: &[String], drop: &[String]) -> Result<Vec<String>, Error> {
    let add = add.iter().map(|n| canonical(n)).collect::<Result<Vec<_>, _>>()?;
    let drop = drop.iter().map(|n| canonical(n)).collect::<Result<Vec<_>, _>>()?;
    let all = |list: &[String]| list.iter().any(|n| n == "ALL");
    // As moby's TweakCapabilities: ALL added minus the dropped; ALL dropped plus the added; else both one by one.
    let mut names = if all(&add) {
        held()
    } else if all(&drop) {
        Vec::new()
    } else {
        base
    };
    names.retain(|n| !drop.contains(n));
    for name in add {
        if name != "ALL" && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn canonical(name: &str) -> Result<String, Error> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if NAMES.contains(&short) {
        Ok(format!("CAP_{short}"))
    } else {
        Err(Error::Spec(format!("unknown capability to add or drop: \"{name}\"")))
    }
}

/// The set as a bit mask. Names this build does not know are left out, as runc does.
pub(crate) fn mask(names: &[String]) -> u64 {
    names
        .iter()
        .filter_map(|name| {
            let short = name.strip_prefix("CAP_")?;
            NAMES.iter().position(|&n| n == short)
        })
        .fold(0, |mask, number| mask | 1 << number)
}

/// The set in words, for messages.
pub(crate) fn names(mask: u64) -> String {
    let names: Vec<String> =
        (0..NAMES.len()).filter(|n| mask >> n & 1 == 1).map(|n| format!("CAP_{}", NAMES[n])).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn docker_default_mask() {
        // CapBnd of a default Docker container.
        assert_eq!(mask(&docker_default()), 0xa804_25fb);
    }

    #[test]
    fn adjust_as_docker() {
        let base = strings(&["CAP_CHOWN", "CAP_KILL"]);
        let check = |add: &[&str], drop: &[&str], want: &[&str]| {
            let got = adjust(base.clone(), &strings(add), &strings(drop)).expect("valid names");
            assert_eq!(got, strings(want), "add {add:?} drop {drop:?}");
        };
        check(&["net_admin"], &[], &["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"]);
        check(&["CAP_KILL"], &["chown"], &["CAP_KILL"]);
        check(&["SYS_TIME"], &["ALL"], &["CAP_SYS_TIME"]);
        let error = adjust(base.clone(), &strings(&["FLY"]), &[]).expect_err("no such capability");
        assert!(error.to_string().contains("FLY"), "{error}");
    }
}
