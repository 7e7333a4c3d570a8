//! `berth services`: a table of what is registered.

use std::time::{SystemTime, UNIX_EPOCH};

use testkit::{Server, subject};

use crate::register::{register, until_registered};
use crate::tool::{Tool, berth, document, endpoints, put};

/// Of an instance that is rather old: a day and two hours.
const OLD_S: u64 = 26 * 3600;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_secs()
}

/// What stands below a heading, row by row.
fn column(table: &str, heading: &str) -> Vec<String> {
    const HEADINGS: [&str; 8] =
        ["SERVICE", "INSTANCE", "ADDRESS", "HEALTH", "AGE", "TTL LEFT", "TAGS", ""];
    let (headings, rows) = table.split_once('\n').expect("headings");
    let at = HEADINGS.iter().position(|known| *known == heading).expect("a heading");
    let place = |heading: &str| match heading {
        "" => usize::MAX,
        heading => headings.find(heading).unwrap_or_else(|| panic!("{heading}: {table}")),
    };
    let (from, to) = (place(heading), place(HEADINGS[at + 1]));
    let cell = |row: &str| row.chars().take(to).skip(from).collect::<String>().trim().to_owned();
    rows.lines().map(cell).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_how_old_each_instance_is() {
    // Proves that the age runs from `registered_at`, which a sidecar sets to when it began; that who
    // says nothing, or what cannot be, has none; and that only what hangs on a lease has time left.
    let server = Server::start(subject!(), &[]).await;
    let (clients, endpoints) = (server.clients(), endpoints(&server));
    let (old, ahead) = (now_s() - OLD_S, now_s() + OLD_S);
    for (name, more) in [
        ("old", format!(r#","registered_at":{old}"#)),
        ("silent", String::new()),
        ("ahead", format!(r#","registered_at":{ahead}"#)),
    ] {
        let document = format!(r#"{{"address":"10.0.0.1","port":80{more}}}"#);
        put(&clients, &format!("/services/db/{name}"), &document).await;
    }
    let before = now_s();
    let mut sidecar = Tool::berth(&register(&endpoints, &["--ttl=60s"]));
    until_registered(&clients).await;
    let registered = document(&clients, crate::register::INSTANCE).await.unwrap();
    let at = registered["registered_at"].as_u64().expect("a number");
    assert!((before..=now_s()).contains(&at), "{at} is not from {before} on");

    let shown = berth(&["services", &endpoints]).await.stdout;
    assert_eq!(column(&shown, "INSTANCE"), ["ahead", "old", "silent", "1"], "{shown}");
    let ages = column(&shown, "AGE");
    assert_eq!((ages[0].as_str(), ages[2].as_str()), ("-", "-"), "{shown}");
    assert!(ages[1].starts_with("1day 2h"), "{shown}");
    assert!(ages[3].starts_with(|first: char| first.is_ascii_digit()), "{shown}");
    let left = column(&shown, "TTL LEFT");
    assert_eq!(left[..3], ["-", "-", "-"], "{shown}");
    assert!(left[3].ends_with('s'), "{shown}");

    let shown = berth(&["services", &endpoints, "-w", "json"]).await.stdout;
    let rows: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(rows[1]["registered_at"], old, "{shown}");
    assert!(rows[2]["registered_at"].is_null() && rows[2]["ttl_left_s"].is_null(), "{shown}");
    assert_eq!(rows[3]["registered_at"], at, "{shown}");
    sidecar.terminate().await;
}
