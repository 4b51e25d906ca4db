//! How often an account may still ask, as its answers say it.

use std::time::Duration;

use poem::http::HeaderValue;
use poem::http::header::{HeaderMap, HeaderName};

use crate::limits::{Verdict, WINDOW};

/// What stands on every answer to somebody who was let in.
pub const HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// Says on an answer what a limit has said to its request.
pub fn tell(headers: &mut HeaderMap, verdict: &Verdict) {
    let Verdict { limit, remaining, reset, .. } = *verdict;
    let (window, reset) = (WINDOW.as_secs(), seconds(reset));
    let texts = [
        format!("\"default\";q={limit};w={window}"),
        format!("\"default\";r={remaining};t={reset}"),
        limit.to_string(),
        remaining.to_string(),
        reset.to_string(),
    ];
    for (name, text) in HEADERS.into_iter().zip(texts) {
        headers.insert(name, HeaderValue::try_from(text).expect("names and digits are printable"));
    }
}

/// Returns whole seconds, rounded up: who waits so long has waited long enough.
pub fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_both_ways_of_saying_it() {
        let reset = Duration::from_millis(36_001);
        let verdict = Verdict { accepted: true, limit: 1_000, remaining: 994, reset };
        let mut headers = HeaderMap::new();
        tell(&mut headers, &verdict);

        let told = HEADERS.map(|name| headers[name].to_str().unwrap().to_owned());
        assert_eq!(
            told,
            ["\"default\";q=1000;w=60", "\"default\";r=994;t=37", "1000", "994", "37"]
        );
    }

    #[test]
    fn a_part_of_a_second_is_one() {
        for (millis, whole) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(seconds(Duration::from_millis(millis)), whole, "{millis}");
        }
    }
}
