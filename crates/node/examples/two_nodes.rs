//! Two nodes in one process: they find each other, and one says goodbye.
//!
//! Run it with `cargo run -p dui-node --example two_nodes`. No address is
//! given to anybody: the nodes hear each other's beacons on loopback.

use std::error::Error;
use std::time::Duration;

use dui_node::core::Event;
use dui_node::{EventStream, Node, NodeEvent, Options};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// How long anything here may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ann = Node::start(options("ann")?).await?;
    let bo = Node::start(options("bo")?).await?;
    println!(
        "ann is at {}, bo at {}",
        ann.peer_address(),
        bo.peer_address()
    );

    // From event 0 on: what happened before we asked is told too.
    let mut news_of_ann = ann.handle().subscribe(Some(0)).await?;
    let mut news_of_bo = bo.handle().subscribe(Some(0)).await?;
    timeout(PATIENCE, hear(&mut news_of_ann, "bo is alive")).await?;
    timeout(PATIENCE, hear(&mut news_of_bo, "ann is alive")).await?;

    let goodbye = bo.handle().leave().await?;
    println!(
        "bo left, {} of {} peers confirmed",
        goodbye.acked, goodbye.wanted
    );
    timeout(PATIENCE, hear(&mut news_of_ann, "bo left")).await?;

    // It stays up, listed as left, until its owner stops it.
    bo.stop().await;
    ann.handle().leave().await?;
    ann.stop().await;
    Ok(())
}

/// A cluster of their own, whatever else runs on this machine.
fn options(name: &str) -> Result<Options, Box<dyn Error>> {
    Ok(Options {
        cluster: format!("two-nodes-{}", std::process::id()).parse()?,
        name: Some(name.parse()?),
        ..Options::default()
    })
}

/// Prints news until these arrive.
async fn hear(news: &mut EventStream, expected: &str) {
    while let Some(item) = news.next().await {
        let text = match &item.event {
            NodeEvent::Core(Event::MemberAlive(member)) => format!("{} is alive", member.name),
            NodeEvent::Core(Event::MemberLeft(member)) => format!("{} left", member.name),
            other => format!("{other:?}"),
        };
        println!("#{}: {text}", item.sequence);
        if text == expected {
            return;
        }
    }
}
