//! Who may call, and over which kind of connection.

use eventstore::{
    AppendToStreamOptions, Client, Credentials, Error, ReadAllOptions, ReadStreamOptions,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::kurrent::double::access::User;
use crate::kurrent::double::node::Tls;
use crate::kurrent::double::tests::{append_all, client, client_at, event, read_all};
use crate::kurrent::double::{Double, Settings};

const STREAM: &str = "account-alice";

fn guarded() -> Double {
    let users = vec![User::new("ledger", "p@ss:word"), User::without_all("market", "other")];
    Double::start_with(1, Settings { users, tls: None }).unwrap()
}

async fn append_as(client: &Client, name: &str, password: &str) -> eventstore::Result<()> {
    let credentials = Credentials::new(name.to_owned(), password.to_owned());
    let options = AppendToStreamOptions::default().authenticated(credentials);
    client.append_to_stream(STREAM, &options, event(1)).await.map(drop)
}

#[tokio::test]
async fn only_users_with_their_own_passwords_are_let_in() {
    let double = guarded();
    let client = client(&double);

    append_as(&client, "ledger", "p@ss:word").await.unwrap();
    append_as(&client, "market", "other").await.unwrap();
    for (name, password) in [("ledger", "other"), ("ledger", ""), ("nobody", "p@ss:word")] {
        let refused = append_as(&client, name, password).await;
        assert!(matches!(refused, Err(Error::AccessDenied)), "{name}: {refused:?}");
    }
    let options = ReadStreamOptions::default();
    let anonymous = client.read_stream(STREAM, &options).await;
    assert!(matches!(anonymous, Err(Error::AccessDenied)));
}

#[tokio::test]
async fn who_may_not_read_everything_is_told_so() {
    let double = guarded();
    let client = client(&double);
    append_as(&client, "market", "other").await.unwrap();
    let options = |name: &str, password: &str| {
        let credentials = Credentials::new(name.to_owned(), password.to_owned());
        ReadAllOptions::default().authenticated(credentials)
    };

    let refused = read_all(&client, options("market", "other")).await;
    let read = read_all(&client, options("ledger", "p@ss:word")).await.unwrap();

    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    assert!(!read.is_empty());
}

#[tokio::test]
async fn a_certificate_is_accepted_by_who_knows_it_and_by_nobody_else() {
    let names = vec!["127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let tls = Tls { certificate: cert.pem(), key: signing_key.serialize_pem() };
    let settings = Settings { tls: Some(tls), users: Vec::new() };
    let double = Double::start_with(1, settings).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, cert.pem()).unwrap();

    let url = format!("{}&discoveryInterval=1", double.url());
    let trusting = client_at(&format!("{url}&tlsCaFile={}", file.display()));
    append_all(&trusting, STREAM, 2).await;
    let strange = client_at(&url).append_to_stream(STREAM, &<_>::default(), event(3)).await;

    strange.unwrap_err();
    assert_eq!(double.stored(STREAM).len(), 2);
}
