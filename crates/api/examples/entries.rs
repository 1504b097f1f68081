//! Shared entries through the Rust client: written on one node, watched on another.
//!
//! Two nodes in this process serve their API on loopback, as `dui run` does.

use std::time::Duration;

use dui_api::{App, Settings, client_router, serve};
use dui_client::{Client, Operation, WatchEvent, WatchFilter, WriteOptions};
use dui_node::{Node, Options, Port, Provider};
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (ann, at_ann) = start("ann", &[]).await?;
    let (bo, at_bo) = start("bo", &[ann.peer_address().into()]).await?;

    // Any of several nodes will do: a client goes on with another one when
    // the one it talks to is gone.
    let client = Client::of(&[&at_ann, &at_bo])?;
    let written = client
        .put("config/limit", "80", &WriteOptions::default())
        .await?;
    println!("wrote {} as {}", written.key, written.version);

    // Gone by itself after a minute.
    let brief = WriteOptions::default().ttl(Duration::from_secs(60));
    client.put("lease/worker-1", "busy", &brief).await?;

    // Many at once: writes first, then reads.
    let operations = vec![
        Operation::put("config/colour", "green"),
        Operation::put("config/blob", vec![0xff, 0x00]),
        Operation::get("config/limit"),
    ];
    for result in client.batch(operations, &WriteOptions::default()).await? {
        println!("batch: status {}", result.status);
    }

    // A watch tells what is there, then every change.
    let mut watch = client.follow(WatchFilter::shared("config/"));
    let mut known = 0;
    loop {
        match watch.next().await?.event {
            WatchEvent::SharedChanged(_) => known += 1,
            WatchEvent::Complete => break,
            _ => {}
        }
    }
    println!("{known} entries under config/");
    client
        .delete("config/colour", &WriteOptions::default())
        .await?;
    if let WatchEvent::SharedChanged(change) = watch.next().await?.event {
        println!("{} is {:?}", change.entry.key, change.change);
    }

    let mut entries = client.entries("config/");
    while let Some(entry) = entries.next().await? {
        println!("{} has {} bytes", entry.key, entry.value.as_bytes().len());
    }
    bo.stop().await;
    ann.stop().await;
    Ok(())
}

/// A node and the address of its API.
async fn start(name: &str, join: &[dui_node::PeerPlace]) -> Result<(Node, String)> {
    let any = Port {
        number: 0,
        asked: true,
    };
    let options = Options {
        name: Some(name.parse()?),
        peer_port: any,
        discovery: vec![Provider::Static(join.to_vec())],
        ..Options::default()
    };
    let node = Node::start(options).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client_address = listener.local_addr()?;
    let settings = Settings {
        open: false,
        client_address,
        // Not served here.
        health_address: client_address,
    };
    let router = client_router(App::new(node.handle(), settings));
    tokio::spawn(serve(listener, router, std::future::pending()));
    Ok((node, client_address.to_string()))
}
