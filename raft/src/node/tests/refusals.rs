//! What a node does not start on, and what it does not let in.

use super::home::{Home, process, put, write};
use crate::{Config, Error};

/// The words with which a start on `config` is refused.
fn refusal(home: &mut Home, change: impl FnOnce(&mut Config)) -> String {
    let own = home.config.clone();
    change(&mut home.config);
    let refused = process().block_on(home.start());
    home.config = own;
    match refused {
        Err(Error::Refused(message)) => message,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it started"),
    }
}

fn lived() -> Home {
    let home = Home::new();
    process().block_on(async {
        let node = home.start().await.unwrap();
        write(&node, "a", "1").await;
        node.shutdown().await;
    });
    home
}

#[test]
fn foreign_directories_are_refused_and_left_alone() {
    // Proves one clear error for another cluster and another member, after which it still starts.
    let mut home = lived();
    let message = refusal(&mut home, |config| config.cluster_id = 0xc2);
    assert!(message.contains("belongs to cluster c1"), "{message}");
    let message = refusal(&mut home, |config| {
        config.member_id = 0x3f;
        config.members[0].id = 0x3f;
    });
    assert!(message.contains("belongs to member 3e"), "{message}");
    process().block_on(async { home.start().await.unwrap().shutdown().await });
}

#[test]
fn a_state_without_its_log_is_refused() {
    // Proves that a forgotten log directory is not taken for a new member.
    let mut home = lived();
    let message = refusal(&mut home, |config| config.wal_dir = "/elsewhere".into());
    assert!(message.contains("/elsewhere is empty"), "{message}");
    process().block_on(async { home.start().await.unwrap().shutdown().await });
}

#[test]
fn one_directory_has_one_node() {
    // Proves the lock: refused while the first runs, free after its stop.
    process().block_on(async {
        let home = Home::new();
        let node = home.start().await.unwrap();
        let Err(Error::Refused(message)) = home.start().await else { panic!("it started") };
        assert!(message.contains("in use by another process"), "{message}");
        node.shutdown().await;
        home.start().await.unwrap().shutdown().await;
    });
}

#[tokio::test(flavor = "current_thread")]
async fn too_much_in_flight_is_refused_and_the_node_goes_on() {
    // Proves admission by bytes: the second command in flight is refused, the next one is not.
    let mut home = Home::new();
    home.config.inflight_bytes_max = 100;
    let node = home.start_on_runtime().await.unwrap();
    let (first, second) = futures::future::join(
        node.propose(put("a", &"x".repeat(80))),
        node.propose(put("b", &"x".repeat(80))),
    )
    .await;
    first.unwrap();
    assert_eq!(second.err(), Some(Error::TooManyRequests));
    write(&node, "c", "1").await;
    node.shutdown().await;
}
