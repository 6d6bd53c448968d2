//! Control groups: the limits of memory, processor time and processes that a container was asked to have.
//!
//! A container without limits gets no group of its own: making one costs more than starting it. Each controller is used
//! where this machine has it, in its own v1 hierarchy or in the unified one (kernel, admin-guide/cgroup-v1 and
//! cgroup-v2.rst). Where a group cannot be made, the caller is told why, in words. Freezing, devices and block I/O are
//! deliberately left out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::read_bounded;
use crate::spec::{Cpu, Memory, Pids, Resources};

/// The group of one container, in as many hierarchies as its limits need.
#[derive(Debug)]
pub(crate) struct Cgroup {
    groups: Vec<PathBuf>,
    /// Where it is told of what was killed for want of memory.
    memory: Option<PathBuf>,
}

/// A controller that a limit needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Cpu,
    Cpuset,
    Pids,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Cpuset => "cpuset",
            Controller::Pids => "pids",
        }
    }
}

/// Where a hierarchy is, and where we are in it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Its mount point.
    top: PathBuf,
    /// Our own group, below the mount point.
    own: PathBuf,
    unified: bool,
}

impl Cgroup {
    /// Makes the group `strake-ID` with these limits: below `parent`, a path from the top of each hierarchy, or near
    /// our own group.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub fn make(id: &str, parent: Option<&str>, resources: &Resources) -> Result<Cgroup, String> {
        if parent.is_some_and(|parent| parent.split('/').any(|part| part == "..")) {
            return Err(format!("the cgroup parent {:?} leads upwards", parent.unwrap_or_default()));
        }
        let mounts = read_bounded(Path::new("/proc/self/mountinfo")).unwrap_or_default();
        let own = read_bounded(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let mut wanted = needed(resources);
        if wanted.is_empty() {
            // Only a place was asked for: memory is what people look at there.
            wanted.push(Controller::Memory);
        }
        let mut made = Cgroup { groups: Vec::new(), memory: None };
        for (hierarchy, controllers) in by_hierarchy(&mounts, &own, &wanted)? {
            let group = hierarchy.enter(id, parent, &controllers)?;
            made.groups.push(group.clone());
            for controller in controllers {
                if controller == Controller::Memory {
                    made.memory = Some(group.clone());
                }
                let set = if hierarchy.unified { set_unified } else { set_v1 };
                set(controller, &group, resources)?;
            }
        }
        Ok(made)
    }

    /// Makes a group near ours in which memory, processor time and processes could be limited, but are not.
    ///
    /// # Errors
    /// As [`Cgroup::make`].
    pub fn try_out(id: &str) -> Result<Cgroup, String> {
        let resources = Resources {
            memory: Some(Memory { limit: Some(-1), swap: None }),
            cpu: Some(Cpu { quota: Some(-1), ..Cpu::default() }),
            pids: Some(Pids { limit: -1 }),
            ..Resources::default()
        };
        Cgroup::make(id, None, &resources)
    }

    /// Where the group is, in the first of its hierarchies.
    pub fn place(&self) -> &Path {
        self.groups.first().map_or(Path::new("/sys/fs/cgroup"), PathBuf::as_path)
    }

    /// Moves this process into the group. To be done before it has a cgroup namespace of its own: under `nsdelegate`,
    /// as systemd mounts the unified hierarchy, nothing leaves or enters what such a namespace shows.
    pub fn join(&self) -> io::Result<()> {
        self.groups.iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), "0"))
    }

    /// Whether a process of the group was killed because the group had no more memory.
    pub fn out_of_memory(&self) -> bool {
        let Some(group) = &self.memory else { return false };
        ["memory.events", "memory.oom_control"].iter().any(|file| counts_oom_kills(&group.join(file)))
    }
}

