//! What D1 answers, as a failure of the contract.
//!
//! Status and code say too little: the service answers code 7500 to wrong SQL and to faults of its own, and the local
//! server answers status 500 to everything. So the text decides, first of all the name of SQLite's own code in it.

use agentx_resource::ErrorKind;

use super::mark::LATE;
use crate::api::{Answer, Failure};

/// The failure that an answer without success tells.
pub(super) fn failure(answer: &Answer) -> Failure {
    match answer.status {
        401 | 403 | 413 | 429 => return answer.failure(),
        // `NotFound` is what a foreign key says.
        404 => {
            let failure = answer.failure();
            return Failure::new(ErrorKind::Unavailable, format!("no such database: {}", failure.message));
        }
        _ => {}
    }
    let Some((_, text)) = answer.errors().and_then(|errors| errors.into_iter().next()) else {
        return answer.failure();
    };
    // It came twice, or after it was asked for: the mark knows what became of it.
    if text.contains(LATE) {
        return Failure::new(ErrorKind::Unavailable, "the batch came late, or twice").unknown().passing(None);
    }
    let by_code = text.split(|each: char| !each.is_ascii_alphanumeric() && each != '_');
    let mut codes = by_code.filter_map(|word| word.strip_prefix("SQLITE_"));
    // The last one is the most exact.
    let kind = match codes.next_back() {
        Some(code) => of_code(code, &text),
        None => of_text(&text),
    };
    match kind {
        Some(Meaning::Refused(kind)) => Failure::new(kind, &text),
        Some(Meaning::Full) => Failure::new(ErrorKind::Busy, &text).passing(answer.retry_after),
        Some(Meaning::Broken(kind)) => Failure::new(kind, &text).unknown(),
        None if answer.status < 500 => answer.failure(),
        None => Failure::new(ErrorKind::Unavailable, &text).unknown().passing(answer.retry_after),
    }
}

enum Meaning {
    /// The batch was undone, and would be again.
    Refused(ErrorKind),
    /// The batch was not begun, for the time being.
    Full,
    /// How far it came is not known, and it would end the same way.
    Broken(ErrorKind),
}

fn of_code(code: &str, text: &str) -> Option<Meaning> {
    let (code, detail) = code.split_once('_').map_or((code, ""), |(code, detail)| (code, detail));
    Some(match code {
        "CONSTRAINT" => Meaning::Refused(match detail {
            "UNIQUE" | "PRIMARYKEY" | "ROWID" => ErrorKind::AlreadyExists,
            "FOREIGNKEY" => ErrorKind::NotFound,
            "" => constraint(text).unwrap_or(ErrorKind::InvalidInput),
            _ => ErrorKind::InvalidInput,
        }),
        "ERROR" | "MISMATCH" | "RANGE" | "MISUSE" | "AUTH" => Meaning::Refused(ErrorKind::InvalidInput),
        "TOOBIG" | "FULL" | "NOMEM" => Meaning::Refused(ErrorKind::LimitExceeded),
        "READONLY" | "PERM" => Meaning::Refused(ErrorKind::PermissionDenied),
        "BUSY" | "LOCKED" => Meaning::Full,
        "CORRUPT" | "NOTADB" => Meaning::Broken(ErrorKind::Corrupt),
        _ => return None,
    })
}

