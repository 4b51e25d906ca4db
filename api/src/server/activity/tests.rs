//! Connections of HTTP/2 that rest, and that are stuck.

use std::future::poll_fn;

use futures_util::FutureExt;
use poem::Body as PoemBody;

use super::*;

const IDLE: Duration = Duration::from_secs(8);
const STUCK: Duration = Duration::from_secs(10);

/// Returns what is overdue next, and whether it is counted from something done between then and now.
fn due(activity: &Activity, since: Instant) -> (Overdue, bool) {
    let (at, overdue) = activity.due();
    let patience = match overdue {
        Overdue::Idle => IDLE,
        Overdue::Stuck => STUCK,
        Overdue::Old => LIFE,
    };
    (overdue, (since..=Instant::now()).contains(&(at - patience)))
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_idle_and_goes() {
    let short = Duration::from_millis(20);
    assert_eq!(Activity::new(short, STUCK).overdue().await, Overdue::Idle);

    let began = Instant::now();
    assert_eq!(due(&Activity::new(IDLE, STUCK), began), (Overdue::Idle, true));
}

#[tokio::test]
async fn a_connection_is_idle_from_its_last_request_on() {
    let activity = Activity::new(IDLE, STUCK);
    let (first, second) = (activity.open(), activity.open());
    drop(first);
    assert_eq!(due(&activity, activity.began), (Overdue::Old, true), "one is at work");

    let last = Instant::now();
    drop(second);
    assert_eq!(due(&activity, last), (Overdue::Idle, true));
}

fn answer(
    bytes: usize,
    activity: &Arc<Activity>,
) -> Pieces<impl Body<Data = Bytes, Error = std::io::Error> + Unpin> {
    let response = poem::Response::builder().body(vec![7; bytes]);
    let body = hyper::Response::<_>::from(response).into_body();
    Pieces::new(body, activity.open())
}

async fn next<B>(body: &mut B) -> Option<Bytes>
where
    B: Body<Data = Bytes, Error = std::io::Error> + Unpin,
{
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    Some(frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn an_answer_is_whole_in_its_pieces() {
    let activity = Activity::new(IDLE, STUCK);
    for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES] {
        let mut answer = answer(bytes, &activity);
        assert_eq!(answer.size_hint().exact(), Some(bytes as u64));
        let mut got = 0;
        while let Some(piece) = next(&mut answer).await {
            assert!(piece.len() <= PIECE_BYTES && piece.iter().all(|byte| *byte == 7));
            got += piece.len();
            assert_eq!(answer.size_hint().exact(), Some((bytes - got) as u64));
            assert_eq!(answer.is_end_stream(), got == bytes);
        }
        assert_eq!(got, bytes);
    }
}

#[tokio::test]
async fn an_answer_of_which_no_more_is_taken_is_stuck() {
    let activity = Activity::new(IDLE, STUCK);
    let mut stuck = answer(10 * PIECE_BYTES, &activity);
    assert_eq!(due(&activity, activity.began).0, Overdue::Old, "it is not asked for yet");
    for _ in 0..3 {
        let taken = Instant::now();
        assert!(next(&mut stuck).await.is_some());
        assert_eq!(due(&activity, taken), (Overdue::Stuck, true));
    }
    // Another one that goes on does not hide it, and neither does one that is done.
    let after = Instant::now();
    let mut other = answer(10 * PIECE_BYTES, &activity);
    while next(&mut other).await.is_some() {
        assert_eq!(due(&activity, after), (Overdue::Stuck, false));
    }
    drop(other);
    assert_eq!(due(&activity, after), (Overdue::Stuck, false));

    drop(stuck);
    assert_eq!(due(&activity, after), (Overdue::Idle, true));
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_wait() {
    let activity = Activity::new(IDLE, Duration::from_millis(20));
    let mut answer = answer(10 * PIECE_BYTES, &activity);
    assert!(next(&mut answer).await.is_some());

    assert_eq!(activity.overdue().await, Overdue::Stuck);
}

#[tokio::test]
async fn an_answer_that_waits_for_us_is_not_the_clients_fault() {
    let activity = Activity::new(IDLE, STUCK);
    let pieces = [Ok::<_, std::io::Error>(Bytes::from_static(b"a"))];
    let stream = futures_util::StreamExt::chain(
        futures_util::stream::iter(pieces),
        futures_util::stream::pending(),
    );
    let response = poem::Response::builder().body(PoemBody::from_bytes_stream(stream));
    let body = hyper::Response::<_>::from(response).into_body();
    let mut answer = Pieces::new(body, activity.open());
    assert_eq!(next(&mut answer).await.unwrap(), "a");
    assert_eq!(due(&activity, activity.began).0, Overdue::Stuck);

    assert!(next(&mut answer).now_or_never().is_none());
    assert_eq!(due(&activity, activity.began).0, Overdue::Old);
}
