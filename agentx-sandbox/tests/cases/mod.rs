//! What the tools do, whatever they stand on. Each case gets a fresh, empty pair whose shell knows `pwd`, `echo`,
//! `cat`, `find`, `seq`, `printenv`, `sleep` and `exit`.
#![expect(unreachable_pub, reason = "shared by two test programs")]

pub mod background;
pub mod bash;
pub mod edit;
pub mod find;
pub mod paths;
pub mod read;
pub mod secrets;
pub mod snapshots;
pub mod workspace;

use std::{any::Any, sync::Arc};

use agentx_core::{Error, Result, Tool, ToolContext, ToolOutput};
use agentx_resource::{FileSystemExt, MkdirOptions, ResourcePath, memory::ManualClock};
use agentx_sandbox::{NodeRuntime, tools};
use serde_json::Value;

/// A file system and a process over one tree.
pub struct Pair {
    pub runtime: NodeRuntime,
    /// Moved on by hand, where the pair's time is not the host's.
    pub clock: Option<ManualClock>,
    /// Keeps what the pair stands on.
    _guard: Box<dyn Any + Send>,
}

impl Pair {
    pub fn new(runtime: NodeRuntime, clock: Option<ManualClock>, guard: impl Any + Send) -> Self {
        Self { runtime, clock, _guard: Box::new(guard) }
    }

    pub fn with(self, change: impl FnOnce(NodeRuntime) -> NodeRuntime) -> Self {
        Self { runtime: change(self.runtime), ..self }
    }

    pub async fn try_call(&self, tool: &str, input: Value) -> Result<ToolOutput> {
        call(&tools(&self.runtime), tool, input).await
    }

    /// The text of an answer that is no error.
    pub async fn call(&self, tool: &str, input: Value) -> String {
        let output = self.try_call(tool, input).await.unwrap();
        assert!(!output.is_error(), "{output:?}");
        output.to_text()
    }

    pub async fn refused(&self, tool: &str, input: Value) -> Error {
        self.try_call(tool, input).await.unwrap_err()
    }

    pub async fn put(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = path(file);
        let fs = self.runtime.file_system();
        fs.mkdir(&path.parent().unwrap(), MkdirOptions::recursive()).await.unwrap();
        fs.write_file(&path, content.as_ref().to_vec()).await.unwrap();
    }

    pub async fn get(&self, file: &str) -> String {
        self.runtime.file_system().read_to_string(&path(file)).await.unwrap()
    }

    /// The path as a command sees it.
    pub fn shown(&self, file: &str) -> String {
        self.runtime.display(&path(file))
    }
}

pub fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

pub async fn call(tools: &[Arc<dyn Tool>], name: &str, input: Value) -> Result<ToolOutput> {
    let tool = tools.iter().find(|tool| tool.definition().name == name).unwrap();
    tool.call(input, ToolContext::new("call/../1", Arc::new(ManualClock::default()))).await
}

macro_rules! cases {
    ($($module:ident { $($case:ident)* })*) => {
        /// Every case as a test, on pairs that the expression makes.
        macro_rules! on {
            ($pair:expr) => {
                $(mod $module {
                    $(#[tokio::test]
                    async fn $case() {
                        crate::cases::$module::$case($pair).await;
                    })*
                })*
            };
        }
        pub(crate) use on;
    };
}

cases! {
    background {
        a_command_goes_on_by_itself
        what_it_wrote_is_filtered_and_told_in_pages
        no_secret_is_told
    }
    bash {
        output_and_exit_code
        a_timeout_keeps_the_output
        settings_are_variables
        a_long_output_is_put_away
        a_long_output_without_a_place
        bad_input
    }
    edit {
        exactly_one_occurrence
        the_text_is_plain
        line_ends_are_kept
        a_file_that_somebody_else_writes
        agents_that_edit_at_once
        protected_files
        bad_input
    }
    find {
        glob_by_name
        glob_bounds
        grep_modes
        grep_leaves_out
        what_git_ignores_is_left_out
        gitignore_means_nothing_outside_a_repository
        ls_order
    }
    paths {
        what_a_command_prints_is_accepted
        what_one_side_writes_the_other_reads
        relative_paths_begin_at_the_working_directory
        outside_is_refused
    }
    read {
        pages
        notes
        images_and_binaries
        directories_and_missing_files
        write_creates_parents
    }
    secrets {
        no_tool_tells_a_secret
        an_edit_keeps_them
    }
    snapshots {
        a_tree_is_compared_and_put_back
        a_content_is_kept_once_and_no_longer_than_needed
        a_snapshot_that_fails_leaves_nothing
        a_tree_beyond_the_limits
        a_workspace_has_a_quota_and_states
        a_call_is_taken_back
        calls_of_an_earlier_program_are_taken_back
        an_undo_that_was_cut_off_is_done_by_the_next_program
        a_call_that_can_not_be_read_is_told_and_left
        a_call_beyond_the_limits_runs_and_stays
        what_somebody_else_changed_since_stays
        calls_at_the_same_time_are_told_apart_or_refused
    }
    workspace {
        results_are_published
        a_result_never_escapes
        large_results_go_to_temp
        the_provider_offers_all
    }
}
