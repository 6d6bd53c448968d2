//! Docker's flags for limits of memory, processors and processes, the same for `build`, `run` and `create`; and
//! `--resource`, which says them all at once.

use engine::build::Limits;
use runtime::spec::{Cpu, Memory, Pids};

use crate::cli::{CliError, units};

/// Microseconds of a period, where none is given.
const PERIOD: u64 = 100_000;
const KEYS: &str =
    "memory, memory-swap, cpus, cpu-shares, cpu-quota, cpu-period, cpuset-cpus, cpuset-mems, pids";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct LimitArgs {
    /// Memory limit, such as 512m
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Limit of memory and swap together; -1 for any amount of swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Number of processors, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Weight against others when processors are short
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<String>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// Microseconds of a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<String>,
    /// Processors to run on, such as 0-3 or 0,1
    #[arg(long, value_name = "CPUS")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0-3 or 0,1
    #[arg(long, value_name = "NODES")]
    cpuset_mems: Option<String>,
    /// Number of processes; -1 for any
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// Control group that the container's is made in
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
}

impl LimitArgs {
    /// The limits asked for.
    pub(crate) fn limits(&self) -> Result<Limits, CliError> {
        let given = [
            ("memory", &self.memory),
            ("memory-swap", &self.memory_swap),
            ("cpus", &self.cpus),
            ("cpu-shares", &self.cpu_shares),
            ("cpu-quota", &self.cpu_quota),
            ("cpu-period", &self.cpu_period),
            ("cpuset-cpus", &self.cpuset_cpus),
            ("cpuset-mems", &self.cpuset_mems),
            ("pids", &self.pids_limit),
        ];
        let mut limits = Limits { cgroup_parent: self.cgroup_parent.clone(), ..Limits::default() };
        for (key, value) in given {
            if let Some(value) = value {
                set(&mut limits, key, value)
                    .map_err(|why| CliError::new(format!("invalid argument {value:?} for --{key}: {why}")))?;
            }
        }
        check(&limits)?;
        Ok(limits)
    }
}

/// `--resource memory=1g,cpu-quota=50000`, added to `limits`.
pub(crate) fn resource(text: &str, limits: &mut Limits) -> Result<(), CliError> {
    let mut fields: Vec<String> = Vec::new();
    for field in text.split(',') {
        match fields.last_mut() {
            // A comma in a value: cpuset-cpus=0,2.
            Some(last) if !field.contains('=') => {
                last.push(',');
                last.push_str(field);
            }
            _ => fields.push(field.to_owned()),
        }
    }
    for field in fields {
        let invalid = |why: &str| CliError::new(format!("invalid resource {field:?}: {why}"));
        let (key, value) = field.split_once('=').ok_or_else(|| invalid("write key=value"))?;
        set(limits, key, value.trim_matches('"')).map_err(|why| invalid(&why))?;
    }
    check(limits)
}

fn set(limits: &mut Limits, key: &str, value: &str) -> Result<(), String> {
    let bytes = |text: &str| {
        units::parse_size(text).and_then(|bytes| i64::try_from(bytes).ok()).ok_or("it is no size".to_owned())
    };
    let memory = || limits.memory.unwrap_or_default();
    let mut cpu = limits.cpu.clone().unwrap_or_default();
    match key {
        "memory" => limits.memory = Some(Memory { limit: Some(bytes(value)?), ..memory() }),
        "memory-swap" => {
            let swap = if value == "-1" { -1 } else { bytes(value)? };
            limits.memory = Some(Memory { swap: Some(swap), ..memory() });
        }
        "cpus" => {
            let count: f64 = value.parse().map_err(|_| "it is no number".to_owned())?;
            if !(0.001..=100_000.0).contains(&count) {
                return Err("it is no number of processors".to_owned());
            }
            cpu.period = Some(PERIOD);
            // At most 10^10.
            cpu.quota = Some((count * PERIOD as f64) as i64);
            limits.cpu = Some(cpu);
        }
        "cpu-shares" => {
            cpu.shares = Some(number(value)?);
            limits.cpu = Some(cpu);
        }
        "cpu-quota" => {
            cpu.quota = Some(value.parse().map_err(|_| "it is no number".to_owned())?);
            limits.cpu = Some(cpu);
        }
        "cpu-period" => {
            cpu.period = Some(number(value)?);
            limits.cpu = Some(cpu);
        }
        "cpuset-cpus" => limits.cpu = Some(Cpu { cpus: Some(list(value)?), ..cpu }),
        "cpuset-mems" => limits.cpu = Some(Cpu { mems: Some(list(value)?), ..cpu }),
        "pids" | "pids-limit" => {
            let limit = value.parse().map_err(|_| "it is no number".to_owned())?;
            limits.pids = Some(Pids { limit });
        }
        _ => return Err(format!("unknown key {key:?}; the keys are {KEYS}")),
    }
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it is no number".to_owned())
}

/// Numbers and ranges, as the kernel reads them.
fn list(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'-'));
    if fine { Ok(text.to_owned()) } else { Err("it is no list of numbers".to_owned()) }
}

/// Docker's own rules.
fn check(limits: &Limits) -> Result<(), CliError> {
    let Some(memory) = &limits.memory else { return Ok(()) };
    match (memory.limit, memory.swap) {
        (Some(limit), _) if limit < 6 << 20 => Err(CliError::new("Minimum memory limit allowed is 6MB")),
        (None, Some(_)) => {
            Err(CliError::new("You should always set the Memory limit when using Memoryswap limit"))
        }
        (Some(limit), Some(swap)) if swap >= 0 && swap < limit => {
            Err(CliError::new("Minimum memoryswap limit should be larger than memory limit, see usage"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Limits, String> {
        let mut limits = Limits::default();
        resource(text, &mut limits).map(|()| limits).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn resources() {
        let limits = read("memory=64m,memory-swap=-1,cpuset-cpus=0,2-3,cpu-shares=512,pids=9").unwrap();
        assert_eq!(limits.memory, Some(Memory { limit: Some(64 << 20), swap: Some(-1) }));
        let cpu = limits.cpu.unwrap();
        assert_eq!((cpu.cpus.as_deref(), cpu.shares), (Some("0,2-3"), Some(512)));
        assert_eq!(limits.pids, Some(Pids { limit: 9 }));
        let cpu = read("cpus=1.5").unwrap().cpu.unwrap();
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
        for (text, part) in [
            ("memory", "write key=value"),
            ("memory=lots", "it is no size"),
            ("memory=1k", "Minimum memory limit"),
            ("memory-swap=1g", "always set the Memory limit"),
            ("memory=1g,memory-swap=1m", "Minimum memoryswap"),
            ("disk=1g", "unknown key"),
            ("cpuset-cpus=a", "no list"),
            ("cpus=0", "no number of processors"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
