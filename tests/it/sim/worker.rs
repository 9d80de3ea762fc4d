//! A worker: the real engine over a store that fails, its tasks polled one step at a time.

use super::fault::Faulty;
use super::outside;
use super::stage::{CLIENT, Stage};
use super::state::{Clock, Shared};
use super::story::Letter;
use autofunnel::app::workspace::world;
use autofunnel::channel::Tools;
use autofunnel::engine::deliver::Deliverer;
use autofunnel::engine::intake::{self, Form, Intake, Receipt};
use autofunnel::engine::link::Signer;
use autofunnel::engine::turner::Turner;
use autofunnel::engine::{Engine, Live, Meter};
use autofunnel::lang::time::Time;
use autofunnel::queue::{EFFECTS_QUEUED_MAX, Handler, Lane};
use autofunnel::store::{Delivery, Store};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::mpsc;

/// Most tasks of a worker at the same time.
pub const TASKS_MAX: usize = 24;
/// Room for effects that a worker hands over to itself.
const LANE: usize = 6;

/// Told when a task can go on.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Something under way.
struct Task {
    what: &'static str,
    future: BoxFuture<'static, ()>,
    flag: Arc<Flag>,
}

/// What senders were told: the places of the customers, and whether it was taken.
pub type Answers = Arc<Mutex<Vec<(Vec<usize>, bool)>>>;

/// See the module.
pub struct Worker {
    /// Its number; a worker that is started anew is another one.
    pub number: usize,
    /// Its store behind the faults.
    pub store: Arc<Faulty>,
    /// What it does not do before this instant: it stands still.
    pub stands_until: Time,
    intake: Arc<Intake>,
    turner: Arc<Turner>,
    deliverer: Arc<Deliverer>,
    lane: mpsc::Receiver<Delivery>,
    found: Arc<Mutex<Vec<Delivery>>>,
    tasks: Vec<Task>,
}

impl Worker {
    /// Starts one.
    pub fn start(
        (stage, edited): (&Stage, bool),
        number: usize,
        seed: u64,
        store: Arc<dyn Store>,
        shared: &Shared,
        clock: &Clock,
    ) -> Worker {
        let definitions = if edited { stage.edited.clone() } else { stage.definitions.clone() };
        let doors = intake::Shared::new(world(&definitions.current, BTreeMap::new()));
        let channels = outside::channels(stage, number, seed, shared);
        let store = Arc::new(Faulty { store, worker: number, shared: shared.clone(), clock: clock.clone() });
        let (effects, lane) = Lane::new(LANE.min(EFFECTS_QUEUED_MAX));
        let engine = Engine {
            store: store.clone(),
            live: Arc::new(intake::Shared::new(Live::new(definitions, channels, Signer::new(vec![7; 32])))),
            effects,
            traffic: Arc::default(),
            budgets: Arc::default(),
            recorder: None,
            tools: Tools { client: CLIENT.clone(), store: store.clone() },
            meter: Arc::new(Meter::default()),
        };
        let intake = Arc::new(Intake::new(store.clone(), Arc::new(doors)));
        Worker {
            number,
            store,
            stands_until: Time(i64::MIN),
            intake,
            turner: Arc::new(Turner { engine: engine.clone() }),
            deliverer: Arc::new(Deliverer { engine }),
            lane,
            found: Arc::default(),
            tasks: Vec::new(),
        }
    }

    /// How many tasks are under way.
    pub fn busy(&self) -> usize {
        self.tasks.len()
    }

    fn spawn(&mut self, what: &'static str, future: BoxFuture<'static, ()>) {
        self.tasks.push(Task { what, future, flag: Arc::new(Flag(AtomicBool::new(true))) });
    }

    /// Begins to send letters: events in one request, every other one in its own.
    pub fn send(&mut self, letters: Vec<(usize, String, Letter)>, answers: &Answers) {
        let (intake, answers) = (self.intake.clone(), answers.clone());
        let answer = move |whose: Vec<usize>, taken: bool| answers.lock().unwrap().push((whose, taken));
        let send = async move {
            let (mut whose, mut lines) = (Vec::new(), String::new());
            for (at, customer, letter) in letters {
                match letter {
                    Letter::Customer(body) => {
                        let taken = intake.put_customer(&customer, body.to_string().as_bytes()).await.is_ok();
                        answer(vec![at], taken);
                    }
                    Letter::Event(event) => {
                        whose.push(at);
                        lines.push_str(&format!("{event}\n"));
                    }
                }
            }
            if whose.is_empty() {
                return;
            }
            match intake.events(lines.as_bytes(), Form::Lines).await {
                Ok(Receipt::Many(items)) => {
                    let one = |(at, (_, item)): (usize, (usize, intake::Item))| answer(vec![at], item.is_ok());
                    whose.into_iter().zip(items).for_each(one);
                }
                Ok(Receipt::One(_)) | Err(_) => answer(whose, false),
            }
        };
        self.spawn("door", Box::pin(send));
    }

    /// A person says a word on what is held for review.
    pub fn review(&mut self, customer: String, effect: &str, release: bool) {
        let (intake, body) = (self.intake.clone(), json!({ "effect": effect }).to_string());
        let word = async move {
            // One who is not heard says it again when she looks at the list the next time.
            drop(intake.review("somebody", &customer, release, body.as_bytes()).await);
        };
        self.spawn("review", Box::pin(word));
    }

    /// Looks for customers to turn.
    pub fn turn(&mut self, most: usize) {
        let (store, turner) = (self.store.clone(), self.turner.clone());
        let turn = async move {
            if let Ok(claims) = store.claim(most).await
                && !claims.is_empty()
            {
                turner.handle(claims).await;
            }
        };
        self.spawn("turns", Box::pin(turn));
    }

    /// Looks for effects to deliver.
    pub fn look_for_effects(&mut self, most: usize) {
        let (store, found) = (self.store.clone(), self.found.clone());
        let look = async move {
            if let Ok(deliveries) = store.claim_effects(most).await {
                found.lock().unwrap().extend(deliveries);
            }
        };
        self.spawn("effects", Box::pin(look));
    }

    /// Takes up effects that were found or handed over.
    pub fn take_up(&mut self) {
        let mut new = std::mem::take(&mut *self.found.lock().unwrap());
        while self.tasks.len() + new.len() < TASKS_MAX
            && let Ok(delivery) = self.lane.try_recv()
        {
            new.push(delivery);
        }
        for delivery in new {
            let future = self.deliverer.handle(delivery);
            self.spawn("delivery", future);
        }
    }

    /// Tasks that can go on.
    pub fn ready(&self) -> impl Iterator<Item = usize> {
        let ready = |(_, task): &(usize, &Task)| task.flag.0.load(Ordering::Acquire);
        self.tasks.iter().enumerate().filter(ready).map(|(at, _)| at)
    }

    /// Lets one task go on; its name when it is done.
    pub fn poll(&mut self, at: usize) -> Option<&'static str> {
        let task = &mut self.tasks[at];
        task.flag.0.store(false, Ordering::Release);
        let waker = Waker::from(task.flag.clone());
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => None,
            Poll::Ready(()) => Some(self.tasks.remove(at).what),
        }
    }
}
