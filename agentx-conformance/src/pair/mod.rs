//! The suite for a file system and a process that belong together.
//!
//! The factory gives a [`Pair`] over one empty tree. The process finds the programs `cat find mkdir mv pwd rm tee` as
//! POSIX has them; a process without real programs can take them from [`toolbox`](crate::process::toolbox).

mod coherence;
mod path;
mod support;

use std::sync::Arc;

use agentx_resource::{FileSystem, Process};

#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the list below names each case, once"))]
use self::{coherence::*, path::*};
use crate::{Fresh, Subject};

/// Files and commands that see one tree, as the tools of an agent use them.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The tree, as files.
    pub files: Arc<dyn FileSystem>,
    /// The tree, as commands see it.
    pub process: Arc<dyn Process>,
}

impl Fresh<Pair> {
    /// This file system and this process.
    pub fn pair(files: Arc<dyn FileSystem>, process: Arc<dyn Process>) -> Self {
        Self::new(Arc::new(Pair { files, process }))
    }
}

impl Subject for Pair {
    fn refused(&self) -> Vec<&'static str> {
        [self.files.refused(), self.process.refused()].concat()
    }
}

/// Makes a module of tests: one for each case of the suite for pairs. See the [crate](crate) for what the arguments
/// are.
#[macro_export]
macro_rules! pair_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::pair_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__pair_cases!(__tests { pair $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

/// The one list of the suite's cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __pair_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            pair_command_reads pair_command_writes pair_binary pair_command_reads_replaced
            pair_command_replaces pair_version_changes pair_append pair_writer_unfinished pair_directory_by_files
            pair_directory_by_command pair_removed_by_files pair_removed_by_command pair_tree_removed
            pair_renamed_by_files pair_renamed_by_command pair_directory_renamed pair_copied pair_listed
            pair_names pair_turns pair_at_once

            pair_root pair_pwd pair_path_printed pair_path_given pair_path_relative
        }
    };
}

crate::__pair_cases!(__table { Pair });
