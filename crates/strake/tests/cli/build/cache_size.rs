//! `builder du`, `builder prune`, `builder limit`: what the cache holds, and how large it may grow.

use serde_json::Value;

use crate::project::Project;

const DOCKERFILE: &str = "FROM busybox\n\
    RUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/f bs=1000 count=3000 2>/dev/null\n\
    RUN dd if=/dev/urandom of=/kept bs=1000 count=2000 2>/dev/null\n";

fn entries(project: &Project, filters: &[&str]) -> Vec<Value> {
    let mut args = vec!["builder", "du", "--format", "json"];
    args.extend(filters.iter().flat_map(|filter| ["--filter", *filter]));
    project.store.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_there_is_in_buildxs_columns() {
    let project = Project::new(&[("Dockerfile", DOCKERFILE)]);
    project.built(&[]);
    let table = project.store.ok(&["builder", "du"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"], "{table}");
    let row =
        |size: &str| lines.iter().find(|row| row.get(2) == Some(&size)).unwrap_or_else(|| panic!("{table}"));
    // A star: steps write into it; an image has it, too.
    assert!(row("3MB")[0].ends_with('*') && row("3MB")[1] == "true", "{table}");
    assert!(!row("2MB*")[0].ends_with('*'), "{table}");
    assert!(table.contains("Shared:\t\t2MB\n") && table.contains("Total:\t\t5"), "{table}");
    let verbose = project.store.ok(&["builder", "du", "--verbose", "--filter", "type=exec.cachemount"]);
    for line in ["Mutable:\ttrue\n", "Size:\t\t3MB\n", "Type:\t\texec.cachemount\n", "Usage count:\t1\n"] {
        assert!(verbose.contains(line), "{verbose}");
    }
    assert!(!verbose.contains("Total:"), "{verbose}");
    let all = entries(&project, &["type=regular"]);
    assert_eq!(all.len(), 2);
    let last = all.iter().find(|entry| entry["Shared"] == true && entry["Size"] == "2MB").unwrap();
    assert!(last["Description"].as_str().unwrap().starts_with("[3/3] RUN dd if=/dev/urandom"), "{last}");
    assert_eq!(last["Parents"].as_array().unwrap().len(), 1, "{last}");
    let id = last["ID"].as_str().unwrap();
    assert_eq!(entries(&project, &[&format!("id={}", &id[..9])]).len(), 1);
    assert_eq!(
        entries(&project, &["mutable", "inuse=false"]).len(),
        1 + usize::from(entries(&project, &["type=source.local"]).len() == 1)
    );
    assert!(project.store.fails(1, &["builder", "du", "--filter", "typ=x"]).contains("invalid filter 'typ'"));
    let df = project.store.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]);
    assert!(df.contains("Build Cache 3 3"), "{df}");
}

#[test]
fn pruning_by_type_age_and_size() {
    let project = Project::new(&[("Dockerfile", DOCKERFILE)]);
    project.built(&[]);
    let prune = |args: &[&str]| {
        let mut all = vec!["builder", "prune", "-f"];
        all.extend_from_slice(args);
        project.store.ok(&all)
    };
    let left =
        || (entries(&project, &["type=regular"]).len(), entries(&project, &["type=exec.cachemount"]).len());
    assert!(prune(&["--filter", "until=1h"]).ends_with("Total reclaimed space: 0B\n"));
    assert!(prune(&["--filter", "unused-for=1h"]).ends_with("Total reclaimed space: 0B\n"));
    assert!(prune(&["--keep-storage", "100MB"]).ends_with("Total reclaimed space: 0B\n"));
    assert!(
        prune(&["--max-used-space", "100MB", "--min-free-space", "1"])
            .ends_with("Total reclaimed space: 0B\n")
    );
    assert_eq!(left(), (2, 1));
    // What the image has is left alone without -a, whatever the size: dropping it frees nothing.
    assert!(prune(&["--max-used-space", "1MB"]).ends_with("Total reclaimed space: 3MB\n"));
    assert_eq!(left(), (2, 0));
    project.built(&["--no-cache"]);
    assert_eq!(left().1, 1);
    prune(&["-a", "--filter", "type=regular"]);
    assert_eq!(left(), (0, 1));
    assert!(prune(&["--filter", "description~=cached mount /c"]).contains("Total reclaimed space: 3MB"));
    assert_eq!(left(), (0, 0));
    project.store.ok(&["system", "check"]);
}

#[test]
fn the_cache_keeps_under_its_limit() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox AS big\nARG N\nRUN echo $N; dd if=/dev/zero of=/big bs=1000 count=4000 2>/dev/null; echo $N > /n\n\
         FROM busybox\nCOPY --from=big /n /n\n",
    )]);
    assert!(project.store.ok(&["builder", "limit"]).starts_with("default (at most "));
    project.store.ok(&["builder", "limit", "10MB"]);
    assert_eq!(project.store.ok(&["builder", "limit"]), "10.49MB\n");
    for n in ["1", "2", "3", "4", "5"] {
        project.built(&["--build-arg", &format!("N={n}")]);
        let big = entries(&project, &["type=regular", "shared=false", "description~=RUN echo"]);
        assert!(big.len() <= 2, "{n}: {big:?}");
    }
    // The latest are left, and the image is whole.
    let said = project.built(&["--build-arg", "N=5"]);
    assert!(said.contains("CACHED") && !said.contains("DONE 0.0s\n#9"), "{said}");
    assert_eq!(project.sh("cat /n"), "5\n");
    project.store.ok(&["builder", "limit", "none"]);
    for n in ["6", "7", "8"] {
        project.built(&["--build-arg", &format!("N={n}")]);
    }
    assert_eq!(entries(&project, &["shared=false", "description~=RUN echo"]).len(), 5);
    assert!(project.store.fails(1, &["builder", "limit", "much"]).contains("invalid size: 'much'"));
    project.store.ok(&["system", "check"]);
}
