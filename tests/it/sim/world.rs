//! One seed: workers, senders, clock and trouble, one step after the other, and then calm.

use super::bug::Bug;
use super::fault::at_once;
use super::model::{Model, ModelStore};
use super::report::Report;
use super::stage::{OWN, REMOTE, Stage, kept};
use super::state::{Clock, Rates, Shared, State};
use super::story::{self, Post};
use super::truth::Truth;
use super::worker::{Answers, TASKS_MAX, Worker};
use crate::provider::Dice;
use autofunnel::lang::time::{MINUTE_MS, Time};
use autofunnel::store::Store;
use autofunnel::store::sqlite::{Options, SqliteStore};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// First instants: before clocks change in the north and in the south, before the turn of a year, before the
/// 29th of February.
const STARTS: [&str; 4] = ["2027-03-01T09:00:00Z", "2027-10-18T09:00:00Z", "2027-12-20T09:00:00Z", "2028-02-20T09:00:00Z"];
/// Most workers at the same time.
const WORKERS_MAX: usize = 3;
/// Most inputs of one claim in some seeds, so that turns often see only a part.
const INPUTS_FEW: usize = 2;
/// Steps after which a seed must have sent everything.
const STEPS_MAX: usize = 200_000;
/// After so many steps the store is asked how much it holds.
const COMPARED_EVERY: usize = 16;
/// Longest real pause of a task that is slept through in one go, in milliseconds.
const SLEEP_MS_MAX: i64 = 5_000;
/// Rows of one question to the read side.
pub const PAGE: usize = 500;

mod calm;
mod chaos;
mod person;

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Decides everything.
    pub seed: u64,
    /// What is broken on purpose.
    pub bug: Option<Bug>,
    /// Over the embedded store, not the model.
    pub embedded: bool,
    /// Every step is noted.
    pub traced: bool,
}

/// What came of it.
pub struct Played {
    /// What must not be; empty when all is well.
    pub wrong: Vec<String>,
    /// Counters.
    pub report: Report,
    /// Every step, if it was asked for.
    pub trace: Vec<String>,
    /// Customers of the seed.
    pub customers: usize,
}

/// Where everything is kept.
enum Ground {
    Model(Arc<Model>),
    File(tempfile::TempDir),
}

/// See the module.
pub struct World {
    setup: Setup,
    stage: &'static Stage,
    ground: Ground,
    shown: Arc<AtomicI64>,
    clock: Clock,
    shared: Shared,
    posts: Vec<Post>,
    answers: Answers,
    workers: Vec<Worker>,
    seats: Vec<(usize, Arc<ModelStore>)>,
    /// Epochs of all workers there ever were.
    epochs: Vec<(usize, u64)>,
    /// Workers that died and that nobody knows to be dead: number and epoch.
    unburied: Vec<(usize, u64)>,
    /// Workers that are presumed dead and go on.
    fenced: Vec<usize>,
    started: usize,
    /// The first instant.
    start: Time,
    /// The workspace has been edited: who starts now starts under the new one.
    edited: bool,
}

/// Plays one seed.
pub fn play(setup: Setup) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(tokio::task::unconstrained(async {
        let mut world = World::new(setup);
        let customers = world.posts.len();
        world.trouble().await;
        world.calm().await;
        if world.state().judge.wrong.is_empty() {
            let store = world.workers[0].store.store.clone();
            super::verdict::verdict(&world.shared, &*store, world.stage);
        }
        let mut state = world.state();
        let (wrong, report) = (std::mem::take(&mut state.judge.wrong), state.report.clone());
        Played { wrong, report, trace: state.trace.take().unwrap_or_default(), customers }
    }))
}

/// A folder in memory where there is one: the file's contents outlive workers, not machines.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let builder = |place: Option<&std::path::Path>| {
        let mut builder = tempfile::Builder::new();
        builder.prefix("autofunnel-sim-");
        place.map_or_else(|| builder.tempdir(), |place| builder.tempdir_in(place))
    };
    builder(Some(memory)).or_else(|_| builder(None)).unwrap()
}

