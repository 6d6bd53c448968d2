//! `build`, by subject.

mod cache;
mod copy;
mod errors;
mod ignore;
mod lapses;
mod platforms;
mod run;
mod stages;
mod stdin;