impl Drop for Cgroup {
    /// Removes the group, whose processes have ended.
    fn drop(&mut self) {
        for group in &self.groups {
            for _ in 0..20 {
                match fs::remove_dir(group) {
                    // The last process is not quite gone.
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Whether a group's file of events, of v1 or v2, says that something was killed for want of memory.
pub(crate) fn counts_oom_kills(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    lines.any(|count| count.trim() != "0")
}

/// Whether a container with these limits gets a group of its own.
pub(crate) fn wanted(parent: Option<&str>, resources: Option<&Resources>) -> bool {
    parent.is_some() || resources.is_some_and(|resources| !needed(resources).is_empty())
}

fn needed(resources: &Resources) -> Vec<Controller> {
    let mut all = Vec::new();
    if resources.memory.is_some() {
        all.push(Controller::Memory);
    }
    if let Some(cpu) = &resources.cpu {
        if cpu.shares.is_some() || cpu.quota.is_some() || cpu.period.is_some() {
            all.push(Controller::Cpu);
        }
        if cpu.cpus.is_some() || cpu.mems.is_some() {
            all.push(Controller::Cpuset);
        }
    }
    if resources.pids.is_some() {
        all.push(Controller::Pids);
    }
    all
}

/// The hierarchy that has the controller: a v1 one of its own, or the unified one. `mounts` is /proc/self/mountinfo,
/// `own` /proc/self/cgroup.
fn find(mounts: &str, own: &str, controller: &str) -> Option<Hierarchy> {
    let mut unified = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut fields = before.split(' ').skip(3);
        let (Some(root), Some(top)) = (fields.next(), fields.next()) else { continue };
        let mut kinds = after.split(' ');
        let (kind, options) = (kinds.next(), kinds.nth(1).unwrap_or(""));
        let place = |path: &str| {
            // What is mounted may be a part of the hierarchy, and our own group another.
            let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
            below.to_owned()
        };
        match kind {
            Some("cgroup") if options.split(',').any(|option| option == controller) => {
                let path = own.lines().find_map(|line| {
                    let mut fields = line.splitn(3, ':').skip(1);
                    let listed = fields.next()?.split(',').any(|name| name == controller);
                    fields.next().filter(|_| listed)
                });
                let own = path.map(place).unwrap_or_default();
                return Some(Hierarchy { top: top.into(), own, unified: false });
            }
            Some("cgroup2") => {
                let path = own.lines().find_map(|line| line.strip_prefix("0::"));
                let own = path.map(place).unwrap_or_default();
                unified = Some(Hierarchy { top: top.into(), own, unified: true });
            }
            _ => {}
        }
    }
    unified.filter(|hierarchy| has(&hierarchy.top.join("cgroup.controllers"), controller))
}

/// Each hierarchy that is needed, with what it is needed for. A process is in one group of each, so that all limits of
/// one hierarchy meet in one group.
fn by_hierarchy(
    mounts: &str,
    own: &str,
    wanted: &[Controller],
) -> Result<Vec<(Hierarchy, Vec<Controller>)>, String> {
    let mut all: Vec<(Hierarchy, Vec<Controller>)> = Vec::new();
    for controller in wanted {
        let name = controller.name();
        let hierarchy =
            find(mounts, own, name).ok_or_else(|| format!("this machine has no cgroup controller {name}"))?;
        match all.iter_mut().find(|(known, _)| *known == hierarchy) {
            Some((_, controllers)) => controllers.push(*controller),
            None => all.push((hierarchy, vec![*controller])),
        }
    }
    Ok(all)
}

/// Whether a list of controllers names this one.
fn has(list: &Path, controller: &str) -> bool {
    read_bounded(list).is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
}

impl Hierarchy {
    /// Makes the group in which these controllers can be set.
    fn enter(&self, id: &str, parent: Option<&str>, controllers: &[Controller]) -> Result<PathBuf, String> {
        let candidates = match parent {
            Some(parent) => {
                let place = self.top.join(parent.trim_matches('/'));
                self.make_all(&place, controllers)?;
                vec![place]
            }
            None => self.candidates(),
        };
        // The reason that the nearest place gives is the one that can be done something about.
        let mut why = None;
        for place in candidates {
            match self.enter_at(&place, id, controllers) {
                Ok(group) => return Ok(group),
                Err(reason) => drop(why.get_or_insert(reason)),
            }
        }
        Err(why.unwrap_or_else(|| format!("there is no place for a cgroup in {}", self.top.display())))
    }

    /// Where a group of ours could be, nearest first, so that limits around us go on to count.
    fn candidates(&self) -> Vec<PathBuf> {
        let own = self.top.join(&self.own);
        if !self.unified {
            return vec![own, self.top.clone()];
        }
        if own == self.top {
            // Only the root of all groups may have processes as well as groups with controllers; in a container the
            // attempt says so.
            return vec![own];
        }
        // A group with processes has no groups with controllers below: ours has at least us. A neighbour will do.
        own.ancestors().skip(1).take_while(|up| up.starts_with(&self.top)).map(Path::to_owned).collect()
    }

    fn enter_at(&self, place: &Path, id: &str, controllers: &[Controller]) -> Result<PathBuf, String> {
        if self.unified {
            for step in self.way_to(place) {
                controllers.iter().for_each(|controller| self.delegate(step, *controller));
            }
            let list = place.join("cgroup.subtree_control");
            let lacking: Vec<_> = controllers
                .iter()
                .map(|controller| controller.name())
                .filter(|name| !has(&list, name))
                .collect();
            if !lacking.is_empty() {
                let lacking = lacking.join(" and ");
                return Err(if is_writable(place) {
                    format!(
                        "the cgroup controller {lacking} is not delegated to {} (systemd: `Delegate=cpu cpuset memory \
                         pids` for user@.service)",
                        place.display()
                    )
                } else {
                    not_ours(place)
                });
            }
        }
        let group = place.join(format!("strake-{id}"));
        match fs::create_dir(&group) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(not_ours(place)),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("making a cgroup in {}: {error}", place.display()));
            }
            _ => {}
        }
        if controllers.contains(&Controller::Cpuset) && !self.unified {
            inherit_cpuset(&group);
        }
        Ok(group)
    }

    /// Makes `place` and what leads to it, with the controllers on all the way.
    fn make_all(&self, place: &Path, controllers: &[Controller]) -> Result<(), String> {
        for step in self.way_to(place) {
            match fs::create_dir(step) {
                Ok(()) if controllers.contains(&Controller::Cpuset) && !self.unified => inherit_cpuset(step),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(not_ours(step.parent().unwrap_or(step)));
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(format!("making the cgroup {}: {error}", step.display()));
                }
                _ => {}
            }
            if self.unified {
                controllers.iter().for_each(|controller| self.delegate(step, *controller));
            }
        }
        Ok(())
    }