impl World {
    fn new(setup: Setup) -> World {
        let mut dice = Dice::new(setup.seed, "simulation");
        let start = Time::parse(STARTS[(setup.seed / 2) as usize % STARTS.len()]).unwrap();
        let shown = Arc::new(AtomicI64::new(start.0));
        let clock: Clock = {
            let shown = shown.clone();
            Arc::new(move || Time(shown.load(Ordering::SeqCst)))
        };
        let ground = match setup.embedded {
            true => Ground::File(folder()),
            false => {
                let mut truth = Truth::new(clock.clone());
                truth.bug = setup.bug;
                if setup.seed.is_multiple_of(3) {
                    truth.inputs_most = INPUTS_FEW;
                }
                Ground::Model(Model::new(truth))
            }
        };
        let posts = story::write(&mut dice);
        let rates = Rates {
            fail: dice.below(25),
            lose: dice.below(25),
            die: dice.below(4),
            pause: 200 + dice.below(500),
            provider: 150 + dice.below(300),
        };
        let stage: &'static Stage = if setup.seed % 4 == 3 { &REMOTE } else { &OWN };
        let state = State::new(dice, rates, setup.bug, setup.embedded, setup.traced);
        World {
            setup,
            stage,
            ground,
            shown,
            clock,
            shared: Arc::new(Mutex::new(state)),
            posts,
            answers: Answers::default(),
            workers: Vec::new(),
            seats: Vec::new(),
            epochs: Vec::new(),
            unburied: Vec::new(),
            fenced: Vec::new(),
            started: 0,
            start,
            edited: false,
        }
    }

