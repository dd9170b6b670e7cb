use std::time::{Duration, SystemTime};

/// What the API says of its limits with each response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Requests.
    pub requests: RateLimit,
    /// Tokens, input and output together.
    pub tokens: RateLimit,
    /// Input tokens.
    pub input_tokens: RateLimit,
    /// Output tokens.
    pub output_tokens: RateLimit,
}

/// One of the API's limits. What the response did not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How much is allowed in a period.
    pub limit: Option<u64>,
    /// How much of it is left.
    pub remaining: Option<u64>,
    /// When all of it is there again.
    pub reset: Option<SystemTime>,
}

/// What the head of a response says beside its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseInfo {
    /// The status.
    pub status: u16,
    /// The API's id of the request.
    pub request_id: Option<String>,
    /// The limits and how much of them is left; none where the response names none.
    pub rate_limits: Option<RateLimits>,
}

const PREFIX: &str = "anthropic-ratelimit-";

impl RateLimits {
    /// Reads the headers of a response; none where no header tells of a limit. Names are compared in whichever case,
    /// and what can't be read is as if it were not there.
    pub fn from_headers<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Option<Self> {
        let mut limits = None;
        for (name, value) in headers {
            let Some(prefix) = name.get(..PREFIX.len()) else { continue };
            if !prefix.eq_ignore_ascii_case(PREFIX) {
                continue;
            }
            let name = name.get(PREFIX.len()..).unwrap_or_default().to_ascii_lowercase();
            let Some((what, which)) = name.rsplit_once('-') else { continue };
            let limits: &mut Self = limits.get_or_insert_default();
            let limit = match what {
                "requests" => &mut limits.requests,
                "tokens" => &mut limits.tokens,
                "input-tokens" => &mut limits.input_tokens,
                "output-tokens" => &mut limits.output_tokens,
                _ => continue,
            };
            match which {
                "limit" => limit.limit = value.trim().parse().ok(),
                "remaining" => limit.remaining = value.trim().parse().ok(),
                "reset" => limit.reset = moment(value.trim()),
                _ => {}
            }
        }
        limits
    }
}

/// An RFC 3339 time, as `2026-11-22T07:00:30Z`.
fn moment(text: &str) -> Option<SystemTime> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if separators.iter().any(|(at, separator)| text.get(*at..at + 1) != Some(*separator)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, hours, minutes) = (zone.get(..1)?, zone.get(1..3)?, zone.get(4..6)?);
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            if sign == "-" { -seconds } else { seconds }
        }
    };
    // Days since 1970 of a year that begins in March, so that a leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = (365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day)
        .checked_sub(719_469)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.checked_add_signed(-offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_become_numbers_and_times() {
        let headers = [
            ("content-type", "text/event-stream"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("Anthropic-RateLimit-Requests-Remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-22T07:00:30Z"),
            ("anthropic-ratelimit-output-tokens-remaining", "many"),
            ("anthropic-ratelimit-input-tokens-limit", "20000"),
            ("anthropic-ratelimit-holograms-limit", "1"),
        ];
        let limits = RateLimits::from_headers(headers).unwrap();
        assert_eq!((limits.requests.limit, limits.requests.remaining), (Some(50), Some(49)));
        let reset = httpdate::parse_http_date("Sun, 22 Nov 2026 07:00:30 GMT").unwrap();
        assert_eq!(limits.requests.reset, Some(reset));
        assert_eq!(limits.output_tokens, RateLimit::default());
        assert_eq!(limits.input_tokens.limit, Some(20_000));
        assert_eq!(RateLimits::from_headers([("content-type", "x"), ("ä", "x")]), None);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, http) in [
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2024-02-29T23:59:59Z", "Thu, 29 Feb 2024 23:59:59 GMT"),
            ("2000-03-01T00:00:00.25Z", "Wed, 01 Mar 2000 00:00:00 GMT"),
            ("2026-12-31T01:30:00+02:00", "Wed, 30 Dec 2026 23:30:00 GMT"),
            ("2026-01-01T00:00:00-00:30", "Thu, 01 Jan 2026 00:30:00 GMT"),
        ] {
            assert_eq!(moment(text), httpdate::parse_http_date(http).ok(), "{text}");
        }
        for nonsense in [
            "",
            "soon",
            "2026-13-01T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "1969-01-01T00:00:00Z",
        ] {
            assert_eq!(moment(nonsense), None, "{nonsense}");
        }
    }
}
