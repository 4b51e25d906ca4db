//! JSON that is encoded once and named by its hash, so that a client need not fetch it twice.

use std::fmt::Write as _;
use std::marker::PhantomData;

use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};
use sha2::{Digest, Sha256};

/// Bytes of the hash that name an answer: enough that two never meet.
const TAG_BYTES: usize = 16;

/// The encoded form of a body.
pub struct Encoded<T> {
    text: String,
    body: PhantomData<fn() -> T>,
}

impl<T: ToJSON> Encoded<T> {
    pub fn of(body: &T) -> Self {
        Self { text: body.to_json_string(), body: PhantomData }
    }

    /// Returns the strong tag of exactly these bytes.
    pub fn tag(&self) -> String {
        tag(self.text.as_bytes())
    }
}

/// Returns the strong `ETag` of some bytes.
pub fn tag(bytes: &[u8]) -> String {
    let mut tag = String::from('"');
    for byte in Sha256::digest(bytes).iter().take(TAG_BYTES) {
        write!(tag, "{byte:02x}").expect("writing to a string succeeds");
    }
    tag.push('"');
    tag
}

/// Whether `If-None-Match` says that the client holds what the tag names.
pub fn holds(if_none_match: Option<&str>, tag: &str) -> bool {
    let held = |held: &str| held == "*" || held.trim_start_matches("W/") == tag;
    if_none_match.is_some_and(|tags| tags.split(',').any(|tag| held(tag.trim())))
}

impl<T: Type> Payload for Encoded<T> {
    const CONTENT_TYPE: &'static str = Json::<T>::CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type> IntoResponse for Encoded<T> {
    fn into_response(self) -> Response {
        Response::builder().header(CONTENT_TYPE, Self::CONTENT_TYPE).body(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_held_when_it_is_listed() {
        let tag = tag(b"[]");

        assert!(holds(Some("*"), &tag));
        assert!(holds(Some(&format!("\"other\", W/{tag}")), &tag));
        assert!(!holds(Some("\"other\""), &tag));
        assert!(!holds(None, &tag));
    }
}
