//! The verbs: plain requests in, plain results and events out
