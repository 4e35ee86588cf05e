//! The worker, the gate, the observer and the scene that these tests share.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ekiden_actors::{
    BatchReport, CallError, CallOptions, Exit, Factory, Handle, KillSwitch, MethodError, MethodLimits, Observer,
    OpenError, Outcomes, Part, Reply, RestartLimits, RunError, Runner, RunnerSpec, RunnerState, RunnerStatus, Runtime,
    Weight, Worker,
};

/// The bound of every wait. It passes only where something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn size(size: usize) -> NonZeroUsize {
    NonZeroUsize::new(size).expect("not zero")
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a whole test, which fails if it takes too long.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (sender, done) = channel();
    let thread = thread::Builder::new().name("test".to_owned()).spawn(move || {
        test();
        let _ = sender.send(());
    });
    let thread = thread.expect("a thread");
    match done.recv_timeout(LONG * 2) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONG, future).await.expect("it hangs") })
}

/// Where a worker stops until the test lets it go on.
#[derive(Debug)]
pub(crate) struct Gate {
    entered: Sender<()>,
    opened: Mutex<Receiver<()>>,
}

/// The test's side of a gate. Dropping it opens the gate for good.
pub(crate) struct Keeper {
    entered: Receiver<()>,
    open: Sender<()>,
}

pub(crate) fn gate() -> (Arc<Gate>, Keeper) {
    let (enter, entered) = channel();
    let (open, opened) = channel();
    (Arc::new(Gate { entered: enter, opened: Mutex::new(opened) }), Keeper { entered, open })
}

impl Gate {
    pub(crate) fn pass(&self) {
        let _ = self.entered.send(());
        let _ = lock(&self.opened).recv();
    }
}

impl Keeper {
    /// Waits until somebody stands at the gate.
    pub(crate) fn wait(&self) {
        self.entered.recv_timeout(LONG).expect("nobody came to the gate");
    }

    pub(crate) fn open(&self) {
        let _ = self.open.send(());
    }

    /// What opens the gate once for whoever stands there.
    pub(crate) fn opener(&self) -> impl Fn() + Send + Sync + use<> {
        let open = self.open.clone();
        move || {
            let _ = open.send(());
        }
    }
}

/// What a call does when it runs.
#[derive(Debug, Default)]
pub(crate) enum Act {
    #[default]
    Echo,
    /// The method refuses the batch.
    Refuse,
    Panic,
    /// It panics with something that is not a string.
    PanicOddly,
    /// It panics when its pieces are joined.
    PanicInJoin,
    /// The method returns too few outputs.
    Swallow,
    Gate(Arc<Gate>),
    /// As `Gate`, and is lost for this reason after it.
    GateAndLost(Arc<Gate>, Exit),
    /// As `Gate`, and panics after it.
    GateAndPanic(Arc<Gate>),
    /// Does something when the input is dropped.
    #[expect(dead_code, reason = "it is there to be dropped")]
    OnDrop(OnDrop),
}

pub(crate) struct OnDrop(pub(crate) Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for OnDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDrop")
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) value: u64,
    pub(crate) rows: usize,
    pub(crate) act: Act,
}

/// The right answer.
pub(crate) fn answer(value: u64, rows: usize) -> Vec<u64> {
    (0..rows as u64).map(|row| value * 1_000 + row).collect()
}

type Open = Box<dyn Fn(usize, usize) -> Result<(), OpenError> + Send + Sync>;
type Shared = fn(usize) -> Option<&'static str>;
type Before = Box<dyn Fn(&[u64]) + Send + Sync>;

/// What the workers of one runner do and have done.
pub(crate) struct Script {
    /// Given the slot and how many have been opened before.
    open: Open,
    /// Sees the values of each batch before it runs.
    before: Before,
    on_drop: Box<dyn Fn() + Send + Sync>,
    kill_switch: Option<KillSwitch>,
    cures_devices: bool,
    /// The most rows that it has the memory for.
    memory: AtomicUsize,
    /// Whether there are no threads to be had.
    no_threads: bool,
    has_room: bool,
    shared_device: Shared,
    depth: usize,
    pub(crate) opened: AtomicUsize,
    /// The values of each batch that has been launched.
    pub(crate) launched: Mutex<Vec<Vec<u64>>>,
    /// The values and the rows of each batch, the thread that ran it.
    pub(crate) batches: Mutex<Vec<(Vec<u64>, usize, String)>>,
}

pub(crate) struct Toy(Arc<Script>);

impl Worker for Toy {
    type Input = Input;
    type Output = Vec<u64>;
    type Launched = ();

    fn can_share_batch(_: &Input, _: &Input) -> bool {
        true
    }

    fn depth(&self) -> usize {
        self.0.depth
    }

