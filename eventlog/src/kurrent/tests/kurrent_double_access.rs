//! Who may come in, by which way, and what an entry survives: as the server tells it.

use super::*;
use crate::kurrent::address::Login;
use crate::kurrent::double::Settings;
use crate::kurrent::double::access::User;
use crate::kurrent::double::node::Tls;

const SECRET: &str = "p:ss@w%rd/?=";
const SECRET_ESCAPED: &str = "p%3Ass%40w%25rd%2F%3F%3D";

fn guarded(users: Vec<User>) -> Double {
    Double::start_with(1, Settings { users, ..Settings::default() }).unwrap()
}

async fn refused(url: &str, options: Options) -> String {
    let opened = Kurrent::open(url.parse().unwrap(), Log::Market, options).await;
    let Err(LogError::Unavailable(text)) = opened.map(drop) else { panic!("it was let in") };
    assert!(!text.contains("p:ss") && !text.contains("p%3Ass"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_of_any_signs_opens_and_another_does_not() {
    let double = guarded(vec![User::new("ann", SECRET), User::without_all("bob", SECRET)]);
    let with = |login: &str| double.url().replace("://", &format!("://{login}@"));
    let address: Address = with(&format!("ann:{SECRET_ESCAPED}")).parse().unwrap();
    let log = Kurrent::open(address.clone(), Log::Market, fresh()).await.unwrap();
    append(&log, &stream(1), 1).await;
    for told in [format!("{address:?} {address}"), format!("{:?}", address.login())] {
        assert!(!told.contains("p:ss") && !told.contains("p%3Ass"), "{told}");
    }
    let login = Login { user: "ann".to_owned(), password: SECRET.to_owned() };
    let options = Options { login: Some(login), ..fresh() };
    Kurrent::open(double.url().parse().unwrap(), Log::Market, options).await.unwrap();

    for login in ["ann:other", "eve:p%3Ass", "bob:p%3Ass%40w%25rd%2F%3F%3D"] {
        let text = refused(&with(login), fresh()).await;
        assert!(text.contains("denies access"), "{text}");
    }
    let text = refused(&double.url(), fresh()).await;
    assert!(text.contains("denies access"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_the_named_authority_opens_and_another_does_not() {
    let names = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let [own, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(names()).unwrap());
    let tls = Tls { certificate: own.cert.pem(), key: own.signing_key.serialize_pem() };
    let double = Double::start_with(1, Settings { tls: Some(tls), users: Vec::new() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (own, other) = (file("own.pem", own.cert.pem()), file("other.pem", other.cert.pem()));

    let url = |authority: &str| format!("{}&tlsCaFile={authority}", double.url());
    let log = Kurrent::open(url(&own).parse().unwrap(), Log::Market, fresh()).await.unwrap();
    append(&log, &stream(1), 1).await;
    let soon = || Options { opening: Duration::ZERO, ..fresh() };
    refused(&url(&other), soon()).await;
    refused(&double.url().replace("tls=true", "tls=false"), soon()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durability_is_what_the_nodes_say_and_else_what_is_configured() {
    for (nodes, durability) in [(1, Durability::Fsync), (3, Durability::Quorum)] {
        let double = Double::cluster(nodes).unwrap();
        for configured in [None, Some(1), Some(5)] {
            let options = Options { nodes: configured, ..fresh() };
            let log = open(&double, Log::Ledger, &options).await;
            assert_eq!(log.durability(), durability, "{nodes} {configured:?}");
        }
        if nodes > 1 {
            double.kill(2);
            let log = open(&double, Log::Ledger, &fresh()).await;
            assert_eq!(log.durability(), Durability::Quorum, "one that is away votes again");
        }
    }
    // With TLS the double has no page to tell it by.
    let names = vec!["127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let tls = Tls { certificate: own.cert.pem(), key: own.signing_key.serialize_pem() };
    let double = Double::start_with(1, Settings { tls: Some(tls), users: Vec::new() }).unwrap();
    for (configured, durability) in
        [(None, Durability::Os), (Some(1), Durability::Fsync), (Some(3), Durability::Quorum)]
    {
        let url = format!("{}&tlsVerifyCert=false", double.url());
        let options = Options { nodes: configured, ..fresh() };
        let log = Kurrent::open(url.parse().unwrap(), Log::Ledger, options).await.unwrap();
        assert_eq!(log.durability(), durability);
    }
}
