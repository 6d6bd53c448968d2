//! How many threads of this process's own descendants want a processor or a disk at this moment, so that more steps may
//! begin than there are processors where steps wait.
//!
//! What else the machine does is no matter: who only waits takes nothing from it. A thread that runs, or would if the
//! machine were not busy, counts, and so does one that waits for a disk: more steps would only queue there.

use std::fs;

/// Processes that are looked at; a step that has more is busy in any case.
const MOST: usize = 10_000;

/// How many of them there are; `None` where that cannot be known.
pub(crate) fn threads() -> Option<usize> {
    let own = std::process::id();
    let mut todo = vec![own];
    let mut seen = 0;
    let mut busy = 0;
    while let Some(process) = todo.pop() {
        seen += 1;
        if seen > MOST {
            return Some(MOST);
        }
        // A process that has just ended is none.
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let path = thread.path();
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            busy += usize::from(is_busy(&stat));
            match fs::read_to_string(path.join("children")) {
                Ok(children) => {
                    todo.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()))
                }
                // A kernel that does not tell.
                Err(_) if process == own && path.exists() => return None,
                Err(_) => {}
            }
        }
    }
    // The thread that asks.
    Some(busy.saturating_sub(1))
}

/// Whether the thread of this `stat` line runs, can run, or waits for a disk.
fn is_busy(stat: &str) -> bool {
    // The name in parentheses may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('R' | 'D'))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn who_waits_is_not_busy() {
        let Some(before) = threads() else { return };
        let mut sleeping = Command::new("sleep").arg("100").spawn().unwrap();
        let mut spinning =
            Command::new("sh").args(["-c", "while :; do :; done"]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let with = threads().unwrap();
        for child in [&mut sleeping, &mut spinning] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(with > before.saturating_sub(1) && with >= 1, "{before} {with}");
        assert!(is_busy("1 (a) R) R 1") && is_busy("1 (a) D 1") && !is_busy("1 (R) S 1") && !is_busy(""));
    }
}
