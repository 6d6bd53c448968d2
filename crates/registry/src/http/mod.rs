//! HTTP as a registry's client needs it, over ureq: nothing here knows the distribution protocol.
//!
//! Redirects are not followed here, nothing is sent twice, and every body has a bound.

pub(crate) mod agents;
pub(crate) mod answer;
mod pace;
pub(crate) mod proxy;
pub(crate) mod redirect;
pub(crate) mod request;
mod retry_after;
pub(crate) mod trouble;
pub(crate) mod url;
