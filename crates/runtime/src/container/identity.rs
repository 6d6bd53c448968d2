//! Who the container's process is, and what it may: limits, ids, capabilities.
//!
//! The order in [`assume`] is runc's: the bounding set while we may still drop from it, ids with capabilities kept,
//! then the exact sets. Names are not looked up here: ids come resolved in the spec.

use super::Report;
use crate::Error;
use crate::capability;
use crate::error::Context;
use crate::namespace::Mode;
use crate::spec::{Capabilities, Process};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::os::fd::BorrowedFd;

/// Sets resource limits and the OOM score: what we may not set is left, with a warning, as it is.
pub(super) fn limit(process: &Process, report: &mut dyn Report) -> Result<(), Error> {
    for limit in &process.rlimits {
        let resource = resource(&limit.kind)
            .ok_or_else(|| Error::Spec(format!("unknown resource limit \"{}\"", limit.kind)))?;
        let value = |n: u64| (n != u64::MAX).then_some(n);
        let wanted = Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
        let doing = || format!("setting {}", limit.kind);
        match rustix::process::setrlimit(resource, wanted) {
            // Raising a hard limit takes CAP_SYS_RESOURCE on the host.
            Err(Errno::PERM) => {
                let highest = rustix::process::getrlimit(resource).maximum;
                let cap = |n: Option<u64>| match (n, highest) {
                    (Some(n), Some(highest)) => Some(n.min(highest)),
                    (n, highest) => n.or(highest),
                };
                let allowed = Rlimit { current: cap(wanted.current), maximum: cap(wanted.maximum) };
                rustix::process::setrlimit(resource, allowed).doing(doing)?;
                report.warning(format!(
                    "{} stays at {}: raising it takes CAP_SYS_RESOURCE",
                    limit.kind,
                    highest.map_or("unlimited".into(), |n| n.to_string())
                ));
            }
            done => done.doing(doing)?,
        }
    }
    if let Some(score) = process.oom_score_adj {
        // Lowering it takes CAP_SYS_RESOURCE, and it is a bias only.
        let _ = std::fs::write("/proc/self/oom_score_adj", score.to_string());
    }
    Ok(())
}

/// Takes out of a spec what would make an external runtime give up, and the embedded one only warns of: limits that we
/// may not raise, capabilities that we lack.
pub(crate) fn restrict(process: &mut Process) {
    let held = capability::held();
    if !held.iter().any(|name| name == "CAP_SYS_RESOURCE") {
        for limit in &mut process.rlimits {
            let highest = resource(&limit.kind).and_then(|r| rustix::process::getrlimit(r).maximum);
            limit.hard = limit.hard.min(highest.unwrap_or(u64::MAX));
            limit.soft = limit.soft.min(limit.hard);
        }
    }
    if let Some(sets) = &mut process.capabilities {
        for set in [
            &mut sets.bounding,
            &mut sets.effective,
            &mut sets.permitted,
            &mut sets.inheritable,
            &mut sets.ambient,
        ] {
            set.retain(|name| held.contains(name));
        }
    }
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name.strip_prefix("RLIMIT_")? {
        "AS" => Resource::As,
        "CORE" => Resource::Core,
        "CPU" => Resource::Cpu,
        "DATA" => Resource::Data,
        "FSIZE" => Resource::Fsize,
        "LOCKS" => Resource::Locks,
        "MEMLOCK" => Resource::Memlock,
        "MSGQUEUE" => Resource::Msgqueue,
        "NICE" => Resource::Nice,
        "NOFILE" => Resource::Nofile,
        "NPROC" => Resource::Nproc,
        "RSS" => Resource::Rss,
        "RTPRIO" => Resource::Rtprio,
        "RTTIME" => Resource::Rttime,
        "SIGPENDING" => Resource::Sigpending,
        "STACK" => Resource::Stack,
        _ => return None,
    })
}

/// Gives a pipe or socket of the container's streams to its user, so that /dev/stdout can be opened. Files are not
/// ours to give away.
pub(super) fn give_pipe(stream: BorrowedFd<'_>, uid: u32) {
    let Ok(stat) = rustix::fs::fstat(stream) else { return };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if stat.st_uid != uid && matches!(kind, FileType::Fifo | FileType::Socket) {
        let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None);
    }
}

