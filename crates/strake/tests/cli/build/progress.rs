//! What a build shows as it goes: plain lines that can be compared, BuildKit's JSON, nothing.

use std::process::Command;

use serde_json::Value;

use crate::harness::ran;
use crate::project::Project;

const STAGES: &str = "FROM busybox AS a\nRUN sleep 0.2; echo of a\nFROM busybox AS b\nRUN echo of b; echo more of b >&2\n\
    FROM busybox\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\nRUN printf 'no newline'\n";

/// Without what differs from build to build: times, digests, IDs.
fn timeless(said: &str) -> String {
    let word = |word: &str| match word {
        w if w.starts_with("sha256:") => "DIGEST".to_owned(),
        w if w.trim_end_matches(',').trim_end_matches('s').parse::<f64>().is_ok() => "TIME".to_owned(),
        w => w.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let lines = said.lines().filter(|line| !line.starts_with("image ") && !line.contains("steps cached"));
    lines.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn plain_logs_of_one_build_can_be_compared() {
    let logs: Vec<String> = ["1", "8", "8"]
        .iter()
        .map(|jobs| {
            let project = Project::new(&[("Dockerfile", STAGES)]);
            timeless(&project.built(&["--progress", "plain", "--jobs", jobs]))
        })
        .collect();
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
    let (a, b) = (logs[0].find(" of a").unwrap(), logs[0].find(" of b").unwrap());
    assert!(a < b && logs[0].contains("no newline\n"), "{}", logs[0]);
}

#[test]
fn the_end_says_what_it_came_to() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN head -c 2000000 /dev/zero > /big\nRUN sleep 0.3\n",
    )]);
    let said = project.built(&["--progress", "plain"]);
    let end: Vec<&str> = said.trim_end().lines().rev().take(2).collect();
    assert!(
        end[1].starts_with("0 of 2 steps cached; longest: ") && end[1].contains("RUN sleep 0.3 0."),
        "{said}"
    );
    assert!(end[0].starts_with("image ") && end[0].contains(" 2MB") && end[0].contains("base "), "{said}");
    let again = project.built(&["--progress", "plain"]);
    assert!(again.contains("\n2 of 2 steps cached\n"), "{again}");
}

#[test]
fn raw_json_is_buildkits() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN echo hello\nRUN echo oops >&2; false\n")]);
    let said = project.refused(&["--progress", "rawjson"]);
    let messages: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let vertexes: Vec<&Value> =
        messages.iter().flat_map(|m| m["vertexes"].as_array().into_iter().flatten()).collect();
    let hello = vertexes.iter().find(|v| v["name"] == "[2/3] RUN echo hello").unwrap();
    let completed = vertexes.iter().any(|v| v["digest"] == hello["digest"] && v["completed"].is_string());
    assert!(completed && hello["inputs"].is_array(), "{said}");
    let logs: Vec<&Value> =
        messages.iter().flat_map(|m| m["logs"].as_array().into_iter().flatten()).collect();
    assert!(logs.iter().any(|log| log["vertex"] == hello["digest"] && log["data"] == "aGVsbG8K"), "{said}");
    let failed = vertexes.iter().find(|v| v["error"].is_string()).unwrap();
    assert!(failed["error"].as_str().unwrap().contains("exit code: 1"), "{failed}");
}

#[test]
fn modes() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nRUN echo hello\n")]);
    assert_eq!(project.built(&["--progress", "none"]), "");
    let quiet = project.build(&["--progress", "quiet"]);
    assert_eq!((quiet.stderr.as_str(), quiet.stdout.trim_end()), ("", project.id().as_str()));
    assert_eq!(project.build(&["-q"]).stdout, quiet.stdout);
    assert!(project.refused(&["--progress", "tty"]).contains("terminal"));
    assert!(project.refused(&["--progress", "fancy"]).contains("rawjson"));
    let by_variable = |mode: &str| {
        let mut command = project.store.command();
        ran(command.env("BUILDKIT_PROGRESS", mode).args(["build", "."]).current_dir(project.path("")))
    };
    assert!(by_variable("rawjson").stderr.starts_with("{\"vertexes\""));
    assert!(by_variable("plain").stderr.starts_with("#1 "));
}

/// In a real terminal, of several sizes: `script` makes one.
#[test]
fn a_terminal_is_drawn_in() {
    let steps: String =
        (0..20).map(|n| format!("FROM busybox AS s{n}\nRUN sleep 0.3; echo of {n}\n")).collect();
    let copies: String = (0..20).map(|n| format!("COPY --from=s{n} /etc /e{n}\n")).collect();
    let file = format!(
        "{steps}FROM busybox\n{copies}RUN printf '\\033[2J\\033]0;evil\\007red\\n'; sleep 0.3; false\n"
    );
    for (rows, columns) in [(10, 40), (24, 80)] {
        let project = Project::new(&[("Dockerfile", &file)]);
        let command = format!(
            "stty rows {rows} columns {columns}; {} build --jobs 20 --progress tty .",
            env!("CARGO_BIN_EXE_strake")
        );
        let said = ran(Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("STRAKE_ROOT", project.store.root())
            .env("TERM", "xterm")
            .current_dir(project.path("")));
        let seen = said.stdout;
        assert!(seen.contains("[+] Building ") && seen.contains("\x1b["), "{seen}");
        assert!(!seen.contains("\x1b]0;") && !seen.contains("\x1b[2J"), "{seen}");
        assert!(seen.contains("ERROR") && seen.contains("exit code: 1"), "{seen}");
        // No frame is higher than the terminal: the cursor never goes up by more than its rows.
        let ups = seen.split("\x1b[").filter_map(|part| part.split_once('A')?.0.parse::<usize>().ok());
        assert!(ups.max().unwrap_or(0) < rows, "{seen}");
    }
}