fn constraint(text: &str) -> Option<ErrorKind> {
    match text {
        _ if text.contains("UNIQUE constraint failed") => Some(ErrorKind::AlreadyExists),
        _ if text.contains("FOREIGN KEY constraint failed") => Some(ErrorKind::NotFound),
        _ if text.contains("constraint failed") => Some(ErrorKind::InvalidInput),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<Meaning> {
    const WRONG: [&str; 7] = [
        "syntax error",
        "no such table",
        "no such column",
        "Wrong number of parameter bindings",
        "No SQL statements detected",
        "To execute a transaction",
        "not authorized",
    ];
    const LARGE: [&str; 3] = ["too big", "statement too long", "Exceeded maximum DB size"];
    let any = |texts: &[&str]| texts.iter().any(|part| text.contains(part));
    if let Some(kind) = constraint(text) {
        return Some(Meaning::Refused(kind));
    }
    Some(match text {
        _ if any(&["overloaded"]) => Meaning::Full,
        _ if any(&["exceeded its CPU time limit", "exceeded its memory limit"]) => {
            Meaning::Broken(ErrorKind::LimitExceeded)
        }
        _ if any(&LARGE) => Meaning::Refused(ErrorKind::LimitExceeded),
        _ if any(&WRONG) => Meaning::Refused(ErrorKind::InvalidInput),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use agentx_resource::Retry;

    use super::*;
    use crate::api::Effect;

    fn of(status: u16, text: &str) -> Failure {
        let body = serde_json::json!({
            "success": false, "errors": [{"code": 7500, "message": text}], "messages": [], "result": null
        });
        failure(&Answer { status, retry_after: None, is_json: true, body: body.to_string().into() })
    }

    /// As workerd words them; the last ones as Cloudflare's documentation lists them.
    #[test]
    fn the_text_decides_whatever_the_status() {
        let constraint = |name, code: &str| format!("{name} constraint failed: t.n: SQLITE_CONSTRAINT{code}");
        let extended = |code: &str| format!(" (extended: SQLITE_CONSTRAINT_{code})");
        for (text, kind) in [
            (constraint("UNIQUE", &extended("UNIQUE")), ErrorKind::AlreadyExists),
            (constraint("UNIQUE", &extended("PRIMARYKEY")), ErrorKind::AlreadyExists),
            (constraint("UNIQUE", ""), ErrorKind::AlreadyExists),
            ("D1_ERROR: UNIQUE constraint failed: t.n".to_owned(), ErrorKind::AlreadyExists),
            (constraint("FOREIGN KEY", &extended("FOREIGNKEY")), ErrorKind::NotFound),
            (constraint("NOT NULL", &extended("NOTNULL")), ErrorKind::InvalidInput),
            (constraint("CHECK", ""), ErrorKind::InvalidInput),
            (r#"near "SELEC": syntax error at offset 0: SQLITE_ERROR"#.to_owned(), ErrorKind::InvalidInput),
            (r#"near "overloaded": syntax error: SQLITE_ERROR"#.to_owned(), ErrorKind::InvalidInput),
            ("datatype mismatch: SQLITE_MISMATCH".to_owned(), ErrorKind::InvalidInput),
            ("not authorized: SQLITE_AUTH".to_owned(), ErrorKind::InvalidInput),
            ("No SQL statements detected.".to_owned(), ErrorKind::InvalidInput),
            ("statement too long: SQLITE_TOOBIG".to_owned(), ErrorKind::LimitExceeded),
            ("Exceeded maximum DB size.".to_owned(), ErrorKind::LimitExceeded),
        ] {
            for status in [400, 500] {
                let failure = of(status, &text);
                assert_eq!((failure.kind, failure.effect), (kind, Effect::None), "{text}");
                assert_eq!(failure.retry, Retry::Never, "{text}");
            }
        }
    }

    #[test]
    fn what_was_not_begun_may_be_tried_again_and_what_broke_off_is_unknown() {
        let queued = of(500, "D1 DB is overloaded. Too many requests queued.");
        assert_eq!(
            (queued.kind, queued.effect, queued.retry),
            (ErrorKind::Busy, Effect::None, Retry::After(None))
        );
        for text in [
            "Network connection lost.",
            "D1 DB reset because its code was updated.",
            "D1 DB storage operation exceeded timeout which caused object to be reset.",
            "internal error; reference = abc",
            "NOT NULL constraint failed: agentx_d1_batches.batch: SQLITE_CONSTRAINT",
            "disk I/O error: SQLITE_IOERR",
        ] {
            let failure = of(500, text);
            assert_eq!((failure.kind, failure.effect), (ErrorKind::Unavailable, Effect::Unknown), "{text}");
            assert_eq!(failure.retry, Retry::After(None), "{text}");
        }
        let damaged = of(500, "database disk image is malformed: SQLITE_CORRUPT");
        assert_eq!((damaged.kind, damaged.retry), (ErrorKind::Corrupt, Retry::Never));
    }

    #[test]
    fn a_status_that_says_enough_is_believed() {
        for (status, kind) in [
            (401, ErrorKind::Unauthenticated),
            (403, ErrorKind::PermissionDenied),
            (404, ErrorKind::Unavailable),
            (413, ErrorKind::LimitExceeded),
            (429, ErrorKind::Busy),
        ] {
            let failure = of(status, "whatever it says");
            assert_eq!((failure.kind, failure.effect), (kind, Effect::None), "{status}");
        }
    }

    #[test]
    fn a_page_of_a_proxy_is_no_answer_of_the_database() {
        let page = Answer { status: 502, retry_after: None, is_json: false, body: "<html>".into() };
        assert_eq!((failure(&page).kind, failure(&page).effect), (ErrorKind::Unavailable, Effect::Unknown));
    }
}
