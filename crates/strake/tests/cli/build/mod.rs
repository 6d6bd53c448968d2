//! `build`, by subject.

mod cache;
mod cache_size;
mod check;
mod copy;
mod entitlements;
mod errors;
mod explain;
mod git_sources;
mod http_sources;
mod ignore;
mod lapses;
mod leaks;
mod logs;
mod mounts;
mod named_contexts;
mod outputs;
mod platforms;
mod progress;
mod reproducible;
mod run;
mod schedule;
mod secrets;
mod shell;
mod ssh;
mod stages;
mod stdin;
