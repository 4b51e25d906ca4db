//! Bodies of requests, read from their bytes: what a lenient reader would round, drop or pass over
//! in silence is refused here, by the name of its field.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use domain::amount::decimal;
use poem::{FromRequest, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::{Code, FieldProblem, Problem};

/// Digits of a JSON number that count. Many clients keep no more, so one that comes with more may
/// have been rounded on its way; a string is not.
const NUMBER_DIGITS_MAX: usize = 15;

/// Characters of a decimal. A longer one is no decimal.
const DECIMAL_CHARS_MAX: usize = 40;

/// A body as the document describes it, and what it is read into.
pub trait Body: Type {
    type Read: Send;

    /// Takes the fields that it knows, all of them, also when one is wrong; those that are left are
    /// refused.
    fn read(fields: &mut Fields) -> Option<Self::Read>;
}

/// A JSON object that is read strictly. Its schema is that of the body.
pub struct Strict<T: Body>(pub T::Read);

/// The same, and it may be left out.
pub struct Optional<T: Body>(pub Option<T::Read>);

/// The body of a request that says all in its path: none, or an object without fields. Whoever sends
/// more believes that it counts.
#[derive(Debug, Clone, Copy)]
pub struct Empty;

/// The fields of an object that were not read yet, and what was wrong with the others.
#[derive(Debug)]
pub struct Fields {
    /// What stands before the names of these fields: `limits.`
    within: String,
    unread: BTreeMap<String, Box<RawValue>>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// Reads the names of an object's fields; the values wait for who asks for them.
    pub fn of(body: &[u8]) -> Result<Self, Problem> {
        let Object(fields) = serde_json::from_slice(body).map_err(|error| {
            Problem::new(Code::BadRequest, format!("the body must be a JSON object: {error}"))
        })?;
        Ok(Self { within: String::new(), unread: fields, problems: Vec::new() })
    }

    /// Returns a decimal, from a string or a short number; `None` where it is absent, null, or wrong.
    pub fn decimal(&mut self, name: &str) -> Option<Decimal> {
        let raw = self.take(name)?;
        match decimal_of(&raw) {
            Ok(value) => Some(value),
            Err(reason) => self.wrong(name, reason),
        }
    }

    /// Returns a decimal that has a rule.
    pub fn amount<T>(&mut self, name: &str, rule: fn(Decimal) -> Result<T, String>) -> Option<T> {
        match rule(self.decimal(name)?) {
            Ok(value) => Some(value),
            Err(reason) => self.wrong(name, reason),
        }
    }

    /// Returns a value that is written as a string.
    pub fn text<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        let raw = self.take(name)?;
        let Ok(text) = serde_json::from_str::<String>(raw.get()) else {
            return self.wrong(name, "expected a string");
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.wrong(name, error.to_string()),
        }
    }

    /// Returns a value as poem reads it.
    pub fn value<T: ParseFromJSON>(&mut self, name: &str, expected: &str) -> Option<T> {
        let raw = self.take(name)?;
        let value = serde_json::from_str::<Value>(raw.get()).ok();
        match value.and_then(|value| T::parse_from_json(Some(value)).ok()) {
            Some(value) => Some(value),
            None => self.wrong(name, format!("expected {expected}")),
        }
    }

    /// Reads an object within this one.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let raw = self.take(name)?;
        let Ok(Object(fields)) = serde_json::from_str(raw.get()) else {
            return self.wrong(name, "expected an object that names each field once");
        };
        let within = format!("{}{name}.", self.within);
        let mut inner = Self { within, unread: fields, problems: Vec::new() };
        let value = read(&mut inner);
        self.problems.append(&mut inner.finish());
        Some(value)
    }

    /// Returns the names that were not read yet.
    pub fn names(&self) -> Vec<String> {
        self.unread.keys().cloned().collect()
    }

    /// Says that a field that is not there must be.
    pub fn required<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        let told = format!("{}{name}", self.within);
        if value.is_none() && !self.problems.iter().any(|problem| problem.field == told) {
            return self.wrong(name, "must be given");
        }
        value
    }

    /// Whether anything was wrong so far.
    pub const fn are_wrong(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Says what is wrong with a field.
    pub fn wrong<T>(&mut self, name: &str, reason: impl Into<String>) -> Option<T> {
        let field = format!("{}{name}", self.within);
        self.problems.push(FieldProblem { field, reason: reason.into() });
        None
    }

    fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.unread.remove(name).filter(|raw| raw.get() != "null")
    }

    /// Returns what is wrong, unknown fields included.
    fn finish(mut self) -> Vec<FieldProblem> {
        for name in self.names() {
            self.wrong::<()>(&name, "no such field");
        }
        self.problems
    }
}

impl<T: Body> Strict<T> {
    fn of(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let read = T::read(&mut fields);
        let problems = fields.finish();
        match read {
            Some(read) if problems.is_empty() => Ok(Self(read)),
            _ => Err(Problem::fields(problems)),
        }
    }
}

