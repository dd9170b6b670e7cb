//! The suite for file systems.
//!
//! The factory gives an empty file system: its root is there and has no entries. Beside the cases, [`model`] compares a
//! file system with the one in memory by random operations.

mod append;
mod cancel;
mod condition;
mod copy;
mod directory;
mod list;
pub mod model;
mod name;
mod read;
mod remove;
mod rename;
mod stat;
mod support;
mod write;
mod writer;

use agentx_resource::FileSystem;

// The lint spares test builds.
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the list below names each case, once"))]
use self::{
    append::*, cancel::*, condition::*, copy::*, directory::*, list::*, name::*, read::*, remove::*,
    rename::*, stat::*, write::*, writer::*,
};

/// Makes a module of tests: one for each case of the suite for file systems. See the [crate](crate) for what the
/// arguments are.
#[macro_export]
macro_rules! file_system_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::file_system_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__file_system_cases!(__tests { file_system $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

/// The one list of the suite's cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __file_system_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            read_missing read_missing_parent read_below_file read_directory read_root read_whole read_empty
            read_binary read_large read_metadata read_range read_range_clamped read_range_behind_end
            read_range_empty read_range_from read_range_from_behind_end read_range_last read_range_last_longer
            read_range_last_zero read_range_huge read_range_inverted read_if_match read_if_match_other
            read_if_match_missing read_while_replaced read_while_removed read_dropped read_by_many

            write_new write_empty write_large write_replaces write_shorter write_answers_metadata
            write_changes_version write_missing_parent write_create_parents write_create_parents_existing
            write_below_file write_below_file_create_parents write_directory write_root write_seen_whole
            create_new create_new_existing create_new_directory create_new_root create_new_missing_parent
            create_new_race

            if_match_holds if_match_other if_match_stale if_match_missing if_match_missing_parent
            if_match_create_parents if_match_directory if_match_chain if_match_race

            append_new append_existing append_nothing append_missing_parent append_create_parents
            append_below_file append_directory append_answers_metadata append_race

            writer_publishes writer_pieces writer_empty writer_invisible writer_dropped writer_dropped_keeps
            writer_dropped_unwritten writer_aborted writer_aborted_keeps writer_answers_metadata
            writer_missing_parent writer_create_parents writer_below_file writer_directory
            writer_create_new writer_create_new_existing writer_create_new_late writer_create_new_race
            writer_if_match writer_if_match_late writer_append writer_append_dropped

            stat_file stat_directory stat_root stat_no_follow stat_missing stat_below_file exists_yes exists_no
            exists_below_file error_subject error_bad_request

            list_empty_root list_entries list_empty_directory list_missing list_file list_below_file
            list_error_ends list_shallow list_recursive list_recursive_root list_metadata list_similar_names
            list_many list_dropped

            mkdir_new mkdir_existing mkdir_existing_recursive mkdir_file mkdir_file_recursive
            mkdir_missing_parent mkdir_recursive mkdir_below_file mkdir_below_file_recursive mkdir_root
            mkdir_root_recursive mkdir_race

            rm_file rm_missing rm_missing_force rm_missing_parent rm_below_file rm_below_file_force
            rm_empty_directory rm_full_directory rm_full_directory_force rm_recursive rm_recursive_file
            rm_recursive_missing rm_root rm_root_recursive rm_similar_names rm_keeps_parent

            rename_file rename_replaces rename_missing rename_missing_parent rename_below_file
            rename_file_below_itself rename_create_new rename_create_new_file rename_create_new_directory
            rename_itself rename_itself_create_new rename_itself_missing rename_file_onto_directory
            rename_directory rename_directory_onto_file rename_directory_onto_empty
            rename_directory_onto_full rename_directory_into_itself rename_directory_onto_parent
            rename_similar_names rename_root rename_onto_root rename_race

            copy_file copy_empty copy_replaces copy_independent copy_missing copy_missing_parent
            copy_below_file copy_create_new copy_create_new_file copy_itself copy_itself_missing
            copy_file_onto_directory copy_directory copy_directory_onto_directory copy_directory_onto_file
            copy_directory_into_itself copy_directory_itself copy_root copy_onto_root

            names_unusual names_long names_deep names_case names_composed

            cancel_read cancel_write cancel_create_new cancel_append cancel_writer cancel_mkdir cancel_rm
            cancel_rename cancel_copy
        }
    };
}

crate::__file_system_cases!(__table { dyn FileSystem });
