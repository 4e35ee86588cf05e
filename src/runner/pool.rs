//! The threads of an executor.

use std::io;

use crate::device::Placement;

/// Runs `body` on a thread of a new rayon pool, which ends with it: its threads are as many as the executor has, and run on
/// its cores where it has some of its own, one on each.
pub(crate) fn on_pool(place: &Placement, name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let cores = place.cores.clone();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(place.threads.get())
        .thread_name(move |thread| if thread == 0 { name.clone() } else { format!("{name}.{thread}") })
        .start_handler(move |thread| {
            if let Some(core) = cores.get(thread % cores.len().max(1)) {
                bind(*core);
            }
        })
        // A panic outside the panic boundary is reported by the executor's supervisor; it must not abort.
        .panic_handler(|_| ())
        .build()
        .map_err(io::Error::other)?;
    pool.spawn(body);
    Ok(())
}

/// Binds the calling thread to a core.
#[cfg(target_os = "linux")]
fn bind(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!("a thread cannot be bound to core {core}: {error}");
    }
}

/// Elsewhere nobody is given cores.
#[cfg(not(target_os = "linux"))]
fn bind(_core: usize) {}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::mpsc;

    use super::*;

    fn name() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[test]
    fn threads_are_as_many_as_asked_for_and_named_after_the_executor() {
        let (sender, names) = mpsc::channel();
        let place = Placement::cpu(NonZeroUsize::new(3).expect("above 0"));
        on_pool(&place, "iris/0".to_owned(), move || {
            let all = rayon::broadcast(|_| name());
            sender.send((name(), all)).expect("somebody listens");
        })
        .expect("a pool");
        let (first, all) = names.recv().expect("it ran");
        assert!(all.contains(&first), "the executor runs on its own pool: {first}");
        assert_eq!(all, ["iris/0", "iris/0.1", "iris/0.2"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pinned_thread_runs_on_its_core_alone() {
        let cores = |set: &rustix::thread::CpuSet| -> Vec<usize> {
            (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
        };
        let mine = move || cores(&rustix::thread::sched_getaffinity(None).expect("Linux says"));
        let allowed = mine();
        let last = *allowed.last().expect("at least one");
        let two = NonZeroUsize::new(2).expect("above 0");
        let (sender, found) = mpsc::channel();
        let place = Placement { cores: vec![last, allowed[0]], ..Placement::cpu(two) };
        on_pool(&place, "pinned".to_owned(), move || {
            sender.send(rayon::broadcast(|_| mine())).expect("somebody listens");
        })
        .expect("a pool");
        assert_eq!(found.recv().expect("it ran"), [vec![last], vec![allowed[0]]]);
    }
}
