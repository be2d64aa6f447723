//! Jobs and threads on CPUs: the least scheduler that exercises hal.
//!
//! Each CPU runs jobs on its boot stack (its idle task). A [`Thread`] is a hal task; a job of some CPU switches to it, and it
//! comes back to the idle task of whichever CPU it is on when it ends or asks to go on elsewhere.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use tyn_hal::cpu::{self, CpuId, PerCpu};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::task::{self, Task, UserState};

use crate::check::{Outcome, need};

type Job = Box<dyn FnOnce() + Send>;

struct Cpu {
    idle: Once<Task>,
    jobs: SpinLock<VecDeque<Job>>,
    /// The thread that runs here.
    current: SpinLock<Option<Arc<Thread>>>,
}

static CPUS: Once<PerCpu<Cpu>> = Once::new();

fn this() -> &'static Cpu {
    all().get()
}

fn all() -> &'static PerCpu<Cpu> {
    CPUS.get()
        .expect("invariant: set before other CPUs are released")
}

fn idle() -> &'static Task {
    this()
        .idle
        .get()
        .expect("invariant: set before the CPU takes jobs")
}

/// Prepares all CPUs; called once by CPU 0.
pub(crate) fn init() {
    CPUS.set(PerCpu::new(|_| Cpu {
        idle: Once::new(),
        jobs: SpinLock::new(VecDeque::new()),
        current: SpinLock::new(None),
    }));
    this().idle.set(Task::adopt_current());
}

/// Returns every CPU's id.
pub(crate) fn ids() -> impl Iterator<Item = CpuId> + Clone {
    (0..cpu::count() as u32).map(CpuId)
}

/// Returns every CPU's id but CPU 0's.
pub(crate) fn others() -> impl Iterator<Item = CpuId> + Clone {
    ids().skip(1)
}

/// Gives `cpu` a job.
pub(crate) fn on(cpu: CpuId, job: impl FnOnce() + Send + 'static) {
    all().of(cpu).jobs.lock().push_back(Box::new(job));
    cpu::kick(cpu);
}

/// Runs one job of this CPU, if there is one.
fn run_job() -> bool {
    let job = this().jobs.lock().pop_front();
    let Some(job) = job else { return false };
    job();
    // CPU 0 may be waiting for what the job did.
    cpu::kick(CpuId(0));
    true
}

/// What the further CPUs do.
pub(crate) fn serve() -> ! {
    this().idle.set(Task::adopt_current());
    loop {
        if !run_job() {
            cpu::wait_for_interrupt();
        }
    }
}

/// Runs this CPU's jobs until `condition` holds. For CPU 0's boot stack.
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        if !run_job() && !condition() {
            cpu::wait_for_interrupt();
        }
    }
}

/// Runs a job on every CPU at once, CPU 0 included, and waits for all.
pub(crate) fn everywhere(job: impl Fn(CpuId) + Send + Sync + 'static) {
    let job = Arc::new(job);
    for id in ids() {
        let job = Arc::clone(&job);
        on(id, move || job(id));
    }
    wait_until(|| Arc::strong_count(&job) == 1);
}

type Body = Box<dyn FnOnce(&Arc<Thread>) + Send>;

/// A task of the test.
pub(crate) struct Thread {
    task: Once<Task>,
    body: SpinLock<Option<Body>>,
}

impl Thread {
    /// Makes a thread, to be started by [`Thread::resume`].
    pub(crate) fn new(
        user: UserState,
        body: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> Outcome<Arc<Self>> {
        let thread = Arc::new(Self {
            task: Once::new(),
            body: SpinLock::new(Some(Box::new(body))),
        });
        thread
            .task
            .set(need("task", Task::new(user, Box::new(Self::main)))?);
        Ok(thread)
    }

    /// Starts a thread on `cpu`. It has ended, and its task is dropped, when the returned handle is the only one.
    pub(crate) fn spawn(
        cpu: CpuId,
        user: UserState,
        body: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> Outcome<Arc<Self>> {
        let thread = Self::new(user, body)?;
        Self::resume(&thread, cpu);
        Ok(thread)
    }

    /// Where every thread starts. It captures nothing, since what it owns when it ends is never dropped.
    fn main() {
        let me = this().current.lock().clone();
        let me = me.expect("invariant: set by the job that switched here");
        let body = me.body.lock().take();
        let body = body.expect("invariant: a thread starts once");
        body(&me);
        drop(me);
        task::finish(idle())
    }

    /// Returns its task.
    pub(crate) fn task(&self) -> &Task {
        self.task
            .get()
            .expect("invariant: set before the thread runs")
    }

    /// Lets a thread that is not running go on on `cpu`.
    pub(crate) fn resume(thread: &Arc<Self>, cpu: CpuId) {
        let thread = Arc::clone(thread);
        on(cpu, move || {
            *this().current.lock() = Some(Arc::clone(&thread));
            task::switch(idle(), thread.task());
            // It has left this CPU: perhaps it runs on another one already, perhaps this was the last handle.
            let left = this().current.lock().take();
            drop((left, thread));
        });
    }

    /// Goes on on another CPU (or on this one, after its other jobs). `me` is the running thread.
    pub(crate) fn migrate(me: &Arc<Self>, cpu: CpuId) {
        Self::resume(me, cpu);
        task::switch(me.task(), idle());
    }
}

/// Waits until each of the threads has ended.
pub(crate) fn join(threads: impl IntoIterator<Item = Arc<Thread>>) {
    for thread in threads {
        wait_until(|| Arc::strong_count(&thread) == 1);
    }
}

/// Runs `body` in a thread with user state on `cpu` and returns its result.
pub(crate) fn in_thread<T: Send + 'static>(
    cpu: CpuId,
    body: impl FnOnce(&Arc<Thread>) -> T + Send + 'static,
) -> Outcome<T> {
    let slot = Arc::new(SpinLock::new(None));
    let out = Arc::clone(&slot);
    let thread = Thread::spawn(cpu, UserState::Yes, move |me| {
        let result = body(me);
        *out.lock() = Some(result);
    })?;
    join([thread]);
    let result = slot.lock().take();
    result.ok_or_else(|| alloc::string::String::from("the thread left no result"))
}
