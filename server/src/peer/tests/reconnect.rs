use tokio::net::TcpListener;

use super::*;

/// Asks until there is an answer: the break of the old connection may be noticed by a call.
async fn ask_again(link: &Arc<dyn Link>) {
    soon(async {
        while ask(link, 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_member_that_comes_back_is_found() {
    // Shows that a link goes on after its member was away, without anybody's doing.
    let member = Listening::anywhere().await;
    let address = member.address;
    let link = member.link(Purpose::Requests);
    member.leave.add_permits(1);
    assert_eq!(soon(ask(&link, 1)).await, Ok(1));
    drop(member);
    until_unreachable(&link).await;

    let member = Listening::at(address).await;
    member.leave.add_permits(100);
    ask_again(&link).await;
}

#[tokio::test]
async fn a_member_is_found_under_any_of_its_urls() {
    // Shows that each URL is tried, and tried anew: it listens at one, then at the other.
    let first = Listening::anywhere().await;
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = [first.url(), format!("http://{second}")];
    let link = link_to(&urls, Purpose::Requests);
    first.leave.add_permits(1);
    assert_eq!(soon(ask(&link, 1)).await, Ok(1));
    drop(first);
    until_unreachable(&link).await;

    let second = Listening::at(second).await;
    second.leave.add_permits(100);
    ask_again(&link).await;
}

/// Until the old connection is known to be gone, and nobody listens.
async fn until_unreachable(link: &Arc<dyn Link>) {
    soon(async {
        while !matches!(ask(link, 1).await, Err(LinkError::Unreachable(_))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
