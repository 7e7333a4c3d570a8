//! What is killed is gone with its lease, from the store and from files made of it.

use std::time::{Duration, Instant};

use api::etcdserverpb::LeaseTimeToLiveRequest;
use testkit::{Clients, Server, eventually, subject};

use crate::template::Config;
use crate::tool::{SOON_S, Tool, done, endpoints, get};

/// Of those that are killed.
const TTL_S: i64 = 5;
/// Of those that are not: their sidecars may be kept waiting.
const LONG_TTL_S: i64 = 60;
/// Who is killed, one after the other.
const KILLED: [&str; 3] = ["a", "b", "c"];
const POLL: Duration = Duration::from_millis(10);
/// After which whatever a sidecar sent before it was killed has arrived.
const ARRIVED: Duration = Duration::from_millis(500);

fn sidecar(endpoints: &str, instance: &str, ttl_s: i64) -> Tool {
    let (name, ttl) = (format!("--instance={instance}"), format!("--ttl={ttl_s}s"));
    let args = ["register", endpoints, "--service=web", &name, &ttl, "--port=80"];
    let check = ["--address=10.0.0.7", "--check=exec:true", "--timeout=30s"];
    Tool::berth(&[&args[..], &check].concat())
}

/// What is left of a lease by the store's own clock, in seconds, and what it was granted for.
async fn left(clients: &Clients, id: i64) -> (i64, i64) {
    let request = LeaseTimeToLiveRequest { id, keys: false };
    let answer = done(clients.clone().lease.lease_time_to_live(request)).await;
    (answer.ttl, answer.granted_ttl)
}

/// Follows one that was killed until its keys are gone: nobody renews its lease any more, and the
/// file names it as long as it is registered. Returns how long that took.
async fn until_gone(clients: &Clients, config: &Config, name: &str) -> Duration {
    let (killed, key) = (Instant::now(), format!("/services/web/{name}"));
    let lease = get(clients, &key).await.expect("a lease outlives its sidecar").lease;
    let mut least = TTL_S;
    tokio::time::sleep(ARRIVED).await;
    loop {
        // First the file: what it says must have been so a moment before the store is asked.
        let file = config.read();
        if get(clients, &key).await.is_none() {
            let health = get(clients, &format!("/health/web/{name}")).await;
            assert_eq!(health, None, "both go together");
            return killed.elapsed();
        }
        assert!(
            file.split(' ').any(|known| known == name),
            "{name} is registered, not in {file:?}"
        );
        let (now, granted) = left(clients, lease).await;
        assert!(now <= least, "{now} s are left of {granted}, after {least}");
        least = now;
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_is_gone_with_its_lease() {
    // Proves that a sidecar that is killed has at most its time to live from then on, by the store's
    // clock; that the file names it until the store has deleted it, and the very next file does not;
    // and that nobody else goes with it. Prints the times, of which `benches expiry` has more.
    let server = Server::start(subject!(), &[]).await;
    let (clients, endpoints) = (server.clients(), endpoints(&server));
    let keys = r#""/services/web", "/health/web""#;
    let history = r#"reload_cmd = "cat {{.src}} >> DIR/history; echo >> DIR/history""#;
    let template = "{{ passing('web') | map(attribute='name') | join(' ') }}";
    let config = Config::of_keys(keys, template, history);
    let templater = Tool::berth(&["template", &endpoints, &config.flag()]);
    let _stays = sidecar(&endpoints, "stays", LONG_TTL_S);
    let loads = || {
        let text = std::fs::read_to_string(config.path("history")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for name in KILLED {
        let with = format!("{name} stays");
        let mut sidecar = sidecar(&endpoints, name, TTL_S);
        config.until(&templater, &with).await;
        eventually("it is loaded", SOON_S, async || match loads().last() {
            Some(last) if *last == with => Ok(()),
            last => Err(format!("{last:?}")),
        })
        .await;
        let before = loads();
        sidecar.kill();
        let killed = Instant::now();
        let gone = until_gone(&clients, &config, name).await;
        config.until(&templater, "stays").await;
        println!(
            "{name} with a TTL of {TTL_S} s: gone from the store {gone:?} after SIGKILL, from the \
             file {:?} after it",
            killed.elapsed()
        );
        eventually("it is loaded", SOON_S, async || match loads() {
            now if now.len() > before.len() => Ok(()),
            now => Err(format!("{now:?}")),
        })
        .await;
        assert_eq!(loads()[before.len()..], ["stays"], "{}", templater.log());
    }
}
