//! The rules of the build checks: BuildKit's, by its names and in its words, and our own.
//!
//! A table only. What finds a violation is the parser, lowering, or a module of `check`.

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// One of BuildKit's build checks: found in every build.
    BuildKit,
    /// Ours, and about what a build does with the Dockerfile: found in every build.
    Build,
    /// Ours, as a reviewer would say it: found by `build --check` alone.
    Review,
}

macro_rules! rules {
    ($($(#[$meta:meta])* $name:ident, $origin:ident, $experimental:literal, $slug:literal, $description:literal;)*) => {
        /// A rule of the build checks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(
                #[doc = $description]
                $(#[$meta])*
                $name,
            )*
        }

        impl Rule {
            /// All rules: BuildKit's first, each group in the order of its documentation.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];

            /// Its name, as in `# check=skip=NAME`.
            pub fn id(self) -> &'static str {
                match self { $(Rule::$name => stringify!($name),)* }
            }

            /// What it is about, in one sentence without a final dot; BuildKit's words for BuildKit's rules.
            pub fn description(self) -> &'static str {
                match self { $(Rule::$name => $description,)* }
            }

            /// Who says so.
            pub fn origin(self) -> Origin {
                match self { $(Rule::$name => Origin::$origin,)* }
            }

            /// Whether it must be asked for, by `# check=experimental=NAME`.
            pub fn is_experimental(self) -> bool {
                match self { $(Rule::$name => $experimental,)* }
            }

            /// Where BuildKit's documentation has it; none for our own and for one that it has no page of.
            pub fn url(self) -> Option<&'static str> {
                let url = match self {
                    $(Rule::$name => concat!("https://docs.docker.com/go/dockerfile/rule/", $slug, "/"),)*
                };
                (self.origin() == Origin::BuildKit && self != Rule::InvalidBaseImagePlatform).then_some(url)
            }

            /// A page that explains it: what is wrong, an example, what to write instead. Markdown.
            pub fn page(self) -> &'static str {
                match self {
                    $(Rule::$name => include_str!(concat!("../../../../docs/checks/", stringify!($name), ".md")),)*
                }
            }
        }
    };
}

rules! {
    StageNameCasing, BuildKit, false, "stage-name-casing", "Stage names should be lowercase";
    FromAsCasing, BuildKit, false, "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword";
    NoEmptyContinuation, BuildKit, false, "no-empty-continuation", "Empty continuation lines will become errors in a future release";
    ConsistentInstructionCasing, BuildKit, false, "consistent-instruction-casing", "All commands within the Dockerfile should use the same casing (either upper or lower)";
    DuplicateStageName, BuildKit, false, "duplicate-stage-name", "Stage names should be unique";
    ReservedStageName, BuildKit, false, "reserved-stage-name", "Reserved words should not be used as stage names";
    JSONArgsRecommended, BuildKit, false, "json-args-recommended", "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals";
    MaintainerDeprecated, BuildKit, false, "maintainer-deprecated", "The MAINTAINER instruction is deprecated, use a label instead to define an image author";
    UndefinedArgInFrom, BuildKit, false, "undefined-arg-in-from", "FROM command must use declared ARGs";
    WorkdirRelativePath, BuildKit, false, "workdir-relative-path", "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes";
    UndefinedVar, BuildKit, false, "undefined-var", "Variables should be defined before their use";
    MultipleInstructionsDisallowed, BuildKit, false, "multiple-instructions-disallowed", "Multiple instructions of the same type should not be used in the same stage";
    LegacyKeyValueFormat, BuildKit, false, "legacy-key-value-format", "Legacy key/value format with whitespace separator should not be used";
    InvalidBaseImagePlatform, BuildKit, false, "invalid-base-image-platform", "Base image platform does not match expected target platform";
    RedundantTargetPlatform, BuildKit, false, "redundant-target-platform", "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior";
    SecretsUsedInArgOrEnv, BuildKit, false, "secrets-used-in-arg-or-env", "Sensitive data should not be used in the ARG or ENV commands";
    InvalidDefaultArgInFrom, BuildKit, false, "invalid-default-arg-in-from", "Default value for global ARG results in an empty or invalid base image name";
    FromPlatformFlagConstDisallowed, BuildKit, false, "from-platform-flag-const-disallowed", "FROM --platform flag should not use a constant value";
    CopyIgnoredFile, BuildKit, true, "copy-ignored-file", "Attempting to Copy file that is excluded by .dockerignore";
    InvalidDefinitionDescription, BuildKit, true, "invalid-definition-description", "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.";
    ExposeProtoCasing, BuildKit, false, "expose-proto-casing", "Protocol in EXPOSE instruction should be lowercase";
    ExposeInvalidFormat, BuildKit, false, "expose-invalid-format", "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release";
    CopyOutOfContext, Build, false, "", "A source of COPY or ADD that leads out of the build context is taken from inside of it";
    UnpinnedBaseImage, Review, false, "", "A base image should be named with a version: without a tag, or with latest, it changes from build to build";
    AptGetUpdateAlone, Review, false, "", "apt-get update belongs in the RUN that installs: alone, its cached result goes stale";
    AptGetNoConfirm, Review, false, "", "apt-get install should be told -y: nobody is there to answer its question";
    AptGetRecommends, Review, false, "", "apt-get install should be told --no-install-recommends, so that the image holds what is asked for and no more";
    PackageListsLeft, Review, false, "", "Package lists and caches should be removed in the RUN that fetches them: a later layer makes the image no smaller";
    SecretCopied, Review, false, "", "Files that hold secrets should not be copied into an image: mount them with RUN --mount=type=secret";
    SecretValue, Review, false, "", "The value of a secret should not be written in a Dockerfile";
    AddInsteadOfCopy, Review, false, "", "COPY should be used where ADD does nothing that COPY does not";
    CdInsteadOfWorkdir, Review, false, "", "WORKDIR should be used to change the directory: cd lasts no longer than its RUN";
    RootUser, Review, false, "", "The image should run as another user than root";
    DeletedLater, Review, false, "", "A file that a later layer deletes is still in the image: it should not come into a layer";
}

impl Rule {
    /// The rule of that name, in any case.
    pub fn find(name: &str) -> Option<Rule> {
        Rule::ALL.iter().copied().find(|rule| rule.id().eq_ignore_ascii_case(name))
    }

    /// Whether it is found in every build, and not by `build --check` alone.
    pub fn is_of_builds(self) -> bool {
        self.origin() != Origin::Review
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_page_of_its_own() {
        for rule in Rule::ALL {
            let page = rule.page();
            assert!(page.starts_with(&format!("# {rule}\n")), "{rule}");
            assert!(page.contains("## Instead") || page.contains("## Example"), "{rule}");
            assert!((10..60).contains(&page.lines().count()), "{rule}: {} lines", page.lines().count());
            assert_eq!(Rule::find(&rule.id().to_lowercase()), Some(*rule));
        }
    }

    #[test]
    fn addresses_are_of_buildkits_rules() {
        let url = "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/";
        assert_eq!(Rule::JSONArgsRecommended.url(), Some(url));
        assert_eq!(Rule::RootUser.url(), None);
        assert_eq!(Rule::InvalidBaseImagePlatform.url(), None);
    }
}
