use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_question_is_answered() {
    // Shows round trips, many at once, each with its own answer.
    let member = Listening::anywhere().await;
    member.leave.add_permits(100);
    let link = member.link(Purpose::Requests);
    let asked: Vec<_> = (0..100)
        .map(|id| {
            let link = link.clone();
            tokio::spawn(async move { assert_eq!(ask(&link, id).await, Ok(id)) })
        })
        .collect();
    for asked in asked {
        soon(asked).await.unwrap();
    }
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_not_waited_for() {
    // Shows that the limit holds, and that the caller is told that the question may have arrived:
    // from a member that thinks, and from a process that is stopped.
    let mut thinking = Listening::anywhere().await;
    let link = thinking.link(Purpose::Requests);
    assert_eq!(soon(link.call(question(1), SHORT)).await, Err(LinkError::TimedOut));
    thinking.next().await;

    let stopped = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", stopped.local_addr().unwrap());
    let link = link_to(&[url], Purpose::Requests);
    assert_eq!(soon(link.call(question(1), SHORT)).await, Err(LinkError::TimedOut));
}

#[tokio::test]
async fn what_was_not_sent_is_called_unreachable() {
    // Shows the answer for a closed port, no URL, bad URLs, https without certificates, and for a
    // server that is no member.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("http://{}", other.local_addr().unwrap());
    tokio::spawn(member::serve(other, axum::Router::new(), None));
    for (urls, words) in [
        (vec![format!("http://{closed}")], "refused"),
        (vec![], "no peer URLs"),
        (vec!["http://x".to_owned()], "host:port"),
        (vec!["https://127.0.0.1:1".to_owned()], "no certificate"),
        (vec!["unix://x".to_owned()], "unix"),
        (vec![elsewhere], "does not serve members"),
    ] {
        let link = link_to(&urls, Purpose::Requests);
        match soon(ask(&link, 1)).await {
            Err(LinkError::Unreachable(why)) => assert!(why.contains(words), "{urls:?}: {why}"),
            other => panic!("{urls:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_address_that_swallows_packets_is_unreachable_in_time() {
    // Shows that the limit covers connecting, and that nothing was sent by then. A full queue of
    // connections swallows packets as a partition does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(connected);
    }
    let link = link_to(&[format!("http://{address}")], Purpose::Liveness);
    let expected = Err(LinkError::Unreachable("still connecting".to_owned()));
    assert_eq!(soon(link.call(question(1), SHORT)).await, expected);
}

#[tokio::test]
async fn a_call_under_way_fails_when_the_member_vanishes() {
    // Shows that it fails by the break, not by a silence, and as one that may have arrived.
    let mut member = Listening::anywhere().await;
    let link = member.link(Purpose::Requests);
    let call = tokio::spawn(link.call(question(1), PATIENCE));
    member.next().await;
    drop(member);
    assert_interrupted(&soon(call).await.unwrap().unwrap_err());
}

#[tokio::test]
async fn questions_that_were_given_up_break_nothing() {
    // Shows that a member which stood still while many questions to it were given up answers the
    // next one, on the same connection.
    let standing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", standing.local_addr().unwrap());
    let link = link_to(&[url], Purpose::Requests);
    let given_up = (0..90).map(|id| link.call(question(id), SHORT));
    for outcome in soon(futures::future::join_all(given_up)).await {
        assert_eq!(outcome, Err(LinkError::TimedOut));
    }
    let member = Listening::on(standing, Metrics::new(false).peers(2), None);
    member.leave.add_permits(100);
    assert_eq!(soon(ask(&link, 1)).await, Ok(1));
}
