//! The suite for repositories: containers, images, sessions with messages and events, leases, queues and approvals, in
//! one store.
//!
//! The factory gives an empty store. `MemoryRepositories` is the specification: each case says what it does, and a
//! store that keeps its data elsewhere can't be told from it.

mod container;
mod event;
mod fork;
mod image;
mod inbox;
mod lease;
mod message;
mod support;

use std::sync::Arc;

use agentx_core::Repositories;

#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the list below names each case, once"))]
use self::{container::*, event::*, fork::*, image::*, inbox::*, lease::*, message::*};
use crate::{Fresh, Subject};

/// Makes a module of tests: one for each case of the suite for repositories. See the [crate](crate) for what the
/// arguments are.
#[macro_export]
macro_rules! repository_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::repository_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__repository_cases!(__tests { repository $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

/// The one list of the suite's cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __repository_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            container_missing container_saved container_replaced container_order container_deleted
            container_many

            image_created image_full image_missing_container image_taken image_session_taken image_updated
            image_update_missing image_order image_deleted image_race image_in_deleted_container image_key
            image_key_race image_leaves_nothing

            session_missing message_none message_kinds message_fidelity message_moments message_taken
            message_taken_in_batch message_in_two_sessions message_pages message_places message_race
            message_append_while_deleted message_found message_marks ids_case

            event_numbers event_kinds event_message event_pages event_race

            lease_taken lease_ended lease_last lease_fence lease_held lease_retaken lease_begun lease_released lease_race

            queue_order queue_full queue_taken queue_race approval_stored approval_answered approval_closed
            approval_race approval_pending

            fork_copied fork_cut fork_refused
        }
    };
}

crate::__repository_cases!(__table { Repositories });

impl Subject for Repositories {
    fn refused(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Fresh<Repositories> {
    /// These repositories.
    pub fn repositories(repositories: Repositories) -> Self {
        Self::new(Arc::new(repositories))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::repository_suite!(memory, || async { Fresh::repositories(Repositories::memory()) });
}
