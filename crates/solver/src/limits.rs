//! What confines processes besides what they are: sizes, limits, control groups. No part of what a step makes, and so
//! of no key.

use runtime::spec::{Cpu, Memory, Pids, Rlimit, Spec};
use serde::{Deserialize, Serialize};

/// Limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Size of /dev/shm in bytes; `None`: Docker's 64 MiB.
    pub shm_size: Option<u64>,
    /// Resource limits of each process.
    pub rlimits: Vec<Rlimit>,
    /// The control group that the container's is made in; `None`: near strake's own.
    pub cgroup_parent: Option<String>,
    /// Memory of all its processes.
    pub memory: Option<Memory>,
    /// Processor time of all its processes.
    pub cpu: Option<Cpu>,
    /// How many processes it may have.
    pub pids: Option<Pids>,
}

impl Limits {
    /// Sets them in a container's spec; `cgroup_parent` is the container's own.
    pub fn apply(&self, spec: &mut Spec) {
        if let Some(size) = self.shm_size {
            spec.set_shm_size(size);
        }
        spec.process.rlimits.extend(self.rlimits.iter().cloned());
        let resources = spec.linux.resources.get_or_insert_default();
        resources.memory = self.memory;
        resources.cpu.clone_from(&self.cpu);
        resources.pids = self.pids;
    }
}
