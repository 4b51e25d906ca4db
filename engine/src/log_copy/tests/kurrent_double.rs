//! Copies to a double of KurrentDB and back.

use eventlog::kurrent::double::Double;

use super::*;
use crate::command_line::Demo;
use crate::configuration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_comes_back_as_it_was() {
    let (double, folder) = (Double::start().unwrap(), tempfile::tempdir().unwrap());
    let data = Some(folder.path().to_owned());
    let opener =
        Opener::for_copies(&configuration::of_demo(&Demo { data, ..Demo::default() }).unwrap());
    let there = LogUrl::parse(&double.url()).unwrap();
    let original = filled(300).await;

    let target = opener.open(&there, Log::Market).await.unwrap().transfer;
    target.take_over(&original.stored(Offset(0), 120).await.unwrap()).await.unwrap();
    let copy = copied(original.clone(), target).await.unwrap();
    assert_eq!((copy.entries, copy.besides), (300, 0));
    // One whose answer came too late is found to be in.
    assert!((1..=180).contains(&copy.put_in), "{}", copy.put_in);

    let at_server = opener.open_stored(&there, Log::Market).await.unwrap();
    let back = embedded(&folder);
    let back_again = copied(at_server, back.clone()).await.unwrap();
    assert_eq!((back_again.entries, back_again.hash), (copy.entries, copy.hash));
    let bodies = |all: Vec<Stored>| -> Vec<_> {
        all.into_iter().map(|stored| (stored.content, stored.body)).collect()
    };
    let [ours, theirs] = [
        back.stored(Offset(0), usize::MAX).await.unwrap(),
        original.stored(Offset(0), usize::MAX).await.unwrap(),
    ];
    assert!(bodies(ours) == bodies(theirs), "not a byte is another");
}
