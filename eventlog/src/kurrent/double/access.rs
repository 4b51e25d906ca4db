//! Who may do what.

use tonic::Status;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};

/// One who may use the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: String,
    /// Whether this one may read the streams of all.
    pub reads_all: bool,
}

impl User {
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned(), reads_all: true }
    }

    /// One who may read and write streams, but not read them all at once.
    pub fn without_all(name: &str, password: &str) -> Self {
        Self { reads_all: false, ..Self::new(name, password) }
    }

    /// The header that a client of this user sends, without the filling at its end.
    fn header(&self) -> Vec<u8> {
        let plain = format!("{}:{}", self.name, self.password);
        // The encoding of binary metadata is the one that the header wants.
        let encoded = BinaryMetadataValue::from_bytes(plain.as_bytes());
        [b"Basic ", unfilled(encoded.as_encoded_bytes())].concat()
    }
}

fn unfilled(base64: &[u8]) -> &[u8] {
    let end = base64.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    base64.get(..end).unwrap_or(base64)
}

/// Returns an error unless one of the users asks. Without users everybody may do everything.
pub(crate) fn check(users: &[User], metadata: &MetadataMap, reads_all: bool) -> Result<(), Status> {
    if users.is_empty() {
        return Ok(());
    }
    let Some(header) = metadata.get("authorization") else { return Err(denied()) };
    let user = users.iter().find(|user| user.header() == unfilled(header.as_bytes()));
    match user {
        None => Err(Status::unauthenticated("Unauthenticated")),
        Some(user) if reads_all && !user.reads_all => Err(denied()),
        Some(_) => Ok(()),
    }
}

fn denied() -> Status {
    let mut status = Status::permission_denied("Access Denied");
    status.metadata_mut().insert("exception", "access-denied".parse().expect("plain text"));
    status
}
