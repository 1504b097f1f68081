//! Whoever answers at the address may be no node at all, or one that dies in the middle.

#![allow(clippy::unwrap_used)]

use dui_client::{Client, Error, WatchEvent, WatchFilter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A client of a server that answers one request with these bytes and hangs up.
async fn client_of(answer: &'static str) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    Client::new(&address.to_string()).unwrap()
}

#[tokio::test]
async fn a_web_server_is_not_taken_for_a_node() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 13\r\n\r\n<html></html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let error = client_of(answer).await.this().await.unwrap_err();
        assert!(
            matches!(error, Error::NotUnderstood { .. }),
            "{answer}: {error:?}"
        );
        assert!(error.to_string().contains("check the address"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_one() {
    for answer in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"members\":",
    ] {
        let error = client_of(answer).await.members(&[]).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn a_problem_keeps_its_code_even_one_of_the_future() {
    let answer = "HTTP/1.1 409 Conflict\r\n\r\n\
        {\"type\":\"about:blank\",\"title\":\"Moon\",\"status\":409,\
        \"detail\":\"wait for the new moon\",\"code\":\"full_moon\"}";
    let error = client_of(answer).await.this().await.unwrap_err();
    assert_eq!(error.code(), Some("full_moon"), "{error:?}");
    assert_eq!(error.to_string(), "wait for the new moon");
}

#[tokio::test]
async fn a_watch_that_breaks_off_fails_and_one_with_a_goodbye_ends() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let everything = WatchFilter::all();

    let cut = format!("{HEAD}event: reset\nid: r-1\ndata: {{\"members\":[]}}\n\nevent: mem");
    let mut watch = client_of(cut.leak())
        .await
        .watch(&everything, None)
        .await
        .unwrap();
    let reset = watch.next().await.unwrap().unwrap();
    assert_eq!(reset.id.as_deref(), Some("r-1"));
    assert!(matches!(reset.event, WatchEvent::Reset(_)));
    let error = watch.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert_eq!(watch.next().await, None);

    let whole = format!("{HEAD}event: eclipse\ndata: {{}}\n\nevent: leaving\ndata: {{}}\n\n");
    let mut watch = client_of(whole.leak())
        .await
        .watch(&everything, None)
        .await
        .unwrap();
    assert_eq!(
        watch.next().await.unwrap().unwrap().event,
        WatchEvent::Leaving
    );
    assert_eq!(watch.next().await, None);
}
