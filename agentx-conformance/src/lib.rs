//! The conformance kit: what every provider of AgentX resources does, as named test cases.
//!
//! A provider crate takes the kit as a dev-dependency and calls one macro for each resource that it provides. The
//! macro makes a module with one `#[test]` for each case, so that the test runner names, filters and repeats them.
//! The name of a test is the id of a row in `docs/semantics.md`, with `_` for `-`.
//!
//! ```
//! use agentx_conformance::{Fresh, Profile};
//! use agentx_resource::memory::MemoryFileSystem;
//!
//! // In `tests/conformance.rs`: every case gets a file system of its own, empty and isolated from all others.
//! agentx_conformance::file_system_suite!(memory, || async { Fresh::file_system(MemoryFileSystem::new()) });
//!
//! // With what must outlive the case, such as a temporary directory, and with a deviation that is declared.
//! struct TemporaryDirectory;
//! agentx_conformance::file_system_suite!(
//!     guarded,
//!     || async { Fresh::file_system(MemoryFileSystem::new()).with_guard(TemporaryDirectory) },
//!     Profile::new()
//! );
//! # fn main() {}
//! ```
//!
//! The same goes for [`process_suite!`], [`env_suite!`], [`disk_suite!`], [`llm_provider_suite!`],
//! [`repository_suite!`], for [`pair_suite!`], a file system and a process over one tree, and for [`planted_suite!`], what
//! comes into a file system from outside. For what stands on a process there are [`process_session_suite!`] (a shell that
//! stays) and [`process_background_suite!`] (commands left alone). The module of each suite says what it expects of what
//! the factory gives.
//!
//! # The factory
//! A closure or an `async fn` that gives a [`Fresh`], or a `Result` of one: the resource, and a guard that is dropped
//! after the case and after the resource. It is called once per case, inside a tokio runtime with time and I/O. The
//! expression is evaluated in a module below the caller's, and sees all that the caller's module sees.
//!
//! Attributes before the module's name go to each test: `#[ignore = "needs a server"]` where not every machine can run
//! it.
//!
//! # Deviations
//! A provider that can't do what a row says declares so in a [`Profile`], with the reason. A declared deviation must
//! be real: its case has to fail.
//!
//! # What is printed
//! The test `summary` of each module prints one line: how many cases there are, which capabilities are not declared
//! and so must be refused, and which deviations are declared.
//!
//! # Capabilities
//! What a provider declares is tried. For what it does not declare, the case asserts that the answer is
//! `Unsupported` and that nothing changed.
//!
//! # A provider from nothing
//! `docs/writing-a-provider.md` leads from an empty crate to a file system that passes every case; it stands whole in
//! `examples/map_file_system.rs`.
//!
//! # Stability
//! A new version of the kit may bring new cases, and so break the build of a provider that did nothing wrong. It is
//! versioned apart from the contract for that reason.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod case;
mod clock;
pub mod disk;
pub mod env;
mod failure;
pub mod faulty;
pub mod file_system;
mod fresh;
pub mod limits;
pub mod llm;
pub mod pair;
pub mod planted;
pub mod process;
mod profile;
pub mod repository;
mod summary;

pub use case::Case;
pub use clock::TokioClock;
pub use failure::{Failure, Outcome};
pub use fresh::{Fresh, IntoFresh};
#[doc(hidden)]
pub use process::{background as process_background, session as process_session};
pub use profile::Profile;
pub use summary::{Subject, Summary};

/// The examples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-provider.md")]
struct Guide;

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ({ $suite:ident $module:ident ($factory:expr) ($profile:expr) $attributes:tt } $($case:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need what the caller's module has, or nothing")]
            use super::*;

            $crate::__test! { $attributes
                fn summary() -> ::std::result::Result<(), $crate::Failure> {
                    let suite = ::std::module_path!();
                    $crate::Case::summarize($crate::$suite::CASES, suite, $factory, &$profile)
                }
            }

            $(
                $crate::__test! { $attributes
                    fn $case() -> ::std::result::Result<(), $crate::Failure> {
                        $crate::Case::run($crate::$suite::CASES, stringify!($case), $factory, &$profile)
                    }
                }
            )*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ([$(#[$attribute:meta])*] $test:item) => {
        $(#[$attribute])*
        #[test]
        $test
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __table {
    ({ $resource:ty } $($case:ident)*) => {
        /// The cases of this suite, in the order of `docs/semantics.md`.
        pub const CASES: &[$crate::Case<$resource>] =
            &[$($crate::Case::new(stringify!($case), |resource| Box::pin($case(resource)))),*];
    };
}
