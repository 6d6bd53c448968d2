//! `build`, by subject.

mod cache;
mod copy;
mod errors;
mod ignore;
mod lapses;
mod run;
mod stages;
mod stdin;