impl<'a> FromRequest<'a> for Empty {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        let problems = match bytes.as_slice() {
            [] => Vec::new(),
            bytes => Fields::of(bytes)?.finish(),
        };
        if problems.is_empty() { Ok(Self) } else { Err(Problem::fields(problems).into()) }
    }
}

fn decimal_of(raw: &RawValue) -> Result<Decimal, &'static str> {
    let token = raw.get();
    if token.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        let digits = token.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
        if token.contains(['e', 'E']) || digits.count() > NUMBER_DIGITS_MAX {
            return Err("a number has at most 15 digits that count and no exponent: send a string");
        }
        return decimal(token).map_err(|_| "a number has at most 28 digits: send a string");
    }
    let text = serde_json::from_str::<String>(token).map_err(|_| "expected a decimal")?;
    match decimal(&text) {
        Ok(value) if text.len() <= DECIMAL_CHARS_MAX => Ok(value),
        _ => Err("expected digits such as 65432.10, without exponent"),
    }
}

/// An object in which no name comes twice: of two, some readers take the first and some the last.
pub struct Object(BTreeMap<String, Box<RawValue>>);

impl Object {
    /// Returns a member, not read yet.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// Whether a member is there, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Once)
    }
}

struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            match fields.entry(name) {
                Entry::Vacant(place) => drop(place.insert(value)),
                Entry::Occupied(place) => {
                    return Err(A::Error::custom(format!("{:?} is given twice", place.key())));
                }
            }
        }
        Ok(Object(fields))
    }
}

impl<T: Body> Payload for Strict<T> {
    const CONTENT_TYPE: &'static str = Json::<T>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Body> ParsePayload for Strict<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        Ok(Self::of(&bytes)?)
    }
}

impl<'a, T: Body> ApiExtractor<'a> for Strict<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let (content_type, schema) = (Self::CONTENT_TYPE, Self::schema_ref());
        let content = vec![MetaMediaType { content_type, schema }];
        Some(MetaRequest { description: None, content, required: Self::IS_REQUIRED })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        match request.content_type() {
            Some(content_type) if Self::check_content_type(content_type) => {
                <Self as ParsePayload>::from_request(request, body).await
            }
            Some(other) => {
                Err(ContentTypeError::NotSupported { content_type: other.to_owned() }.into())
            }
            None => Err(ContentTypeError::ExpectContentType.into()),
        }
    }
}

impl<'a, T: Body> ApiExtractor<'a> for Optional<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Strict<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <Strict<T> as ApiExtractor>::request_meta()
            .map(|request| MetaRequest { required: false, ..request })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        // The door has taken in the whole body.
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        let mut body = RequestBody::new(bytes.into());
        let Strict(read) =
            <Strict<T> as ApiExtractor>::from_request(request, &mut body, options).await?;
        Ok(Self(Some(read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(body: &str) -> Result<String, Vec<FieldProblem>> {
        let mut fields = Fields::of(format!("{{\"size\":{body}}}").as_bytes()).unwrap();
        let value = fields.decimal("size");
        let problems = fields.finish();
        if problems.is_empty() { Ok(value.unwrap().to_string()) } else { Err(problems) }
    }

    #[test]
    fn a_decimal_comes_as_a_string_or_as_a_short_number_and_keeps_its_scale() {
        for (body, value) in [
            (r#""1.50""#, "1.50"),
            ("1.50", "1.50"),
            ("-3", "-3"),
            ("0.000123456789012345", "0.000123456789012345"),
            (r#""123456789012345678.0123456789""#, "123456789012345678.0123456789"),
        ] {
            assert_eq!(decimal(body).as_deref(), Ok(value), "{body}");
        }
    }

    #[test]
    fn a_decimal_that_would_be_rounded_or_guessed_is_refused_by_its_name() {
        for body in [
            "1e3",
            "1E0",
            "1234567890.123456",
            r#""1e3""#,
            r#""NaN""#,
            r#""""#,
            r#"" 1""#,
            r#""1.""#,
            "true",
            "[1]",
            r#"{"a":1}"#,
            &format!("\"{}\"", "1".repeat(41)),
            r#""0.123456789012345678901234567891""#,
        ] {
            assert_eq!(decimal(body).unwrap_err()[0].field, "size", "{body}");
        }
    }

    #[test]
    fn a_body_is_one_object_that_names_each_field_once() {
        for body in ["", "[]", "1", "{", "NaN", "null", r#"{"a":1,"a":1}"#, r#"{"a":NaN}"#, "{}x"] {
            assert!(Fields::of(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_wrong_wherever_it_stands() {
        let mut fields = Fields::of(br#"{"limits":{"max":"1","mux":2},"note":null}"#).unwrap();
        assert_eq!(
            fields.object("limits", |limits| limits.decimal("max")),
            Some(Some(Decimal::ONE))
        );

        let wrong: Vec<_> = fields.finish().into_iter().map(|problem| problem.field).collect();
        assert_eq!(wrong, ["limits.mux", "note"]);
    }
}
