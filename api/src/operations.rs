//! The operations of the document: which methods a path has, and which parameters a query.

use std::collections::BTreeMap;

use poem::http::Method;
use serde_json::Value;

use crate::problem::Problem;

/// What stands before the paths of the document, with the same meaning.
pub const PREFIXES: [&str; 2] = ["/api/v1", "/v1"];

/// What paths allow that are in no document.
const ALLOW_ELSEWHERE: &str = "GET, HEAD";

/// Read from the document itself, so that the two cannot differ.
#[derive(Debug, Default)]
pub struct Operations(Vec<Path>);

#[derive(Debug)]
struct Path {
    /// The segments of the path; `None` stands for a parameter.
    segments: Vec<Option<String>>,
    /// The names of each method's query parameters.
    methods: BTreeMap<String, Vec<String>>,
}

impl Operations {
    pub fn of(document: &Value) -> Self {
        let paths = document.get("paths").and_then(Value::as_object);
        let path = |(template, methods): (&String, &Value)| Path {
            segments: template.split('/').map(segment).collect(),
            methods: methods
                .as_object()
                .into_iter()
                .flatten()
                .map(|(method, operation)| (method.to_uppercase(), query_names(operation)))
                .collect(),
        };
        Self(paths.into_iter().flatten().map(path).collect())
    }

    /// Returns the methods that a path has, for `Allow`.
    pub fn allow(&self, path: &str) -> String {
        let Some(path) = self.find(path) else { return ALLOW_ELSEWHERE.to_owned() };
        let mut methods: Vec<&str> = path.methods.keys().map(String::as_str).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }

    /// Refuses a parameter that an operation does not know, or that comes twice: poem would pass
    /// over it, and the client would believe that it counts. What is no operation is not judged.
    pub fn check_query(&self, method: &Method, path: &str, query: &str) -> Result<(), Problem> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let Some(known) = self.find(path).and_then(|path| path.methods.get(method.as_str())) else {
            return Ok(());
        };
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            if !known.iter().any(|known| known == name) {
                return Err(Problem::field(name, "no such parameter"));
            }
            if seen.contains(&name) {
                return Err(Problem::field(name, "given more than once"));
            }
            seen.push(name);
        }
        Ok(())
    }

    /// Whether a request may change something: it is an operation, and not one that only reads.
    pub fn may_change(&self, method: &Method, path: &str) -> bool {
        !matches!(*method, Method::GET | Method::HEAD)
            && self.find(path).is_some_and(|path| path.methods.contains_key(method.as_str()))
    }

    fn find(&self, path: &str) -> Option<&Path> {
        let path = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
        self.0.iter().find(|candidate| candidate.is(path))
    }
}

impl Path {
    fn is(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        self.segments.iter().all(|expected| {
            // A name that is left out is a name still: the router takes it for one, too.
            segments
                .next()
                .is_some_and(|found| expected.as_ref().is_none_or(|expected| expected == found))
        }) && segments.next().is_none()
    }
}

fn segment(segment: &str) -> Option<String> {
    (!segment.starts_with('{')).then(|| segment.to_owned())
}

fn query_names(operation: &Value) -> Vec<String> {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter.get("in").is_some_and(|place| place == "query"))
        .filter_map(|parameter| parameter.get("name")?.as_str().map(str::to_owned))
        .collect()
}
