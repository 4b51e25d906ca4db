//! Nodes: who leads, who lags, and what it is like when one ends and comes back.

use eventstore::operations::Client as Operations;
use eventstore::{
    AppendToStreamOptions, ClientSettings, Error, ReadStreamOptions, StreamPosition, StreamState,
    SubscribeToStreamOptions,
};

use crate::kurrent::double::Double;
use crate::kurrent::double::tests::{
    ANSWER_WAIT, append, append_all, client, client_at, event, read_stream, revisions,
};

const STREAM: &str = "account-alice";

fn node_client(double: &Double, node: usize) -> eventstore::Client {
    client_at(&format!("{}&discoveryInterval=1", double.node_url(node)))
}

#[tokio::test]
async fn a_node_that_does_not_lead_names_the_leader_and_the_client_goes_there() {
    let double = Double::cluster(3).unwrap();
    double.lead(2);
    let client = node_client(&double, 0);
    let options = AppendToStreamOptions::default().requires_leader(true);

    let refused = client.append_to_stream(STREAM, &options, event(1)).await;
    let stored = client.append_to_stream(STREAM, &options, event(1)).await;

    let Err(Error::NotLeaderException(leader)) = refused else { panic!("{refused:?}") };
    assert_eq!((leader.host.as_str(), leader.port), ("127.0.0.1", u32::from(double.port(2))));
    stored.unwrap();
    assert_eq!(double.appends_stored(), 1);
}

#[tokio::test]
async fn a_node_that_lags_shows_less_until_it_has_caught_up() {
    let double = Double::cluster(2).unwrap();
    let leader = node_client(&double, 0);
    // Unless told otherwise this client asks the leader only.
    let follower = format!("{}&discoveryInterval=1&nodePreference=follower", double.node_url(1));
    let follower = client_at(&follower);
    append_all(&leader, STREAM, 2).await;
    double.lag(1);
    append(&leader, STREAM, StreamState::StreamRevision(1), event(3)).await.unwrap();

    let read = async |client| {
        revisions(&read_stream(client, STREAM, ReadStreamOptions::default()).await.unwrap())
    };
    assert_eq!(read(&leader).await, [0, 1, 2]);
    assert_eq!(read(&follower).await, [0, 1]);
    double.catch_up(1);
    assert_eq!(read(&follower).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_cluster_is_found_through_its_members() {
    let double = Double::cluster(3).unwrap();
    double.kill(1);
    let client = client_at(&format!("{}&discoveryInterval=1&nodePreference=leader", double.url()));

    append_all(&client, STREAM, 1).await;

    assert!(double.calls()["gossip"] >= 1);
    assert_eq!(double.appends_stored(), 1);
}

#[tokio::test]
async fn the_page_of_members_says_who_leads_and_who_is_gone() {
    let double = Double::cluster(3).unwrap();
    double.lead(1);
    double.kill(2);
    let settings: ClientSettings =
        format!("{}&discoveryInterval=1", double.node_url(0)).parse().unwrap();

    let members = Operations::new(settings).unwrap().read_gossip().await.unwrap();

    let told: Vec<_> = members
        .iter()
        .map(|member| (member.http_end_point.port, format!("{:?}", member.state), member.is_alive))
        .collect();
    let expected = [(0, "Follower", true), (1, "Leader", true), (2, "Shutdown", false)]
        .map(|(node, state, alive)| (u32::from(double.port(node)), state.to_owned(), alive));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_node_that_was_killed_refuses_connections_and_has_its_port_again() {
    let double = Double::start().unwrap();
    append_all(&client(&double), STREAM, 1).await;
    let address = ("127.0.0.1", double.port(0));

    double.kill(0);
    let refused = tokio::net::TcpStream::connect(address).await;
    double.start_again(0).unwrap();

    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    append(&client(&double), STREAM, StreamState::StreamRevision(0), event(2)).await.unwrap();
}

#[tokio::test]
async fn a_client_outlives_the_restart_of_the_only_node() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 1).await;

    for end in [Double::kill, Double::stop] {
        end(&double, 0);
        // A connection may serve one more before it sees that it is cut.
        while append(&client, STREAM, StreamState::Any, event(9)).await.is_ok() {}
        double.start_again(0).unwrap();
        read_stream(&client, STREAM, ReadStreamOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_node_breaks_a_subscription() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 1).await;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut followed = client.subscribe_to_stream(STREAM, &options).await;
    tokio::time::timeout(ANSWER_WAIT, followed.next()).await.expect("in time").unwrap();

    double.kill(0);

    let broken = tokio::time::timeout(ANSWER_WAIT, followed.next()).await.expect("in time");
    assert!(matches!(broken, Err(Error::ServerError(_))), "{broken:?}");
}

#[tokio::test]
async fn a_stopped_node_ends_a_read_as_if_that_were_all() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 100).await;
    double.slow_reads(std::time::Duration::from_millis(20));
    let mut read = client.read_stream(STREAM, &ReadStreamOptions::default()).await.unwrap();
    read.next().await.unwrap().unwrap();

    double.stop(0);

    let mut rest = 0;
    while tokio::time::timeout(ANSWER_WAIT, read.next()).await.unwrap().unwrap().is_some() {
        rest += 1;
    }
    assert!(rest < 99, "{rest}");
}

#[tokio::test]
async fn a_frozen_node_answers_when_it_is_thawed() {
    let double = Double::start().unwrap();
    let client = client(&double);
    append_all(&client, STREAM, 1).await;

    double.freeze(0);
    let unanswered = {
        let call = append(&client, STREAM, StreamState::Any, event(2));
        tokio::time::timeout(std::time::Duration::from_millis(200), call).await
    };
    double.thaw(0);
    let answered = append(&client, STREAM, StreamState::Any, event(3)).await;

    unanswered.unwrap_err();
    answered.unwrap();
}

#[tokio::test]
async fn nodes_without_a_leader_take_nothing_that_asks_for_one() {
    let double = Double::cluster(2).unwrap();
    double.lead_nobody();
    let client = node_client(&double, 0);
    let options = AppendToStreamOptions::default().requires_leader(true);

    let refused = client.append_to_stream(STREAM, &options, event(1)).await;

    assert!(matches!(refused, Err(Error::ServerError(_))), "{refused:?}");
    assert_eq!(double.appends_stored(), 0);
}
