use tokio::net::TcpListener;

use super::super::link::GrpcLink;
use super::super::presence::{Contact, Presence};
use super::super::wire::Wire;
use super::*;

#[tokio::test]
async fn traffic_is_counted_on_both_sides() {
    // Shows etcd's names and labels, with what the one side sent being what the other received.
    let (near, far) = (Metrics::new(false), Metrics::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut member = Listening::on(listener, far.peers(2), None);
    member.leave.add_permits(2);
    let presence = Presence::of_member(near.peers(1).member(2));
    let route = Route::to_urls(&[member.url()]);
    let wire = Wire::new(route, Purpose::Liveness, None, presence);
    let link: Arc<dyn Link> = Arc::new(GrpcLink::new(Arc::new(wire)));
    assert_eq!(soon(ask(&link, 1)).await, Ok(1));
    let mut answers = soon(link.append(endless(vec![entry(1)]), PATIENCE)).await.unwrap();
    matching(&mut answers).await;
    member.next().await;

    let bytes = |metrics: &Metrics, name: &str| value(metrics, name).parse::<u64>().unwrap();
    let sent = bytes(&near, r#"etcd_network_peer_sent_bytes_total{To="2"}"#);
    assert!(sent > 0);
    assert_eq!(bytes(&far, r#"etcd_network_peer_received_bytes_total{From="1"}"#), sent);
    let received = bytes(&near, r#"etcd_network_peer_received_bytes_total{From="2"}"#);
    assert!(received > 0);
    assert_eq!(bytes(&far, r#"etcd_network_peer_sent_bytes_total{To="1"}"#), received);
    let times = r#"etcd_network_peer_round_trip_time_seconds_count{To="2"}"#;
    assert_eq!(bytes(&near, times), 1);

    let active = r#"etcd_network_active_peers{Local="1",Remote="2"}"#;
    assert_eq!(value(&near, active), "1");
    drop(member);
    until(|| value(&near, active) == "0").await;
    let lost = r#"etcd_network_disconnected_peers_total{Local="1",Remote="2"}"#;
    assert_eq!(value(&near, lost), "1");
    let failures = r#"etcd_network_peer_sent_failures_total{To="2"}"#;
    let before = bytes(&near, failures);
    soon(ask(&link, 1)).await.unwrap_err();
    assert!(bytes(&near, failures) > before);
}

#[test]
fn a_member_is_lost_with_its_last_connection() {
    // Shows that one of several connections that breaks does not make a member lost, and that
    // later failures do not make it lost again.
    let metrics = Metrics::new(false);
    let presence = Presence::of_member(metrics.peers(1).member(2));
    let lost = || value(&metrics, r#"etcd_network_disconnected_peers_total{Local="1",Remote="2"}"#);
    presence.connected("a");
    presence.connected("a");
    presence.broken(Purpose::Liveness, "gone");
    presence.unreachable("refused");
    assert_eq!(lost(), "");
    presence.broken(Purpose::Requests, "gone");
    presence.unreachable("refused");
    assert_eq!(lost(), "1");
    presence.connected("a");
    presence.closed();
    assert_eq!(lost(), "1");
}

#[test]
fn a_connection_counts_from_its_first_answer() {
    // Shows that a member which takes connections and drops them, as one does that does not like
    // our certificate, was never connected, so that the log does not flap with every attempt.
    let metrics = Metrics::new(false);
    let presence = Presence::of_member(metrics.peers(1).member(2));
    let active = || value(&metrics, r#"etcd_network_active_peers{Local="1",Remote="2"}"#);
    let contact = |answers: bool| {
        let contact = Contact::new(presence.clone(), Purpose::Liveness, "url".to_owned());
        if answers {
            contact.answered();
        }
        contact
    };
    contact(false).ended("refused", false);
    assert_eq!(active(), "");
    let answering = contact(true);
    assert_eq!(active(), "1");
    contact(false).ended("refused", false);
    assert_eq!(active(), "1");
    answering.ended("gone", false);
    answering.answered();
    assert_eq!(active(), "0");
}

#[test]
fn names_that_senders_make_up_are_bounded() {
    // Shows that a sender of a thousand ids does not make a thousand series.
    let metrics = Metrics::new(false);
    let peers = metrics.peers(1);
    for id in 1..=1000 {
        peers.member(id).received(1);
    }
    let text = metrics.render().unwrap();
    assert!(text.matches("peer_received_bytes_total{").count() <= 65);
    assert_eq!(value(&metrics, r#"etcd_network_peer_received_bytes_total{From="0"}"#), "936");
}

/// The value of one series; empty if there is none.
fn value(metrics: &Metrics, series: &str) -> String {
    let text = metrics.render().unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    found.unwrap_or_default().trim().to_owned()
}
