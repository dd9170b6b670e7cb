use agentx_core::{BudgetKind, ErrorKind, Outcome, Retry};

use crate::{
    code::{TurnResult, failure},
    messages::of_status,
};

/// What a result means. `text` is what it says of a failure, without secrets.
pub(super) fn outcome(result: &TurnResult, text: String) -> Outcome {
    let reason = result.terminal_reason.as_deref().unwrap_or_default();
    match (result.subtype.as_str(), reason) {
        ("error_max_turns", _) | (_, "max_turns") => return Outcome::Budget(BudgetKind::Steps),
        ("error_max_budget_usd", _) | (_, "budget_exhausted") => return Outcome::Budget(BudgetKind::Cost),
        (_, "aborted_streaming" | "aborted_tools") => return Outcome::Interrupted,
        _ => {}
    }
    if !result.is_error {
        // A reason of a later version does not make a failure of a success.
        return Outcome::Completed;
    }
    let message = if text.is_empty() { format!("{}: {reason}", result.subtype) } else { text };
    let (kind, retry) = match (result.api_status, reason) {
        (Some(status), _) => {
            let (kind, again) = of_status(status);
            (kind, if again { Retry::Exhausted } else { Retry::Never })
        }
        (None, "prompt_too_long" | "blocking_limit") => (ErrorKind::LimitExceeded, Retry::Never),
        (None, "image_error") => (ErrorKind::InvalidInput, Retry::Never),
        (None, "stop_hook_prevented" | "hook_stopped") => (ErrorKind::PermissionDenied, Retry::Never),
        // A failure of the connection, which the CLI has tried again as often as it does.
        (None, "api_error" | "model_error") => (ErrorKind::Unavailable, Retry::Exhausted),
        (None, _) => (ErrorKind::Internal, Retry::Never),
    };
    Outcome::Failed(failure(kind, "run turn").with_retry(retry).with_message(message))
}

#[cfg(test)]
mod tests {
    use agentx_core::OutcomeKind;

    use super::*;

    fn of(subtype: &str, is_error: bool, reason: &str, api_status: Option<u16>) -> Outcome {
        let terminal_reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        let result = TurnResult {
            subtype: subtype.into(),
            is_error,
            terminal_reason,
            api_status,
            ..TurnResult::default()
        };
        outcome(&result, String::new())
    }

    #[test]
    fn success_is_what_says_that_it_is_no_error() {
        for (subtype, is_error, reason, status, expected) in [
            ("success", false, "completed", None, OutcomeKind::Completed),
            ("success", false, "", None, OutcomeKind::Completed),
            ("success", false, "of_a_later_version", None, OutcomeKind::Completed),
            ("success", true, "completed", Some(400), OutcomeKind::Failed),
            ("success", true, "api_error", None, OutcomeKind::Failed),
            ("error_during_execution", true, "aborted_streaming", None, OutcomeKind::Interrupted),
            ("error_during_execution", true, "of_a_later_version", None, OutcomeKind::Failed),
            ("error_max_turns", true, "max_turns", None, OutcomeKind::Budget),
            ("success", false, "budget_exhausted", None, OutcomeKind::Budget),
            ("", true, "", None, OutcomeKind::Failed),
        ] {
            assert_eq!(
                of(subtype, is_error, reason, status).kind(),
                expected,
                "{subtype} {is_error} {reason}"
            );
        }
    }

    #[test]
    fn a_failure_has_the_kind_of_the_apis_status() {
        for (status, kind, retry) in [
            (400, ErrorKind::InvalidInput, Retry::Never),
            (401, ErrorKind::Unauthenticated, Retry::Never),
            (529, ErrorKind::Unavailable, Retry::Exhausted),
        ] {
            match of("success", true, "api_error", Some(status)) {
                Outcome::Failed(error) => assert_eq!((error.kind(), error.retry()), (kind, retry)),
                other => panic!("{other:?}"),
            }
        }
    }
}
