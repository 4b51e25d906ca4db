//! What makes a command happen once: the key that its client gave it, or that it is given here.

use commands::clock::Clock;
use poem::http::header::{HeaderMap, HeaderName};
use poem::{FromRequest, Request, RequestBody, Result};

use crate::door::new_id;
use crate::problem::Problem;

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters of a key. A longer one is refused: cut short, it might be another's.
const KEY_CHARS_MAX: usize = 255;

/// What a request is called: by its client, or else by us. The door names every request that may
/// change something, before it is carried out, and says on the answer how: whoever does not learn
/// the outcome can ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub request_id: String,
    pub key: String,
}

impl Named {
    pub fn of(headers: &HeaderMap, request_id: &str, clock: &dyn Clock) -> Result<Self, Problem> {
        let request_id = request_id.to_owned();
        let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
        let key = match (given.next(), given.next()) {
            (None, _) => new_id(clock),
            (Some(key), None) => key
                .to_str()
                .ok()
                .filter(|key| is_key(key))
                .ok_or_else(|| {
                    let reason = format!("expected 1 to {KEY_CHARS_MAX} printable characters");
                    Problem::field("Idempotency-Key", reason)
                })?
                .to_owned(),
            (Some(_), Some(_)) => {
                return Err(Problem::field("Idempotency-Key", "given more than once"));
            }
        };
        Ok(Self { request_id, key })
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

impl<'a> FromRequest<'a> for Named {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        let named = request.data::<Self>().cloned();
        Ok(named.expect("the door names every request that may change something"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_printable() {
        for (key, good) in [
            ("a", true),
            ("order 17/b", true),
            (&"k".repeat(255), true),
            (&"k".repeat(256), false),
            ("", false),
            ("a\tb", false),
            ("β", false),
        ] {
            assert_eq!(is_key(key), good, "{key}");
        }
    }
}