    /// What everybody shares.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap()
    }

    fn roll(&self, bound: usize) -> usize {
        self.state().dice.below(bound.max(1) as u64) as usize
    }

    fn now(&self) -> Time {
        (self.clock)()
    }

    /// Time goes by, for the store's clock and for pauses of tasks.
    async fn pass(&self, ms: i64) {
        self.shown.fetch_add(ms, Ordering::SeqCst);
        tokio::time::advance(Duration::from_millis(ms.clamp(0, SLEEP_MS_MAX) as u64)).await;
    }

    // ---- workers come and go ----

    fn start(&mut self) {
        self.started += 1;
        let number = self.started;
        let store: Arc<dyn Store> = match &self.ground {
            Ground::Model(model) => {
                let seat = model.join();
                self.epochs.push((number, seat.epoch));
                self.seats.push((number, seat.clone()));
                seat
            }
            Ground::File(folder) => {
                let clock = self.clock.clone();
                let options = Options::new(Arc::new(move || clock()));
                let store: Arc<dyn Store> = SqliteStore::open(&folder.path().join("engine.db"), options).unwrap();
                self.state().put_aside(&*store);
                store
            }
        };
        self.state().say(|| format!("w{number} starts"));
        let (hash, funnels, bundle) = kept(if self.edited { &self.stage.edited } else { &self.stage.definitions });
        if self.started == 1 || self.edited {
            at_once(store.put_definitions(hash, funnels, bundle)).unwrap();
        }
        let stage = (self.stage, self.edited);
        self.workers.push(Worker::start(stage, number, self.setup.seed, store, &self.shared, &self.clock));
    }

    /// A worker ends in the middle of everything.
    fn kill(&mut self, number: usize) {
        let Some(at) = self.workers.iter().position(|worker| worker.number == number) else { return };
        let mut state = self.state();
        state.say(|| format!("w{number} dies"));
        state.report.add("chaos", "a worker died");
        drop(state);
        drop(self.workers.remove(at));
        for post in self.posts.iter_mut().filter(|post| post.busy == Some(number)) {
            post.busy = None;
        }
        let known = self.fenced.iter().position(|fenced| *fenced == number).map(|at| self.fenced.remove(at)).is_some();
        match self.seats.iter().position(|(of, _)| *of == number).map(|at| self.seats.remove(at)) {
            Some((_, seat)) => {
                seat.die_unnoticed();
                if !known {
                    self.unburied.push((number, seat.epoch));
                }
            }
            None => {
                let now = self.now();
                self.state().judge.buried(number, now);
            }
        }
    }

    fn kill_the_dying(&mut self) {
        let dying = std::mem::take(&mut self.state().dying);
        for number in dying {
            self.kill(number);
        }
    }

    /// A worker is presumed dead, whether it is or not: it can do nothing more, or (where only its leases have
    /// run out) nothing with what it had in hand.
    fn fence(&mut self, number: usize, epoch: u64, for_good: bool) {
        let Ground::Model(model) = &self.ground else { return };
        let now = {
            let mut truth = model.truth();
            match for_good {
                true => truth.fence(epoch),
                false => truth.end_leases(epoch),
            }
            truth.now()
        };
        let reader = model.join();
        reader.die_unnoticed();
        let mut state = self.state();
        let what = if for_good { "a worker was presumed dead" } else { "a worker lost its leases" };
        state.say(|| format!("w{number}: {what}"));
        state.report.add("chaos", what);
        state.judge.buried(number, now);
        state.put_aside(&*reader);
    }

    // ---- trouble ----

    async fn trouble(&mut self) {
        self.start();
        for step in 0..STEPS_MAX {
            self.answers();
            if self.posts.iter().all(Post::is_done) || !self.state().judge.wrong.is_empty() {
                return;
            }
            self.kill_the_dying();
            if self.workers.is_empty() {
                self.start();
            }
            self.step().await;
            if step % COMPARED_EVERY == 0 {
                self.compare();
            }
        }
        let left: usize = self.posts.iter().map(Post::left).sum();
        self.state().judge.blame(format!("{left} letters are still not taken after {STEPS_MAX} steps"));
    }

    /// Goes on with something that a worker has under way; time passes when there is nothing.
    async fn poll_or_pass(&mut self, which: usize) {
        if !self.poll(which) {
            self.pass(1 + self.roll(60) as i64).await;
        }
    }

    async fn step(&mut self) {
        let which = self.roll(self.workers.len());
        let now = self.now();
        let awake = self.workers[which].stands_until <= now && self.workers[which].busy() < TASKS_MAX;
        match self.roll(1_000) {
            0..=599 => self.poll_or_pass(which).await,
            600..=699 if awake => {
                let most = 1 + self.roll(6);
                self.workers[which].turn(most);
            }
            700..=789 if awake => {
                let most = 1 + self.roll(8);
                self.workers[which].look_for_effects(most);
            }
            790..=829 if awake => self.send(which),
            830..=836 if awake => drop(self.review(which)),
            837..=954 => self.pass(1 + self.roll(3_000) as i64).await,
            955..=986 => {
                let ms = MINUTE_MS + self.roll(90 * MINUTE_MS as usize) as i64;
                self.pass(ms).await;
            }
            987..=999 => self.chaos(which),
            _ => {}
        }
    }

    /// Lets one task of a worker go on; false: none can.
    fn poll(&mut self, which: usize) -> bool {
        let now = self.now();
        let worker = &mut self.workers[which];
        if worker.stands_until > now {
            return false;
        }
        worker.take_up();
        let ready = worker.ready().count();
        if ready == 0 {
            return false;
        }
        let chosen = self.roll(ready);
        let Some(at) = self.workers[which].ready().nth(chosen) else { return false };
        let number = self.workers[which].number;
        if let Some(what) = self.workers[which].poll(at) {
            self.state().say(|| format!("   w{number} is done with {what}"));
        }
        true
    }

    fn send(&mut self, which: usize) {
        let number = self.workers[which].number;
        let now = self.workers[which].store.now();
        let mut letters = Vec::new();
        for _ in 0..1 + self.roll(3) {
            let at = self.roll(self.posts.len());
            let post = &mut self.posts[at];
            if post.busy.is_none()
                && let Some(letter) = post.next(now, &mut self.shared.lock().unwrap().dice)
            {
                post.busy = Some(number);
                letters.push((at, post.customer.clone(), letter));
            }
        }
        if !letters.is_empty() {
            self.workers[which].send(letters, &self.answers);
        }
    }

    fn answers(&mut self) {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for (whose, taken) in answers {
            for at in whose {
                self.posts[at].busy = None;
                if taken {
                    self.posts[at].answered();
                }
            }
        }
    }

    /// The store holds as much as the judge knows of.
    fn compare(&self) {
        let Ground::Model(model) = &self.ground else { return };
        let sizes = model.truth().sizes();
        let mut state = self.state();
        let unread: usize = state.judge.hers.values().map(super::judge::Her::unread).sum();
        let expected = (unread, state.judge.outbox.len());
        if sizes != expected {
            state.judge.blame(format!("inbox and outbox hold {sizes:?}, it is {expected:?}"));
        }
    }
}
