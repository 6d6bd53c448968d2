//! What a Dockerfile asks for that has to be allowed: seen before anything runs.
//!
//! strake gives steps the host's network unless told otherwise, so that RUN --network=host asks for nothing more; only
//! a build with `--network none` has to allow it. In BuildKit it has to be allowed always.

use dockerfile::lower::Lowered;
use graph::{Exec, Network, Op, Security};

use super::context::Inputs;
use super::request::BuildRequest;
use super::run_options::Entitlement;
use crate::{Error, Kind, Result};

/// Refuses what was not allowed, at its line.
pub(super) fn check(lowered: &Lowered, inputs: &Inputs, request: &BuildRequest) -> Result<()> {
    for (_, vertex) in lowered.graph.iter() {
        let Op::Exec(exec) = &vertex.op else { continue };
        let Some((wanted, flag)) = lacking(exec, request) else { continue };
        let name = wanted.name();
        let detail = vertex.location.map(|location| super::excerpt(inputs, location) + "\n");
        let mut error = Error::new(
            Kind::Denied,
            format!("failed to solve: RUN {flag} needs the entitlement {name}, which was not given"),
        )
        .hint(format!("if you trust this Dockerfile, allow it: --allow {name}"));
        error.detail = detail.unwrap_or_default();
        return Err(error);
    }
    Ok(())
}

fn lacking(exec: &Exec, request: &BuildRequest) -> Option<(Entitlement, &'static str)> {
    let wants = [
        (exec.security == Security::Insecure, Entitlement::SecurityInsecure, "--security=insecure"),
        (
            exec.network == Network::Host && request.network == Network::None,
            Entitlement::NetworkHost,
            "--network=host in a build with --network none",
        ),
    ];
    wants
        .into_iter()
        .find(|(asked, wanted, _)| *asked && !request.run.allows(*wanted))
        .map(|(_, wanted, flag)| (wanted, flag))
}
