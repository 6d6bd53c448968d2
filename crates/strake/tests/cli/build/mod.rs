//! `build`, by subject.

mod cache;
mod cache_size;
mod copy;
mod entitlements;
mod errors;
mod ignore;
mod lapses;
mod leaks;
mod mounts;
mod platforms;
mod run;
mod shell;
mod stages;
mod stdin;