    fn launch(&mut self, _: usize, parts: &[Part<'_, Input>]) -> Result<(), RunError> {
        lock(&self.0.launched).push(parts.iter().map(|part| part.input.value).collect());
        Ok(())
    }

    fn finish(&mut self, _: usize, parts: &[Part<'_, Input>], (): ()) -> Result<Outcomes<Vec<u64>>, RunError> {
        let values: Vec<u64> = parts.iter().map(|part| part.input.value).collect();
        let rows = parts.iter().map(|part| part.rows.len()).sum();
        let thread = thread::current().name().unwrap_or_default().to_owned();
        lock(&self.0.batches).push((values.clone(), rows, thread));
        (self.0.before)(&values);
        if rows > self.0.memory.load(Ordering::Relaxed) {
            return Err(MethodError::out_of_memory(format!("{rows} rows")).into());
        }
        for part in parts {
            match &part.input.act {
                Act::Echo | Act::PanicInJoin | Act::OnDrop(_) => {}
                Act::Refuse => return Err(MethodError::invalid_input("refused").into()),
                Act::Panic => panic!("told to"),
                Act::PanicOddly => std::panic::panic_any(7_u8),
                Act::Swallow => return Ok(Vec::new()),
                Act::Gate(gate) => gate.pass(),
                Act::GateAndLost(gate, exit) => {
                    gate.pass();
                    return Err(RunError::Lost(exit.clone()));
                }
                Act::GateAndPanic(gate) => {
                    gate.pass();
                    panic!("told to, behind the gate");
                }
            }
        }
        let output = |part: &Part<'_, Input>| answer(part.input.value, part.input.rows)[part.rows.clone()].to_vec();
        Ok(parts.iter().map(output).map(Ok).collect())
    }

    fn kill_switch(&self) -> Option<KillSwitch> {
        self.0.kill_switch.clone()
    }

    fn join(input: &Input, pieces: Vec<Vec<u64>>) -> Result<Vec<u64>, MethodError> {
        assert!(!matches!(input.act, Act::PanicInJoin), "told to, in join");
        Ok(pieces.concat())
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        (self.0.on_drop)();
    }
}

struct Maker(Arc<Script>);

impl Factory for Maker {
    type Worker = Toy;

    fn open(&self, slot: usize) -> Result<Toy, OpenError> {
        let nth = self.0.opened.fetch_add(1, Ordering::Relaxed);
        (self.0.open)(slot, nth)?;
        Ok(Toy(Arc::clone(&self.0)))
    }

    fn has_room(&self, _: usize) -> bool {
        self.0.has_room
    }

    fn shared_device(&self, slot: usize) -> Option<String> {
        (self.0.shared_device)(slot).map(str::to_owned)
    }

    fn cures_lost_devices(&self) -> bool {
        self.0.cures_devices
    }

    fn spawn(&self, _: usize, name: String, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        if self.0.no_threads {
            return Err(io::Error::other("too many"));
        }
        thread::Builder::new().name(name).spawn(body).map(drop)
    }
}

/// Counts what happens, and lets tests wait for it.
#[derive(Default)]
pub(crate) struct Counts {
    counts: Mutex<BTreeMap<&'static str, usize>>,
    changed: Condvar,
}

impl Counts {
    fn add(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
        self.changed.notify_all();
    }

    pub(crate) fn of(&self, what: &'static str) -> usize {
        lock(&self.counts).get(what).copied().unwrap_or_default()
    }

    /// Waits until each has been counted this often, and no more often. Callers have their answers before that.
    pub(crate) fn settle(&self, expected: &[(&'static str, usize)]) {
        for &(what, times) in expected {
            self.wait(what, times);
            assert_eq!(self.of(what), times, "{what:?}");
        }
    }

    /// Waits until `what` has been counted `times` times.
    pub(crate) fn wait(&self, what: &'static str, times: usize) {
        let missing =
            |counts: &mut BTreeMap<&'static str, usize>| counts.get(what).copied().unwrap_or_default() < times;
        let wait = self.changed.wait_timeout_while(lock(&self.counts), LONG, missing);
        let (counts, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{what:?} was not counted {times} times: {counts:?}");
    }
}

impl Observer for Counts {
    fn call_ended(&self, _: usize, error: Option<&CallError>, _: Duration) {
        self.add(error.map_or("answered", CallError::code));
    }

    fn batch_ran(&self, _: usize, batch: &BatchReport<'_>) {
        assert!(batch.rows > 0 && !batch.waits.is_empty());
        self.add("batch ran");
    }

    fn out_of_memory(&self, _: usize, rows: usize) {
        assert!(rows > 0);
        self.add("out of memory");
    }

    fn state_changed(&self, state: RunnerState, _: Option<&str>) {
        self.add(state.name());
    }

    fn executor_exited(&self, _: usize, exit: &Exit) {
        self.add("executor exited");
        self.add(exit.kind());
    }

    fn executor_restarted(&self, _: usize) {
        self.add("executor restarted");
    }
}

/// What a test sets up.
pub(crate) struct Stage {
    pub(crate) executors: usize,
    pub(crate) limits: MethodLimits,
    pub(crate) restarts: RestartLimits,
    pub(crate) open: Open,
    pub(crate) before: Before,
    pub(crate) on_drop: Box<dyn Fn() + Send + Sync>,
    /// Whether a new worker has a new device.
    pub(crate) cures_devices: bool,
    /// The most rows that a device has the memory for.
    pub(crate) memory: usize,
    /// What kills a worker.
    pub(crate) kill_switch: Option<KillSwitch>,
    /// Whether there are no threads to be had.
    pub(crate) no_threads: bool,
    /// Whether a worker may be opened beside the one that it is to replace.
    pub(crate) has_room: bool,
    /// What the executor of a slot shares with others.
    pub(crate) shared_device: Shared,
    /// How many batches an executor may have been given.
    pub(crate) depth: usize,
    pub(crate) weight: f64,
    /// Where it is launched, if somewhere.
    pub(crate) runtime: Option<Arc<Runtime>>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            executors: 1,
            limits: MethodLimits { timeout: None, ..MethodLimits::default() },
            restarts: RestartLimits {
                max_restarts: 1_000,
                window: LONG,
                backoff: ms(1),
                max_backoff: ms(2),
                max_abandoned: 1,
            },
            open: Box::new(|_, _| Ok(())),
            before: Box::new(|_| ()),
            on_drop: Box::new(|| ()),
            cures_devices: false,
            memory: usize::MAX,
            kill_switch: None,
            no_threads: false,
            has_room: true,
            shared_device: |_| None,
            depth: 1,
            weight: 1.0,
            runtime: None,
        }
    }
}

pub(crate) struct Scene {
    pub(crate) runner: Runner<Toy>,
    pub(crate) method: Handle<Toy>,
    pub(crate) script: Arc<Script>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) runtime: Arc<Runtime>,
}

impl Stage {
    /// Launches the runner.
    pub(crate) fn launch(self) -> Scene {
        let runtime = self.runtime.unwrap_or_else(|| Arc::new(Runtime::start().expect("a runtime")));
        let counts = Arc::new(Counts::default());
        let script = Arc::new(Script {
            open: self.open,
            before: self.before,
            on_drop: self.on_drop,
            cures_devices: self.cures_devices,
            memory: AtomicUsize::new(self.memory),
            kill_switch: self.kill_switch,
            no_threads: self.no_threads,
            has_room: self.has_room,
            shared_device: self.shared_device,
            depth: self.depth,
            launched: Mutex::new(Vec::new()),
            opened: AtomicUsize::new(0),
            batches: Mutex::new(Vec::new()),
        });
        let spec = RunnerSpec {
            name: "toy".to_owned(),
            executors: size(self.executors),
            methods: vec![self.limits],
            restarts: self.restarts,
            weight: Weight::new(self.weight).expect("a weight"),
            observer: Arc::clone(&counts) as Arc<dyn Observer>,
        };
        let runner = runtime.launch(spec, Maker(Arc::clone(&script)));
        let method = runner.method(0);
        Scene { runner, method, script, counts, runtime }
    }

    /// Launches the runner, and waits until it is ready.
    pub(crate) fn start(self) -> Scene {
        let scene = self.launch();
        block_on(scene.runner.ready()).expect("it is ready");
        scene
    }
}

impl Scene {
    /// Gives the devices more memory, or less.
    pub(crate) fn set_memory(&self, rows: usize) {
        self.script.memory.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn try_call(
        &self,
        value: u64,
        rows: usize,
        act: Act,
        timeout: Option<Duration>,
    ) -> Result<Reply<Toy>, CallError> {
        self.method.call(Input { value, rows, act }, size(rows), CallOptions { timeout, ..CallOptions::default() })
    }

    pub(crate) fn call(&self, value: u64, act: Act) -> Reply<Toy> {
        self.try_call(value, 1, act, None).expect("it is taken")
    }

    /// Has an executor busy until the keeper opens.
    pub(crate) fn occupy(&self, value: u64) -> (Reply<Toy>, Keeper) {
        let (gate, keeper) = gate();
        let reply = self.call(value, Act::Gate(gate));
        keeper.wait();
        (reply, keeper)
    }

    /// The values that have reached a worker, batch by batch.
    pub(crate) fn ran(&self) -> Vec<Vec<u64>> {
        lock(&self.script.batches).iter().map(|(values, ..)| values.clone()).collect()
    }

    /// Waits until the runner's status is as `expected`.
    pub(crate) fn until(&self, state: RunnerState) -> RunnerStatus {
        self.counts.wait(state.name(), 1);
        let status = self.runner.status();
        assert_eq!(status.state, state);
        status
    }
}
