//! The suite for what comes into a file system from outside: symbolic and hard links, permission bits, FIFOs, names that
//! are no paths. The verbs make none of it, but a command does, or whoever else works in the same tree.
//!
//! The factory gives a [`Planted`]: an empty file system, and a [`Plant`] that reaches into its tree. What a platform
//! does not have the plant answers with `false`, and the cases about it pass; but who declares a capability has to have
//! it planted. [`memory`] is the specification.

mod dangling;
mod link;
mod link_tree;
mod memory;
mod mode;
mod odd;
mod out;
mod support;

use std::{error::Error, fmt, sync::Arc};

use agentx_resource::{FileSystem, ResourcePath};

pub use self::memory::{MemoryPlant, memory};
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the list below names each case, once"))]
use self::{dangling::*, link::*, link_tree::*, mode::*, odd::*, out::*};
use crate::{Fresh, Subject};

/// What a plant answers: whether there is such a thing on its platform, and so it is planted now.
pub type Growth = Result<bool, Box<dyn Error + Send + Sync>>;

/// Puts into a tree what the verbs of its file system don't make. Parents are there, and nothing is at the place.
pub trait Plant: fmt::Debug + Send + Sync + 'static {
    /// A symbolic link at `at` that leads to `target`, as it is given.
    ///
    /// # Errors
    /// Why it can't be planted now.
    fn symlink(&self, target: &str, at: &ResourcePath) -> Growth;

    /// Another name, `at`, of the file `existing`.
    ///
    /// # Errors
    /// Why it can't be planted now.
    fn hard_link(&self, existing: &ResourcePath, at: &ResourcePath) -> Growth;

    /// Gives the file or directory at `at` these permission bits (`0o777`).
    ///
    /// # Errors
    /// Why they can't be set now.
    fn set_mode(&self, at: &ResourcePath, bits: u32) -> Growth;

    /// Something at `at` that is neither a file nor a directory nor a link: a FIFO that nobody writes to.
    ///
    /// # Errors
    /// Why it can't be planted now.
    fn special(&self, at: &ResourcePath) -> Growth;

    /// A file of this content in `directory`, whose name is no path since it is not UTF-8.
    ///
    /// # Errors
    /// Why it can't be planted now.
    fn unaddressable(&self, directory: &ResourcePath, content: &str) -> Growth;

    /// How an absolute link names `path`, as a command would write it.
    fn absolute(&self, path: &ResourcePath) -> String;

    /// Targets, relative and absolute ones, that lead from a link at the root to a directory out of it, which holds
    /// one file, `secret`. At least one, where links are declared.
    fn outside(&self) -> Vec<String>;

    /// What is not as it was in that directory; nothing if nothing is.
    fn touched(&self) -> Option<String>;

    /// Whether permission bits mean nothing to this caller, as to a superuser.
    fn is_privileged(&self) -> bool;
}

/// A file system, and a hand that reaches into its tree from outside.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The tree, as its users see it.
    pub files: Arc<dyn FileSystem>,
    /// The hand.
    pub plant: Arc<dyn Plant>,
}

impl Fresh<Planted> {
    /// This file system, with this plant.
    pub fn planted(files: Arc<dyn FileSystem>, plant: Arc<dyn Plant>) -> Self {
        Self::new(Arc::new(Planted { files, plant }))
    }
}

impl Subject for Planted {
    fn refused(&self) -> Vec<&'static str> {
        self.files.refused()
    }
}

/// Makes a module of tests: one for each case of the suite for what is planted. See the [crate](crate) for what the
/// arguments are.
#[macro_export]
macro_rules! planted_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::planted_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__planted_cases!(__tests { planted $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

/// The one list of the suite's cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __planted_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            link_read link_absolute link_chain link_stat link_stat_no_follow link_exists link_middle link_below_file
            link_write link_writer link_append link_if_match link_create_new link_mkdir link_rm link_rename
            link_rename_onto link_copy link_copy_onto link_copy_itself

            link_listed link_list_of link_rm_tree link_copy_tree link_into_itself

            dangling_read dangling_stat dangling_write dangling_write_far dangling_create_new dangling_if_match
            dangling_mkdir dangling_middle dangling_rm dangling_rename dangling_copy loop_kind loop_rm

            out_read out_write out_below out_exists out_itself out_tree out_prefix out_error_subject

            mode_told mode_replaced mode_renamed mode_renamed_onto mode_copied mode_copied_onto mode_copied_tree
            mode_sealed_file mode_sealed_directory

            hard_replaced hard_removed hard_renamed_onto special_refused special_moved odd_listed odd_copied
            odd_removed
        }
    };
}

crate::__planted_cases!(__table { Planted });
