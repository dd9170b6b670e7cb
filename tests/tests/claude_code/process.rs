//! A process that hangs, floods, or does not listen.

use std::time::Duration;

use agentx_core::{ErrorKind, Outcome};

use super::{ANSWER, HELLO, READ, RESULT, driver, failed, run, turn};

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_cli_that_never_answers_the_first_request_is_given_up() {
    let driver = driver("echo 'please log in' >&2; sleep 1000", |settings| settings.with_start_timeout(SOON));
    let (events, end) = run(&driver, "Hello.").await;
    let error = failed(end);
    assert_eq!((events.len(), error.kind()), (0, ErrorKind::TimedOut), "{error}");
    assert!(error.to_string().contains("initialize"), "{error}");
}

#[tokio::test]
async fn a_cli_that_hangs_is_given_up() {
    for hang in ["sleep 1000", &[ANSWER, "sleep 1000"].concat()] {
        let driver = driver(&[HELLO, READ, hang].concat(), |settings| settings.with_idle_timeout(SOON));
        let error = failed(run(&driver, "Hello.").await.1);
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
}

#[tokio::test]
async fn a_cli_that_does_not_read_what_it_is_told_is_given_up() {
    let driver = driver(&[HELLO, "sleep 1000"].concat(), |settings| settings.with_idle_timeout(SOON));
    // More than any pipe holds.
    let error = failed(run(&driver, &"word ".repeat(1 << 20)).await.1);
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn a_flood_of_errors_is_read_and_its_end_is_kept() {
    let flood = "head -c 20000000 /dev/zero | tr '\\0' x >&2; echo ' the last words' >&2\n";
    let (_, end) =
        run(&driver(&[HELLO, READ, flood, ANSWER, RESULT].concat(), |settings| settings), "Hello.").await;
    assert!(matches!(end.outcome, Outcome::Completed), "{end:?}");
    let (_, end) =
        run(&driver(&[HELLO, READ, flood, "exit 1"].concat(), |settings| settings), "Hello.").await;
    let words = failed(end).to_string();
    assert!(words.ends_with("the last words") && words.len() < 5000, "{} bytes", words.len());
}

#[tokio::test]
async fn a_process_that_died_since_is_replaced_and_one_that_ignores_its_end_is_killed() {
    // The first is warm and ends at once; the next is another process.
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let script = format!("{HELLO}if mkdir {}; then exit 0; fi\n{READ}{ANSWER}{RESULT}", mark.display());
    let replaced = driver(&script, |settings| settings);
    replaced.warm(&turn("Hello.")).await.unwrap();
    while !mark.exists() {
        tokio::task::yield_now().await;
    }
    let (_, end) = run(&replaced, "Hello.").await;
    assert!(matches!(end.outcome, Outcome::Completed), "{end:?}");

    let stubborn =
        driver(&["trap '' TERM\n", HELLO, "while :; do sleep 1; done"].concat(), |settings| settings);
    stubborn.warm(&turn("Hello.")).await.unwrap();
    assert_eq!(stubborn.idle(), 1);
    stubborn.close(SOON).await.unwrap();
    assert_eq!(stubborn.idle(), 0);
}