    /// The groups that lead to `place`, from the top of the hierarchy to itself.
    fn way_to<'a>(&'a self, place: &'a Path) -> Vec<&'a Path> {
        let mut way: Vec<&Path> = place.ancestors().take_while(|up| up.starts_with(&self.top)).collect();
        way.reverse();
        way
    }

    /// Turns the controller on for groups below `place`, where that is allowed. Where it is not, it may be on already.
    fn delegate(&self, place: &Path, controller: Controller) {
        let list = place.join("cgroup.subtree_control");
        if !has(&list, controller.name()) {
            let _ = fs::write(&list, format!("+{}", controller.name()));
        }
    }
}

/// Whether groups can be made in `place`, as far as its permissions go.
fn is_writable(place: &Path) -> bool {
    rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok()
}

fn not_ours(place: &Path) -> String {
    format!(
        "{} is not ours to make cgroups in: run strake as root, or in a delegated cgroup (`systemd-run --user --scope \
         -p Delegate=yes strake …`)",
        place.display()
    )
}

/// A new v1 cpuset is empty, and nothing may enter it.
fn inherit_cpuset(group: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let is_empty = fs::read_to_string(group.join(file)).is_ok_and(|text| text.trim().is_empty());
        if is_empty
            && let Some(above) = group.parent()
            && let Ok(text) = fs::read_to_string(above.join(file))
        {
            // What fails here fails when it is entered, with a message.
            let _ = fs::write(group.join(file), text.trim());
        }
    }
}

fn put(group: &Path, file: &str, value: impl ToString) -> Result<(), String> {
    let value = value.to_string();
    fs::write(group.join(file), &value).map_err(|error| format!("setting {file} to {value}: {error}"))
}

fn set_v1(controller: Controller, group: &Path, resources: &Resources) -> Result<(), String> {
    match controller {
        Controller::Memory => {
            let Some(memory) = &resources.memory else { return Ok(()) };
            if let Some(limit) = memory.limit {
                put(group, "memory.limit_in_bytes", limit)?;
            }
            // Not every kernel accounts for swap.
            let file = "memory.memsw.limit_in_bytes";
            if let Some(swap) = memory.with_swap()
                && group.join(file).exists()
            {
                put(group, file, swap)?;
            }
        }
        Controller::Cpu => {
            let Some(cpu) = &resources.cpu else { return Ok(()) };
            if let Some(shares) = cpu.shares {
                put(group, "cpu.shares", shares)?;
            }
            if let Some(period) = cpu.period {
                put(group, "cpu.cfs_period_us", period)?;
            }
            if let Some(quota) = cpu.quota {
                put(group, "cpu.cfs_quota_us", quota)?;
            }
        }
        Controller::Cpuset => set_cpuset(group, resources)?,
        Controller::Pids => set_pids(group, resources)?,
    }
    Ok(())
}

