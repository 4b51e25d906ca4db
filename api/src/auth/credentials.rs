//! What somebody presents to say who they are.

use poem::http::HeaderMap;
use poem::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::SecretString;

pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How a token is announced, in any case.
const SCHEME: &str = "bearer";

/// A token, a key, or both. Whatever is there must be good.
#[derive(Debug, Default)]
pub struct Credentials {
    pub token: Option<SecretString>,
    pub key: Option<SecretString>,
}

/// Headers that cannot be read as credentials: one twice, or in another form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub &'static str);

impl Credentials {
    /// Reads `Authorization: Bearer …` and `X-API-Key`.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unreadable> {
        let authorization =
            once(headers, &AUTHORIZATION, Unreadable("Authorization is given more than once"))?;
        let key = once(headers, &API_KEY, Unreadable("X-API-Key is given more than once"))?;
        Ok(Self {
            token: authorization.map(token).transpose()?,
            key: key.map(api_key).transpose()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.token.is_none() && self.key.is_none()
    }
}

/// Returns a header's value. Of two, another reader of the same request might believe the other.
fn once<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    twice: Unreadable,
) -> Result<Option<&'a HeaderValue>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(twice),
    }
}

fn token(value: &HeaderValue) -> Result<SecretString, Unreadable> {
    let text = visible(value).ok_or(Unreadable("Authorization is not printable ASCII"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Unreadable("Authorization has another scheme than Bearer"));
    }
    match token.trim_matches(' ') {
        "" => Err(Unreadable("Authorization has no token")),
        token => Ok(SecretString::from(token)),
    }
}

fn api_key(value: &HeaderValue) -> Result<SecretString, Unreadable> {
    match visible(value).ok_or(Unreadable("X-API-Key is not printable ASCII"))? {
        "" => Err(Unreadable("X-API-Key is empty")),
        key => Ok(SecretString::from(key)),
    }
}

/// Returns the text of a value in which there is nothing but what can be seen, and spaces.
fn visible(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// Returns token and key, or what is wrong.
    fn read(headers: &[(HeaderName, &[u8])]) -> Result<[Option<String>; 2], &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let credentials = Credentials::of(&map).map_err(|Unreadable(reason)| reason)?;
        assert_eq!(credentials.is_empty(), headers.is_empty());
        let text = |secret: SecretString| secret.expose_secret().to_owned();
        Ok([credentials.token.map(text), credentials.key.map(text)])
    }

    #[test]
    fn a_token_and_a_key_are_read_where_they_stand() {
        let (token, key) = (Some("a.b.c".to_owned()), Some("ent_live_x".to_owned()));
        for authorization in [&b"Bearer a.b.c"[..], b"bearer a.b.c", b"BEARER  a.b.c "] {
            let bearer = (AUTHORIZATION, authorization);
            assert_eq!(read(std::slice::from_ref(&bearer)), Ok([token.clone(), None]));
            let both = [bearer, (API_KEY, &b"ent_live_x"[..])];
            assert_eq!(read(&both), Ok([token.clone(), key.clone()]));
        }
        assert_eq!(read(&[(API_KEY, b"ent_live_x")]), Ok([None, key]));
        assert_eq!(read(&[]), Ok([None, None]));
    }

    #[test]
    fn what_is_there_and_cannot_be_read_is_not_passed_over() {
        for value in [
            &b""[..],
            b" ",
            b"Bearer",
            b"Bearer ",
            b"Bearer   ",
            b"Bearera.b.c",
            b"Basic dXNlcjpwYXNz",
            b"a.b.c",
            b"Digest a=b",
            b"Bearer\ta.b.c",
            b"Bearer a\tb",
            b"Bearer \xc3\xa9",
            b"Bearer \xff",
        ] {
            assert!(read(&[(AUTHORIZATION, value)]).is_err(), "{value:?}");
            let beside = [(AUTHORIZATION, value), (API_KEY, &b"ent_live_x"[..])];
            assert!(read(&beside).is_err(), "{value:?}");
        }
        for value in [&b""[..], b"\xff", b"k\xc3\xa9y", b"a\tb"] {
            assert!(read(&[(API_KEY, value)]).is_err(), "{value:?}");
            let beside = [(AUTHORIZATION, &b"Bearer a.b.c"[..]), (API_KEY, value)];
            assert!(read(&beside).is_err(), "{value:?}");
        }
    }

    #[test]
    fn nobody_is_two() {
        let (bearer, key) = ((AUTHORIZATION, &b"Bearer a"[..]), (API_KEY, &b"a"[..]));
        assert!(read(&[bearer.clone(), bearer.clone()]).is_err());
        assert!(read(&[key.clone(), key.clone()]).is_err());
        assert!(read(&[bearer.clone(), key.clone(), key]).is_err());
    }

    #[test]
    fn what_is_presented_is_not_shown() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer canary-token"));
        headers.insert(API_KEY, HeaderValue::from_static("canary-key"));

        assert!(!format!("{:?}", Credentials::of(&headers)).contains("canary"));
    }
}
