//! The real binary, verb by verb, each test on a store of its own: what it prints, where, and its exit code.

mod dockerd;
mod harness;
mod project;
mod repository;
mod served;
mod session;
mod web;

mod build;
mod containers;
mod df;
mod differential;
mod doctor;
mod frame;
mod full;
mod history;
mod images;
mod inspect;
mod layers;
mod ordinary_user;
mod prune;
mod pull;
mod push;
mod registries;
mod registry_interop;
mod registry_serve;
mod rmi;
mod s3;
mod system_check;
mod tag;
