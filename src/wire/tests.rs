//! The client against servers that misbehave.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request on every connection with `answer`; counts connections.
async fn server(answer: &'static [u8]) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(serve(socket, answer));
        }
    });
    (url, connections)
}

async fn serve(mut socket: TcpStream, answer: &[u8]) {
    let mut buffer = [0; 4096];
    while let Ok(read) = socket.read(&mut buffer).await {
        if read == 0 || answer.is_empty() || socket.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn post(url: &str) -> Request {
    Request {
        method: Method::Post,
        url: url.to_owned(),
        headers: vec![("x-a".to_owned(), "b".to_owned())],
        body: Bytes::from_static(b"hello"),
        timeout: Duration::from_secs(5),
        reach: Reach::default(),
    }
}

#[tokio::test]
async fn connections_are_reused_and_redirects_not_followed() {
    let (url, connections) =
        server(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nok").await;
    let client = Client::new().unwrap();
    for _ in 0..20 {
        let answer = client.send(&post(&url)).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("Retry-After"), &answer.body[..], answer.complete),
            (302, Some("7"), &b"ok"[..], true)
        );
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refused_connection_wrote_nothing_and_a_closed_one_is_ambiguous() {
    let client = Client::new().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    assert!(matches!(client.send(&post(&gone)).await, Err(WireError::BeforeSend(_))));
    let (closes, connections) = server(b"").await;
    assert!(matches!(client.send(&post(&closes)).await, Err(WireError::Ambiguous(_))));
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1, "it was tried again behind our back");
}

#[tokio::test]
async fn silence_after_sending_is_ambiguous() {
    let (url, _) = server(b"HTTP/1.1 200 OK\r\n").await;
    let request = Request { timeout: Duration::from_millis(50), ..post(&url) };
    assert!(matches!(Client::new().unwrap().send(&request).await, Err(WireError::Ambiguous(_))));
}

#[tokio::test]
async fn an_endless_body_is_cut_and_a_broken_one_told() {
    let mut long = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    long.resize(long.len() + 200_000, b'x');
    let client = Client::new().unwrap();
    let (url, _) = server(long.leak()).await;
    let answer = client.send(&post(&url)).await.unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.complete), (200, RESPONSE_BYTES_MAX, false));
    let (url, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    let answer = client.send(&Request { timeout: Duration::from_millis(50), ..post(&url) }).await.unwrap();
    assert_eq!((&answer.body[..], answer.complete), (&b"abc"[..], false));
}

#[tokio::test]
async fn s35_a_head_without_end_is_no_answer() {
    let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    head.resize(head.len() + 4_000_000, b'x');
    let (url, _) = server(head.leak()).await;
    let answer = Client::new().unwrap().send(&Request { timeout: Duration::from_secs(30), ..post(&url) }).await;
    assert!(matches!(answer, Err(WireError::Ambiguous(_))), "{answer:?}");
}

#[tokio::test]
async fn s36_the_engine_never_calls_itself() {
    let (url, connections) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = Client::new().unwrap();
    let at = url.trim_start_matches("http://").trim_end_matches("/x").parse().unwrap();
    client.clone().never_calls(at);
    let Err(WireError::Invalid(why)) = client.send(&post(&url)).await else { panic!("it was called") };
    assert!(why.contains("own address"), "{why}");
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_http_does_not_allow_is_never_sent() {
    let client = Client::new().unwrap();
    let mut request = post("http://127.0.0.1:1/");
    request.headers.push(("x".to_owned(), "a\r\nb: c".to_owned()));
    assert!(matches!(client.send(&request).await, Err(WireError::Invalid(_))));
    let secret = post("https://user:hunter2@example.com/");
    let Err(why) = client.send(&secret).await else { panic!("sent") };
    assert!(!why.to_string().contains("hunter2"));
}

/// Answers each request; `once`: and closes its connection then. Counts connections that have come and gone.
async fn closing(once: bool) -> (String, [Arc<std::sync::atomic::AtomicUsize>; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let counts: [Arc<std::sync::atomic::AtomicUsize>; 2] = Default::default();
    let [came, gone] = counts.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            came.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let gone = gone.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while socket.read(&mut buffer).await.unwrap_or(0) > 0 {
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    if once {
                        break;
                    }
                }
                drop(socket);
                gone.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
    });
    (url, counts)
}

/// Lets everybody work until so many connections have gone, and a while longer, so that both ends know of it.
async fn until_gone(gone: &std::sync::atomic::AtomicUsize, count: usize) {
    for _ in 0..100_000 {
        if gone.load(std::sync::atomic::Ordering::SeqCst) >= count {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{count} connections have not gone");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_rested_is_not_used() {
    let (url, [came, gone]) = closing(true).await;
    let client = Client::new().unwrap();
    for call in 1..=3 {
        let answer = client.send(&post(&url)).await.unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.complete), (200, &b"ok"[..], true));
        until_gone(&gone, call).await;
        assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), call);
    }
}

#[tokio::test]
async fn calls_at_the_same_time_have_connections_of_their_own_and_leave_them_to_the_next() {
    let (url, [came, gone]) = closing(false).await;
    let client = Client::new().unwrap();
    for _ in 0..3 {
        let requests = [post(&url), post(&url), post(&url)];
        let answers = futures_util::future::join_all(requests.iter().map(|request| client.send(request))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.complete)));
    }
    assert_eq!(came.load(std::sync::atomic::Ordering::SeqCst), 3);
    // Nobody calls any more: what rests for too long is put away all the same.
    tokio::time::pause();
    tokio::time::advance(IDLE_TIMEOUT * 2).await;
    until_gone(&gone, 3).await;
}
