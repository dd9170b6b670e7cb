//! The suite for processes.
//!
//! The factory gives a process whose root is an empty directory, and which finds the programs `cat echo env false
//! mkdir printf pwd sleep touch true yes` as POSIX has them. A declared shell is a POSIX shell. A process without real
//! programs can take them from [`toolbox`].

pub mod background;
mod end;
mod exec;
mod limit;
pub mod session;
mod signal;
mod stdin;
mod support;
mod terminal;
mod toolbox;

use agentx_resource::Process;

pub use self::toolbox::toolbox;
// The lint spares test builds.
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the list below names each case, once"))]
use self::{end::*, exec::*, limit::*, signal::*, stdin::*, terminal::*};

/// Makes a module of tests: one for each case of the suite for processes. See the [crate](crate) for what the
/// arguments are.
#[macro_export]
macro_rules! process_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::process_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__process_cases!(__tests { process $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __process_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            exec_output exec_code exec_shell exec_missing_program exec_empty_program exec_nul exec_bad_variable
            exec_arguments exec_binary exec_many exec_cwd_root exec_cwd exec_cwd_missing exec_cwd_file exec_env
            exec_env_clean

            stdin_null stdin_bytes stdin_large stdin_unread stdin_live stdin_live_closed stdin_live_ended
            stdin_not_live

            limit_below limit_truncates limit_zero limit_kills limit_tail limit_tail_order timeout_unneeded
            timeout_ends timeout_keeps_output idle_ends idle_spares idle_dropped_output limit_file_size
            limit_open_files limit_cpu_time limit_memory

            signal_told signal_ends signal_stops signal_ended

            terminal_is_one terminal_size terminal_resize terminal_input terminal_interrupt

            kill_ends kill_again kill_tree drop_ends drop_exec exit_signal events_end events_dropped_call
            child_ids child_debug
        }
    };
}

crate::__process_cases!(__table { dyn Process });
