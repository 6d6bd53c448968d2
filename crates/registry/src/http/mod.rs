//! HTTP as a registry's client needs it, over ureq: nothing here knows the distribution protocol.

pub(crate) mod proxy;
