//! Times the copy engine against `cp -a`: many small files (20,000 in 400 MB), cold; the same with one file changed
//! and the earlier layer at hand; one large file.
//!
//! Run as `cargo run --release -p strake-snapshot --example copy_bench -- DIR [PAIRS [cold|changed|large]]`. Every run
//! writes to a new directory below DIR, and nothing is removed before the last one is done: file systems are slow to
//! reuse what was just removed. That takes 5 GB for each of PAIRS. On a machine that does other things too, the
//! processor times in brackets say more than the others.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use snapshot::Mtime;
use snapshot::copy::{FileStat, Placing, Plan, Read, Source, Visit, Writing, Written, walk};

fn main() {
    let mut args = std::env::args().skip(1);
    let top = PathBuf::from(args.next().expect("usage: copy_bench DIR [PAIRS [cold|changed|large]]"));
    let pairs = args.next().map_or(3, |n| n.parse().expect("PAIRS is a number"));
    let only = args.next();
    let wanted = |what: &str| only.as_deref().is_none_or(|only| only == what);
    let many = top.join("many");
    if !many.exists() {
        println!("making {} ...", many.display());
        make_many(&many);
    }
    let runs = top.join(format!("runs-{}", std::process::id()));
    let next = std::cell::Cell::new(0);
    let new = |name: &str| {
        next.set(next.get() + 1);
        let path = runs.join(format!("{}-{name}/fs", next.get()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path
    };

    let mut last = None;
    if wanted("cold") || wanted("changed") {
        println!("20,000 files, cold:");
        for _ in 0..if wanted("cold") { pairs } else { 1 } {
            let cp = cp(&many, &new("cp"));
            let out = new("copy");
            let (ours, written) = copy(&many, &out, None, &[]);
            report(cp, ours, "");
            last = Some((out, written.read));
        }
    }
    if wanted("changed") {
        println!("20,000 files, one changed:");
        let changed = many.join("d007/f00042");
        for n in 0..pairs {
            let text = format!("changed {n} {}\n", std::process::id());
            std::fs::write(&changed, text).expect("a file can be written");
            let cp = cp(&many, &new("cp"));
            let out = new("copy");
            let (before, read) = last.as_ref().map(|(out, read)| (out, read)).expect("there was a first run");
            let (ours, written) = copy(&many, &out, Some(before), read);
            report(cp, ours, &format!("{} linked", written.linked));
            last = Some((out, written.read));
        }
    }
    if wanted("large") {
        let large = top.join("large");
        if !large.exists() {
            make_large(&large);
        }
        println!("one file of 1 GiB:");
        for _ in 0..pairs {
            let cp = cp(&large, &new("cp"));
            let (ours, _) = copy(&large, &new("copy"), None, &[]);
            report(cp, ours, "");
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("");
    println!("peak memory: {}", peak.trim_start_matches("VmHWM:").trim());
    // Only now: what was removed just before would have been in the way of what came after.
    std::fs::remove_dir_all(&runs).expect("what was made can be removed");
}

fn make_large(large: &Path) {
    std::fs::create_dir(large).expect("a directory can be made");
    let mut file = std::fs::File::create(large.join("file")).expect("a file can be made");
    let block: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for _ in 0..1024 {
        file.write_all(&block).expect("a file can be written");
    }
}

/// Time on the clock, and of processors.
#[derive(Clone, Copy)]
struct Took(Duration, Duration);

fn report(cp: Took, ours: Took, note: &str) {
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "  cp -a {:.2} s [{:.2}]  copy {:.2} s [{:.2}]  ratio {:.2} [{:.2}]  {note}",
        cp.0.as_secs_f64(),
        cp.1.as_secs_f64(),
        ours.0.as_secs_f64(),
        ours.1.as_secs_f64(),
        ratio(ours.0, cp.0),
        ratio(ours.1, cp.1),
    );
}

/// Processor time of this process, or of its children that ended.
fn processor_time(children: bool) -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let at = if children { 13 } else { 11 };
    let ticks: u64 = fields[at].parse::<u64>().unwrap_or(0) + fields[at + 1].parse::<u64>().unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

fn cp(from: &Path, to: &Path) -> Took {
    let (start, processor) = (Instant::now(), processor_time(true));
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
    Took(start.elapsed(), processor_time(true) - processor)
}

/// Copies a directory; `known` is what a stat cache would know of its files.
fn copy(from: &Path, out: &Path, previous: Option<&Path>, known: &[Read]) -> (Took, Written) {
    let known: HashMap<&[u8], &Read> = known.iter().map(|read| (&*read.path, read)).collect();
    let (start, processor) = (Instant::now(), processor_time(false));
    let root = runtime::beneath::open_root(from).expect("the source opens");
    let source = Source::host(root.as_fd(), "the build context");
    let found = walk(&source, b"", &|_, _| Visit::Keep).expect("the source can be listed");
    let walked = start.elapsed();
    let mut plan =
        Plan::new(None, Mtime { sec: 1_700_000_000, nsec: 0 }, None).expect("there is nothing underneath");
    let number = plan.add_source(source);
    let top = source.lstat(b"").expect("the source is there").expect("the source is there");
    plan.make_dir(b"app", 0o755, snapshot::Owner::ROOT).expect("a directory can be planned");
    let digest = |path: &[u8], stat: &FileStat| {
        known
            .get(path)
            .filter(|read| read.stat.is_same(stat))
            .map(|read| (read.digest, !read.xattrs.is_empty()))
    };
    let how = Placing { source: number, owner: None, mode: None, digest: &digest };
    plan.place_content(&found, &top, b"app", &how).expect("the files can be planned");
    let planned = start.elapsed();
    let mode = runtime::Mode::Root;
    let how = Writing { out, mode, previous, stop: &[], search: None, keep_digests: true };
    let written = plan.write(&how).expect("the layer can be written");
    let all = start.elapsed();
    if std::env::var_os("VERBOSE").is_some() {
        println!("    walk {walked:?}, plan {:?}, write {:?}", planned - walked, all - planned);
    }
    assert!(written.stat.is_some());
    (Took(all, processor_time(false) - processor), written)
}

fn make_many(many: &Path) {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for dir in 0..200 {
        let dir_path = many.join(format!("d{dir:03}"));
        std::fs::create_dir_all(&dir_path).expect("a directory can be made");
        for file in 0..100 {
            let len = 1000 + random() as usize % 39_000;
            let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            std::fs::write(dir_path.join(format!("f{file:05}")), bytes).expect("a file can be written");
        }
    }
}
