//! How many test cases ran, read from what the test runners print.

use std::ops::AddAssign;

/// Test cases by their result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Those of `passed` that failed at their first try.
    pub(crate) flaky: u64,
}

impl Tally {
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0, flaky: 0 };
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0, flaky: 0 };

    /// What one line of a runner's output adds: a summary of `cargo test` or of nextest; nothing for other lines.
    pub(crate) fn of_line(line: &str) -> Self {
        let line = plain(line);
        let mut tally = Self::default();
        // Nextest indents its summary, and also what a failed test printed: there a `test result` is not one more.
        if !line.starts_with("test result: ") && !line.trim_start().starts_with("Summary [") {
            return tally;
        }
        let words: Vec<&str> =
            line.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())).collect();
        for pair in words.windows(2) {
            let &[count, what] = pair else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => tally.passed += count,
                "failed" | "timed" | "exec" => tally.failed += count,
                "skipped" | "ignored" => tally.skipped += count,
                "flaky" => tally.flaky += count,
                _ => {}
            }
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.flaky += other.flaky;
    }
}

/// The line without colours.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped, flaky: 0 }
    }

    #[test]
    fn cargo_test_summaries_are_counted() {
        let line = "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.01s";
        assert_eq!(Tally::of_line(line), tally(5, 1, 2));
    }

    #[test]
    fn nextest_summaries_are_counted() {
        let line = "     Summary [   0.003s] 17/20 tests run: 12 passed (1 slow, 1 leaky), 2 failed, 1 timed out, \
                    1 exec failed, 3 skipped";
        assert_eq!(Tally::of_line(line), tally(12, 4, 3));
        assert_eq!(Tally::of_line("Summary [0.1s] 1 test run: 1 passed, 0 skipped"), tally(1, 0, 0));
    }

    #[test]
    fn a_second_try_is_counted() {
        let line = "     Summary [   0.003s] 3 tests run: 3 passed (1 slow, 2 flaky), 0 skipped";
        assert_eq!(Tally::of_line(line), Tally { flaky: 2, ..tally(3, 0, 0) });
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        assert_eq!(
            Tally::of_line("    test result: FAILED. 0 passed; 1 failed; 0 ignored"),
            Tally::default()
        );
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.003s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \
                    \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m \u{1b}[33;1mskipped\u{1b}[0m";
        assert_eq!(Tally::of_line(line), tally(2, 0, 0));
    }

    #[test]
    fn a_test_that_speaks_of_failure_is_not_counted() {
        assert_eq!(Tally::of_line("test the_pool::says_3_failed ... ok"), Tally::default());
        assert_eq!(Tally::of_line("3 passed, 4 failed"), Tally::default());
    }
}
