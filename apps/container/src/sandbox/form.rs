//! Times and exit codes in this API's form.

use std::time::{SystemTime, UNIX_EPOCH};

use agentx::resource::ExitStatus;

/// The code that stands for a command whose time ran out, as `timeout` has it.
const TIMED_OUT: i32 = 124;

/// The present moment.
pub(super) fn now() -> String {
    iso(SystemTime::now())
}

/// A time as JavaScript writes it: `2026-11-22T13:20:52.007Z`. Before 1970 it is the beginning of 1970.
pub(super) fn iso(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z",
        second % 60,
        since.subsec_millis()
    )
}

/// The date so many days after 1970-01-01. Years are counted from March on, so that a leap day is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A status as a code, as shells have it; none where nobody knows.
pub(super) fn exit_code(status: ExitStatus) -> Option<i32> {
    match status {
        ExitStatus::Code(code) => Some(code),
        ExitStatus::Signal(signal) => Some(128 + signal),
        ExitStatus::TimedOut => Some(TIMED_OUT),
        ExitStatus::Killed | ExitStatus::OutputLimit => Some(128 + 9),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_javascript_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_795_353_652, "2026-11-22T13:20:52.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(iso(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7)), text);
        }
    }
}