fn set_unified(controller: Controller, group: &Path, resources: &Resources) -> Result<(), String> {
    let most = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    match controller {
        Controller::Memory => {
            let Some(memory) = &resources.memory else { return Ok(()) };
            if let Some(limit) = memory.limit {
                put(group, "memory.max", most(limit))?;
            }
            let file = "memory.swap.max";
            if let Some(swap) = memory.with_swap()
                && group.join(file).exists()
            {
                // Here swap alone, in the specification memory and swap together.
                let alone = if swap < 0 { -1 } else { (swap - memory.limit.unwrap_or(0)).max(0) };
                put(group, file, most(alone))?;
            }
        }
        Controller::Cpu => {
            let Some(cpu) = &resources.cpu else { return Ok(()) };
            if let Some(shares) = cpu.shares {
                // As runc: 2..262144 becomes 1..10000.
                let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
                put(group, "cpu.weight", weight)?;
            }
            if cpu.quota.is_some() || cpu.period.is_some() {
                let quota = cpu.quota.filter(|quota| *quota > 0).unwrap_or(-1);
                put(group, "cpu.max", format!("{} {}", most(quota), cpu.period.unwrap_or(100_000)))?;
            }
        }
        Controller::Cpuset => set_cpuset(group, resources)?,
        Controller::Pids => set_pids(group, resources)?,
    }
    Ok(())
}

fn set_cpuset(group: &Path, resources: &Resources) -> Result<(), String> {
    let Some(cpu) = &resources.cpu else { return Ok(()) };
    if let Some(cpus) = &cpu.cpus {
        put(group, "cpuset.cpus", cpus)?;
    }
    if let Some(mems) = &cpu.mems {
        put(group, "cpuset.mems", mems)?;
    }
    Ok(())
}

fn set_pids(group: &Path, resources: &Resources) -> Result<(), String> {
    let Some(pids) = &resources.pids else { return Ok(()) };
    let value = if pids.limit > 0 { pids.limit.to_string() } else { "max".to_owned() };
    put(group, "pids.max", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
";

    #[test]
    fn hierarchies_are_found() {
        let own = "8:pids:/\n4:memory:/service/x\n1:cpu,cpuacct:/\n0::/\n";
        let found = find(HYBRID, own, "memory").unwrap();
        assert_eq!(
            (found.top.to_str(), found.own.to_str()),
            (Some("/sys/fs/cgroup/memory"), Some("service/x"))
        );
        let found = find(HYBRID, own, "cpu").unwrap();
        assert_eq!((found.top.to_str(), found.own.to_str()), (Some("/sys/fs/cgroup/cpu"), Some("")));
        assert_eq!(find(HYBRID, own, "pids"), None);
    }

    #[test]
    fn what_is_mounted_may_be_a_part() {
        let mounts = "32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let own = |path: &str| find(mounts, &format!("4:memory:{path}\n"), "memory").unwrap().own;
        assert_eq!(own("/docker/abc/x"), Path::new("x"));
        assert_eq!(own("/docker/abc"), Path::new(""));
        assert_eq!(own("/elsewhere"), Path::new(""));
    }

    #[test]
    fn limits_of_one_hierarchy_meet_in_one_group() {
        let all = [Controller::Memory, Controller::Cpu];
        let parted = by_hierarchy(HYBRID, "0::/\n", &all).unwrap();
        assert_eq!(parted.len(), 2);
        let Err(lacking) = by_hierarchy(HYBRID, "0::/\n", &[Controller::Pids]) else {
            panic!("there is no pids")
        };
        assert!(lacking.ends_with("no cgroup controller pids"), "{lacking}");
        let one = "30 25 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu,cpuacct,memory\n";
        let met = by_hierarchy(one, "4:cpu,cpuacct,memory:/\n", &all).unwrap();
        assert_eq!(met.iter().map(|(_, controllers)| controllers.as_slice()).collect::<Vec<_>>(), [all]);
    }

    #[test]
    fn groups_are_made_near_ours_and_not_beside_processes() {
        let hierarchy = |own: &str, unified| Hierarchy { top: "/cg".into(), own: own.into(), unified };
        let places = |own, unified| hierarchy(own, unified).candidates();
        assert_eq!(places("a/b.scope", true), [Path::new("/cg/a"), Path::new("/cg")]);
        assert_eq!(places("", true), [Path::new("/cg")], "the root may have both");
        assert_eq!(places("a", false), [Path::new("/cg/a"), Path::new("/cg")]);
        let way = hierarchy("", true);
        let way = way.way_to(Path::new("/cg/a/b"));
        assert_eq!(way, [Path::new("/cg"), Path::new("/cg/a"), Path::new("/cg/a/b")]);
    }

    #[test]
    fn limits_need_their_controllers_only() {
        let mut resources = Resources::default();
        assert!(!wanted(None, Some(&resources)) && wanted(Some("x"), None));
        resources.memory = Some(crate::spec::Memory { limit: Some(1), swap: None });
        assert_eq!(needed(&resources), [Controller::Memory]);
        assert!(Cgroup::make("x", Some("a/../b"), &resources).unwrap_err().contains("leads upwards"));
    }
}
