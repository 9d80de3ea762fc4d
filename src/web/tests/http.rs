//! Requests that are too large, too slow, too clever or plainly broken.

use super::*;
use crate::web::route::{BODY_BYTES_MAX, HOOK_BYTES_MAX};

fn head(server: &Server, extra: &str) -> String {
    let token = server.token(Scope::Ingest);
    format!("POST /v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n{extra}\r\n", server.address)
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_its_length() {
    let server = Server::start().await;
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    let with_length = format!("{}{large}", head(&server, &format!("content-length: {}\r\n", large.len())));
    let chunked = format!("{}{:x}\r\n{large}\r\n0\r\n\r\n", head(&server, "transfer-encoding: chunked\r\n"), large.len());
    let endless = head(&server, "content-length: 99999999999\r\n");
    for request in [with_length, chunked, endless] {
        let got = server.raw(request.as_bytes()).await;
        assert_eq!((got.status, got.header("connection")), (413, Some("close")), "{}", got.head);
        assert!(got.json()["error"].as_str().unwrap().contains("1048576"));
    }
    // One that just fits is read, and refused only for what it says.
    let fits = " ".repeat(BODY_BYTES_MAX - 2) + "{}";
    assert_eq!(server.post("/v1/events", server.token(Scope::Ingest), &fits).await.status, 400);
    // Webhooks have a lower limit, which counts before any signature.
    assert_eq!(server.post("/hooks/shop", "", &" ".repeat(HOOK_BYTES_MAX + 1)).await.status, 413);
    assert_eq!(server.post("/hooks/shop", "", &" ".repeat(HOOK_BYTES_MAX)).await.status, 401);
}

#[tokio::test]
async fn compressed_bodies_are_not_taken() {
    let server = Server::start().await;
    let got = server.send("POST", "/v1/events", server.token(Scope::Ingest), "content-encoding: gzip\r\n", "\u{1f}").await;
    assert_eq!(got.status, 415);
}

#[tokio::test]
async fn a_request_with_two_meanings_has_none() {
    let server = Server::start().await;
    let body = event("e1");
    let smuggled = format!("0\r\n\r\nGET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    for extra in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: 4\r\ntransfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "content-length : 5\r\n",
        "x: a\r\n b\r\n",
        "x\n y: z\r\n",
    ] {
        let got = server.raw(format!("{}{smuggled}", head(&server, extra)).as_bytes()).await;
        assert_eq!(got.status, 400, "{extra:?} → {}", got.head);
        assert_eq!(got.body.matches("HTTP/1.1").count(), 0, "one answer only: {extra:?}");
    }
    let chunked = |extra: &str| format!("{}{:x}\r\n{body}\r\n{smuggled}", head(&server, extra), body.len());
    for extra in
        ["content-length: 4\r\ntransfer-encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 4\r\n"]
    {
        let got = server.raw(chunked(extra).as_bytes()).await;
        assert_eq!((got.status, got.header("connection")), (400, Some("close")), "{extra:?}");
        assert!(got.json()["error"].as_str().unwrap().contains("two ways"), "{}", got.body);
    }
    assert!(server.store.inputs().is_empty());
    // Chunks alone are fine, but nothing behind them is taken for another request.
    let got = server.raw(chunked("transfer-encoding: chunked\r\n").as_bytes()).await;
    assert_eq!((got.status, got.body.as_str()), (202, r#"{"status":"accepted"}"#));
    assert_eq!(server.store.inputs().len(), 1);
}

#[tokio::test]
async fn paths_that_lead_nowhere_lead_nowhere() {
    let server = Server::start().await;
    let admin = server.token(Scope::Admin);
    for (path, wanted) in [
        ("/hooks/..%2fadmin", vec![404, 405]),
        ("/hooks/%2e%2e/v1/events", vec![404]),
        ("//v1/events", vec![404]),
        ("/v1/events/", vec![404]),
        ("/v1/customers/%00", vec![400]),
        ("/v1/customers/%ff", vec![400]),
        ("/nothing", vec![404]),
        ("/V1/events", vec![404]),
    ] {
        let got = server.get(path, admin).await;
        assert!(wanted.contains(&got.status), "{path} → {}", got.status);
        assert!(got.json()["error"].is_string(), "{path}");
    }
    let long = server.get(&format!("/v1/customers/{}", "x".repeat(8 * 1024)), admin).await;
    assert_eq!(long.status, 404);
    let nul = server.raw(b"GET /v1/\0 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(nul.status, 400);
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    assert_eq!(server.send("GET", "/livez", "", &many, "").await.status, 431);
}

#[tokio::test]
async fn bad_json_of_every_kind_is_a_bad_request_with_a_sentence() {
    let server = Server::start().await;
    let deep = "[".repeat(10_000);
    let keys = format!("{{{}\"z\":1}}", (0..50_000).map(|i| format!("\"k{i}\":1,")).collect::<String>());
    for body in [
        "",
        "{",
        "nonsense",
        "{\"id\":1e999999}",
        "{\"id\":\"\\ud800\"}",
        "{\"id\":\"1\",\"id\":\"2\"}",
        "null",
        "7",
        &deep,
        &keys,
    ] {
        let got = server.post("/v1/events", server.token(Scope::Ingest), body).await;
        assert_eq!(got.status, 400, "{}", body.chars().take(20).collect::<String>());
        assert!(!got.json()["error"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_head_or_body_that_never_ends_is_cut_off() {
    let short = Duration::from_millis(80);
    let times = Times { head: short, idle: short * 2, ..Times::default() };
    let server = Server::start_with(Options::default(), times).await;
    for beginning in ["", "GET /livez HTTP/1.1\r\nhost"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(until_closed(stream).await, "", "{beginning}");
    }
    // After an answer the connection rests, and is then closed.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let begun = std::time::Instant::now();
    stream.write_all(format!("GET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).as_bytes()).await.unwrap();
    assert!(until_closed(stream).await.ends_with(r#"{"status":"live"}"#));
    assert!(begun.elapsed() >= short * 2, "an idle connection is kept for a while");
}

#[tokio::test]
async fn a_body_that_drips_times_out() {
    let times = Times { body: Duration::from_millis(50), ..Times::default() };
    let server = Server::start_with(Options::default(), times).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{}{{", head(&server, "content-length: 100\r\n")).as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn connections_are_used_again_and_pipelined_requests_answered_in_order() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let host = format!("host: {}\r\n", server.address);
    let body = event("e1");
    let first = format!("{}{body}", head(&server, &format!("content-length: {}\r\n", body.len())));
    let second = format!("GET /livez HTTP/1.1\r\n{host}connection: close\r\n\r\n");
    stream.write_all(format!("{first}{second}").as_bytes()).await.unwrap();
    let text = until_closed(stream).await;
    let (accepted, live) = (text.find("202 Accepted").unwrap(), text.find("\"live\"").unwrap());
    assert!(accepted < live);
}

#[tokio::test]
async fn stopping_lets_a_request_finish_and_takes_no_more() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = event("e1");
    let request = format!("{}{body}", head(&server, &format!("content-length: {}\r\n", body.len())));
    let (start, rest) = request.split_at(request.len() - 10);
    stream.write_all(start.as_bytes()).await.unwrap();
    // Another request is answered, so the server has certainly seen the first one begin.
    assert_eq!(server.get("/readyz", "").await.status, 200);
    let (address, store) = (server.address, server.store.clone());
    let stopping = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(parse(&until_closed(stream).await).status, 202);
    stopping.await.unwrap();
    assert_eq!(store.inputs().len(), 1);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn foreign_host_names_are_turned_away() {
    let server = Server::start().await;
    for host in ["evil.example", "127.0.0.1", "localhost:1"] {
        assert_eq!(server.send("GET", "/livez", "", &format!("host: {host}\r\n"), "").await.status, 421, "{host}");
    }
    let localhost = format!("host: localhost:{}\r\n", server.address.port());
    assert_eq!(server.send("GET", "/livez", "", &localhost, "").await.status, 200);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let times = Times { stall: Duration::from_millis(80), ..Times::default() };
    let server = Server::start_with(Options { open_pages: true, ..Options::default() }, times).await;
    // Far more than the buffers of two sockets hold.
    let html = "x".repeat(64 * 1024 * 1024);
    let message = crate::store::read::KeptMessage {
        id: "m".to_owned(),
        customer: "c1".to_owned(),
        channel: "email".to_owned(),
        to: String::new(),
        funnel: String::new(),
        template: String::new(),
        subject: String::new(),
        text: String::new(),
        html,
        at: crate::lang::time::Time(0),
    };
    server.store.rows.lock().unwrap().messages.push(message);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("GET /inbox/m/preview HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).as_bytes()).await.unwrap();
    let mut first = [0; 8];
    stream.read_exact(&mut first).await.unwrap();
    // A server that is stopping waits for its last connection, at most ten seconds.
    let begun = std::time::Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the connection was kept");
}
