//! How long a container takes: `speed [STEPS [LAYERS [RUNTIME]]]` runs `true` on a busybox root of LAYERS layers.
//!
//! Prints the median and the quartiles of STEPS runs, each with a fresh upper directory, from the request to the end
//! of the container and of its output.

use runtime::spec::docker_default;
use runtime::{Container, RootFs, RuntimeChoice, Stdio, Supervisor};
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    runtime::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default: usize| args.get(n).map_or(Ok(default), |a| a.parse());
    let (steps, layers) = (number(0, 50)?, number(1, 11)?);
    let choice = match args.get(2).map(String::as_str) {
        None | Some("embedded") => RuntimeChoice::Embedded,
        Some(path) => RuntimeChoice::External(path.into()),
    };
    let dir = std::env::temp_dir().join(format!("strake-speed-{}", std::process::id()));
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("etc"))?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|p| fs::exists(p).unwrap_or(false));
    fs::copy(busybox.ok_or("busybox-static is not installed")?, root.join("bin/busybox"))?;
    for name in ["sh", "true"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    let mut lowers = vec![root];
    for n in 1..layers {
        let layer = dir.join(format!("layer{n}"));
        fs::create_dir_all(layer.join("etc"))?;
        fs::write(layer.join(format!("etc/file{n}")), "x")?;
        lowers.insert(0, layer);
    }

    let begun = Instant::now();
    let mode = runtime::enter()?;
    let entered = begun.elapsed();
    let begun = Instant::now();
    let supervisor = Supervisor::start()?;
    let started = begun.elapsed();
    let mut spec = docker_default(mode);
    spec.process.args = vec!["/bin/true".into()];
    let mut times = Vec::new();
    let mut first = Duration::ZERO;
    for n in 0..=steps {
        let (upper, work) = (dir.join(format!("upper{n}")), dir.join(format!("work{n}")));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let container = Container {
            id: format!("speed-{}-{n}", std::process::id()),
            spec: spec.clone(),
            rootfs: RootFs { lowers: lowers.clone(), upper: Some((upper, work)), read_only: false },
            runtime: choice.clone(),
            record_owners: false,
            init: false,
            sources: Vec::new(),
            cgroup_parent: None,
        };
        let begun = Instant::now();
        let (mut out, stdout) = std::io::pipe()?;
        let stderr = stdout.try_clone()?;
        let stdio = Stdio::Pipes { stdin: None, stdout: stdout.into(), stderr: stderr.into() };
        let mut running = supervisor.run(&container, stdio)?;
        let mut output = Vec::new();
        out.read_to_end(&mut output)?;
        let exit = running.wait()?;
        let time = begun.elapsed();
        if exit.code != 0 || !output.is_empty() {
            return Err(format!("{exit:?} {}", String::from_utf8_lossy(&output)).into());
        }
        if n == 0 { first = time } else { times.push(time) }
    }
    let begun = Instant::now();
    drop(supervisor);
    let ended = begun.elapsed();
    times.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    let at = |part: f64| ms(times[((times.len() - 1) as f64 * part) as usize]);
    println!(
        "{mode:?}: median {:.2} ms, quartiles {:.2} to {:.2}, least {:.2} ({steps} steps, {layers} layers); enter \
         {:.2}, start {:.2}, first step {:.2}, end {:.2}",
        at(0.5),
        at(0.25),
        at(0.75),
        at(0.0),
        ms(entered),
        ms(started),
        ms(first),
        ms(ended),
    );
    fs::remove_dir_all(&dir)?;
    Ok(())
}
