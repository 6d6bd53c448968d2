//! The names of steps, as BuildKit's progress shows them: `[build 2/5] RUN make`.

use oci::Platform;

use crate::expand::{Expander, Variables};
use crate::lower::env::Env;
use crate::lower::globals;
use crate::lower::state::{Building, Lowering, Progress};
use crate::lower::text;

impl Lowering<'_> {
    /// The text of an instruction with the values of its variables shown. What can't be expanded
    /// is shown as it is written.
    pub(crate) fn shown(&self, it: &Building, source: &str) -> String {
        show(self.expander, &it.state.env, source)
    }

    /// The same for RUN, whose quotes and unset variables are the shell's. `env` may hide secrets.
    pub(crate) fn shown_command(&self, env: &dyn Variables, source: &str) -> String {
        let expander = Expander { raw_quotes: true, keep_unset: true, ..self.expander };
        show(expander, env, source)
    }

    /// The name of the next step of the stage.
    pub(crate) fn name_step(&self, it: &mut Building, shown: &str) -> String {
        it.progress.named += 1;
        self.name_part(it, shown)
    }

    /// The name of another part of the step that was named last.
    pub(crate) fn name_part(&self, it: &Building, shown: &str) -> String {
        self.prefixed(&it.progress, it.trigger.is_some(), &it.state.platform, &it.state.env, shown)
    }

    /// `shown` with the place of its step before it.
    pub(crate) fn prefixed(
        &self,
        progress: &Progress,
        trigger: bool,
        platform: &Platform,
        env: &Env,
        shown: &str,
    ) -> String {
        if progress.total == 0 {
            return shown.to_owned();
        }
        let mut name = "[".to_owned();
        if self.options.multi_platform {
            name.push_str(&platform.to_string());
            if let Some(target) = globals::platform_of(env, platform) {
                name.push_str(&crossing(platform, &target.normalized()));
            }
            name.push(' ');
        }
        if !progress.label.is_empty() {
            name.push_str(&progress.label);
            name.push(' ');
        }
        let width = progress.total.to_string().len();
        name.push_str(&format!("{:width$}/{}] ", progress.named, progress.total));
        if trigger {
            name.push_str("ONBUILD ");
        }
        name.push_str(shown);
        name
    }
}

fn show(expander: Expander, env: &dyn Variables, source: &str) -> String {
    let expanded = expander.word(source, env);
    text::uppercase_first_word(expanded.as_ref().map_or(source, |expanded| &expanded.text))
}

/// What is added where a step on one platform builds for another.
fn crossing(base: &Platform, target: &Platform) -> String {
    if target.os != base.os {
        format!("->{target}")
    } else if target.architecture == base.architecture {
        String::new()
    } else if target.variant.is_empty() {
        format!("->{}", target.architecture)
    } else {
        format!("->{}/{}", target.architecture, target.variant)
    }
}