/// Takes on ids and capabilities.
pub(super) fn assume(process: &Process, mode: Mode, report: &mut dyn Report) -> Result<(), Error> {
    let none = Capabilities::default();
    let wanted = process.capabilities.as_ref().unwrap_or(&none);
    let held = rustix::thread::capabilities(None).doing(|| "reading our capabilities")?.permitted.bits();
    let set = |names: &[String]| {
        // A program cannot be given what we do not have.
        capability::mask(names) & held
    };
    let lacking = capability::mask(&wanted.permitted) & !held;
    if lacking != 0 {
        report.warning(format!("not given, as strake itself lacks them: {}", capability::names(lacking)));
    }
    let bounding = capability::mask(&wanted.bounding);
    for number in 0..64 {
        if bounding >> number & 1 == 0 {
            match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
                1 << number,
            )) {
                // The first number that this kernel does not know.
                Err(Errno::INVAL) => break,
                done => done.doing(|| "dropping from the capability bounding set")?,
            }
        }
    }

    rustix::thread::set_keep_capabilities(true).doing(|| "keeping capabilities")?;
    ids(process, mode)?;
    rustix::thread::set_keep_capabilities(false).doing(|| "keeping capabilities")?;

    let bits = CapabilitySet::from_bits_retain;
    let sets = CapabilitySets {
        effective: bits(set(&wanted.effective)),
        permitted: bits(set(&wanted.permitted)),
        inheritable: bits(set(&wanted.inheritable)),
    };
    rustix::thread::set_capabilities(None, sets).doing(|| "setting capabilities")?;
    let _ = rustix::thread::clear_ambient_capability_set();
    // Only what is permitted and inheritable can be; `runc spec` names more, and runc does not mind either.
    let ambient = set(&wanted.ambient) & set(&wanted.permitted) & set(&wanted.inheritable);
    for number in (0..64).filter(|n| ambient >> n & 1 == 1) {
        rustix::thread::configure_capability_in_ambient_set(bits(1 << number), true)
            .doing(|| "setting ambient capabilities")?;
    }
    Ok(())
}

fn ids(process: &Process, mode: Mode) -> Result<(), Error> {
    let user = &process.user;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(user.umask.unwrap_or(0o022)));
    let unmapped = |what: &str, id: u32| match mode {
        Mode::SingleId if id != 0 => Error::Unsupported {
            what: format!("{what} {id} does not exist: only id 0 is mapped here"),
            remedy: "give your user a range of ids (`usermod --add-subuids 100000-165535 --add-subgids \
                     100000-165535 USER`, and install uidmap)"
                .into(),
        },
        _ => Error::Container(format!("{what} {id} is not among the ids mapped here")),
    };
    if mode == Mode::SingleId && (user.uid, user.gid) == (0, 0) {
        // We are all there is. The groups we have cannot be dropped (setgroups is denied for good), but give the
        // container no more access than our user has.
        return Ok(());
    }
    let groups: Vec<Gid> = user.additional_gids.iter().map(|&g| Gid::from_raw(g)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        Err(Errno::PERM) if mode == Mode::SingleId => {}
        Err(Errno::INVAL) => {
            let id = user.additional_gids.first().copied().unwrap_or(0);
            return Err(unmapped("group", id));
        }
        done => done.doing(|| "setting supplementary groups")?,
    }
    let gid = Gid::from_raw(user.gid);
    match rustix::thread::set_thread_res_gid(gid, gid, gid) {
        Err(Errno::INVAL) => return Err(unmapped("group", user.gid)),
        done => done.doing(|| format!("becoming group {}", user.gid))?,
    }
    let uid = Uid::from_raw(user.uid);
    match rustix::thread::set_thread_res_uid(uid, uid, uid) {
        Err(Errno::INVAL) => Err(unmapped("user", user.uid)),
        done => done.doing(|| format!("becoming user {}", user.uid)),
    }
}
