//! The rate of a provider over several workers: each paces its part of the shards, so together they keep the rate, and
//! as customers are spread over all shards they use it up between them.

use crate::engine::{call, run, until};
use crate::provider::{Bell, Plan, Provider};
use crate::redis::{Disk, Server};
use autofunnel::app::store::{Place, Remote, Roles};
use autofunnel::engine::clock::Clock;
use autofunnel::fact::What;
use autofunnel::funnel::Files;
use autofunnel::wire::Method;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CUSTOMERS: usize = 240;
/// Calls in one second that the provider takes; a fifth is kept for what is not marketing.
const RATE: usize = 50;
/// The calls of one instant arrive in another: the rate is looked at over so many seconds.
const WINDOW_S: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(90);

fn files(provider: &Provider) -> Files {
    let settings = format!(
        "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\nchannels: {{ sms: text }}\nproviders:\n  text: {{ kind: http, url: \"http://{}/mail\", idempotency_header: idempotency-key, rate: {RATE}/s, json: {{ to: \"{{{{ message.to }}}}\" }} }}\n",
        provider.address()
    );
    let funnel = "funnel: Text\ntrigger: { event: go }\nsteps:\n  - sms: { text: Hello }\n    id: text\n";
    [("autofunnel.yaml", settings), ("text.yaml", funnel.to_owned())].map(|(name, text)| (name.to_owned(), text)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_keep_a_rate_between_them_and_use_it() {
    let server = Server::start(Disk::Never);
    let provider = Provider::start(Plan::new(1, 0, 0), Arc::new(Bell::default()));
    let place = |name: &str| {
        let (report, state) = (server.folder().join("report.db"), server.folder().join(name));
        Place::Redis(Remote { address: server.address(), report, state, accept_loss: true, wait_replicas: 0 })
    };
    let worker = Roles { web: false, worker: true, report: false };
    let running = run(&files(&provider), place("a"), Roles::ALL, Clock::system()).await;
    let beside = run(&files(&provider), place("b"), worker, Clock::system()).await;
    let began = Instant::now();
    while running.store.share() != 0.5 || beside.store.share() != 0.5 {
        assert!(began.elapsed() < PATIENCE, "each owns half");
        tokio::task::yield_now().await;
    }
    for n in 0..CUSTOMERS {
        let put = format!(r#"{{"profile":{{"phone":"+49170{n}"}},"consent":{{"sms":true}}}}"#);
        assert_eq!(call(&running, Method::Put, &format!("/v1/customers/c{n}"), &put).await.0, 202);
    }
    let events: Vec<String> = (0..CUSTOMERS).map(|n| format!(r#"{{"id":"e{n}","event":"go","customer":"c{n}"}}"#)).collect();
    assert_eq!(call(&running, Method::Post, "/v1/events", &format!("[{}]", events.join(","))).await.0, 202);
    for n in 0..CUSTOMERS {
        until(&running, &format!("c{n}"), |rows| rows.iter().any(|row| row.fact.what == What::Sent)).await;
    }
    let mut times: Vec<Instant> = provider.calls().iter().map(|call| call.at).collect();
    times.sort();
    assert_eq!(times.len(), CUSTOMERS);
    let whole = times[CUSTOMERS - 1] - times[0];
    let used = CUSTOMERS as f64 / whole.as_secs_f64() / RATE as f64;
    println!("two workers: {CUSTOMERS} calls in {whole:?}, {:.0} % of {RATE} in a second", used * 100.0);
    for (place, from) in times.iter().enumerate() {
        let within = times[place..].iter().take_while(|at| **at - *from < Duration::from_secs(WINDOW_S)).count();
        assert!(within <= RATE * (WINDOW_S as usize + 1), "{within} calls in {WINDOW_S} s; {RATE} are allowed in one");
    }
    // Marketing has four fifths; the shards are not all equally busy, and this machine may be.
    assert!((0.3..=0.9).contains(&used), "{used}");
    beside.stop().await;
    running.stop().await;
}
