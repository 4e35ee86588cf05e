//! What the policies promise, on simulated models under simulated traffic. The seeds were drawn at random;
//! what the tests found is printed with `--nocapture`.

#![allow(clippy::expect_used, reason = "a test says what went wrong by panicking")]

mod scenes;

use std::time::Duration;

use ekiden_actors::Priority;
use ekiden_actors::simulator::{Arrival, Pattern, Policy, Report, Traffic};
use scenes::{DEEP, FLAT, LARGE, NOISY, SCENES, SMALL, STEEP, Scene, ms, window};

const SEEDS: [u64; 3] = [101801, 657330, 243268];

const fn bursts(size: usize, gap: Duration) -> Pattern {
    Pattern::Bursts { size, gap }
}

#[test]
fn at_light_load_nothing_waits_while_an_executor_is_free() {
    for scene in SCENES {
        for executors in [1, 2, 8] {
            let scene = Scene { executors, ..scene };
            for pattern in [Pattern::Poisson, Pattern::Ramps(3), Pattern::HeavyTail] {
                let rate = 0.05 / scene.model.cost(1).as_secs_f64();
                let traffic = Traffic::new(pattern, rate, 3_000, &[Some(scene.deadline)], SEEDS[0]);
                let report = scene.run_traffic(&scene.adaptive(), &traffic, SEEDS[0]);
                // Where runs take more than half of the time that calls have, one may wait that seems to come in a burst.
                let held =
                    if scene.deadline < 2 * scene.model.cost(scene.batch) && scene.name == "flat" { 20 } else { 0 };
                assert!(report.held <= ms(held), "{} x{executors} {pattern:?}: {report:?}", scene.name);
                if scene.model.noise == 0.0 {
                    assert_eq!(report.p50, scene.model.cost(1), "{} x{executors} {pattern:?}", scene.name);
                }
            }
        }
    }
}

#[test]
fn under_overload_goodput_is_that_of_the_best_window_at_its_best_load() {
    let mut bad = Vec::new();
    for scene in SCENES {
        for (executors, seed) in [(1, SEEDS[0]), (4, SEEDS[1]), (8, SEEDS[2])] {
            let scene = Scene { executors, ..scene };
            let (best, window) = scene.best_window(seed);
            for load in [2.0, 5.0, 20.0] {
                let report = scene.run(&scene.adaptive(), Pattern::Poisson, load, seed);
                let ratio = report.goodput() / best;
                println!("{:6} x{executors} {load:4}: {ratio:.3} of {best:.0}/s ({window})", scene.name);
                // Twenty times too much must not break it, but need not be borne as well.
                if ratio < if load > 5.0 { 0.85 } else { 0.95 } {
                    bad.push(format!("{} x{executors} at {load}: {ratio:.3} of {window}, {report:?}", scene.name));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn of_what_is_refused_under_overload_hardly_any_has_waited() {
    for executors in [1, 2] {
        let scene = Scene { executors, ..DEEP };
        let reports = SEEDS.map(|seed| scene.run(&scene.adaptive(), Pattern::Poisson, 2.0, seed));
        let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
        let waited = sum(|report| report.dropped) as f64 / sum(|report| report.dropped + report.refused) as f64;
        let goodput = reports.iter().map(Report::goodput).sum::<f64>() / SEEDS.len() as f64 / scene.capacity();
        println!("deep   x{executors}: {waited:.4} of the refusals have waited, goodput {goodput:.3} of the capacity");
        assert!(waited < 0.01 && goodput > 0.97, "x{executors}: {waited:.4}, {goodput:.3}");
    }
}

#[test]
fn no_scenario_is_much_worse_than_the_best_of_window_and_greedy_and_most_are_better() {
    let (mut better, mut as_good, mut contested) = (0, 0, 0);
    let mut bad = Vec::new();
    for scene in SCENES {
        for executors in [1, 3, 8] {
            let scene = Scene { executors, ..scene };
            let patterns = [
                Pattern::Poisson,
                bursts(20, scene.deadline / 200),
                bursts(100, scene.deadline / 1000),
                Pattern::Ramps(4),
                Pattern::HeavyTail,
            ];
            for (pattern, load) in patterns.iter().flat_map(|&pattern| [0.2, 0.7, 1.1, 2.0].map(|load| (pattern, load)))
            {
                // Of one seed's calls, a burst more or less makes a difference. It does in the mean of three, too: "flat" on
                // three executors in bursts of 100 at 0.2 reaches 0.98 of the window, which is just as long as a burst, in
                // the mean of 90 seeds; the mean of three is 0.012 off that (one standard deviation).
                let share = |policy: &Policy| {
                    let shares = SEEDS.map(|seed| scene.run(policy, pattern, load, seed).share());
                    shares.iter().sum::<f64>() / shares.len() as f64
                };
                let adaptive = share(&scene.adaptive());
                let greedy = share(&window(scene.batch, Duration::ZERO));
                let windowed = share(&window(scene.batch, scene.latency));
                let best = greedy.max(windowed);
                println!(
                    "{:6} x{executors} {load} {pattern:?}: {adaptive:.3}, greedy {greedy:.3}, window {windowed:.3}",
                    scene.name
                );
                if adaptive < 0.97 * best {
                    bad.push(format!(
                        "{} x{executors} {pattern:?} at {load}: {adaptive:.3}, greedy {greedy:.3}, window {windowed:.3}",
                        scene.name
                    ));
                }
                if best < 0.995 {
                    contested += 1;
                    better += u32::from(adaptive > best * 1.001);
                } else {
                    as_good += u32::from(adaptive >= best - 0.001);
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    println!("better in {better} of {contested} where somebody is late");
    assert!(better * 2 > contested && contested > 50 && as_good > 0, "better in {better} of {contested}");
}

/// A large model whose calls come in bursts, each over before a run could be.
const BURSTS: Pattern = bursts(20, Duration::from_micros(200));

#[test]
fn a_batch_waits_for_the_rest_of_a_burst_where_that_saves_it() {
    for seed in SEEDS {
        let run = |policy: &Policy| FLAT.run(policy, BURSTS, 0.15, seed);
        let (adaptive, greedy) = (run(&FLAT.adaptive()), run(&window(FLAT.batch, Duration::ZERO)));
        assert!(adaptive.share() > 1.5 * greedy.share(), "{adaptive:?}, greedy: {greedy:?}");
        assert!(adaptive.held > Duration::ZERO);
        // Where calls have time for two runs, nothing is to be gained.
        let patient = Scene { deadline: ms(200), ..FLAT };
        assert_eq!(patient.run(&patient.adaptive(), BURSTS, 0.15, seed).held, Duration::ZERO);
    }
}

/// All at once.
fn volley(calls: usize, timeout: Duration) -> Traffic {
    let arrival = |n: usize| Arrival {
        at: ms(10_000) * u32::try_from(n / calls).expect("a few"),
        rows: 1,
        timeout: Some(timeout),
        priority: Priority::Normal,
        announced: Duration::ZERO,
    };
    Traffic((0..20 * calls).map(arrival).collect())
}

#[test]
fn of_a_volley_just_what_cannot_be_done_in_time_is_refused() {
    // One call starts at once, which takes 20.5 ms, two batches of 64 take 52 ms each, and 25 ms are left for 11 more.
    let report = LARGE.run_traffic(&LARGE.adaptive(), &volley(400, LARGE.deadline), 1);
    let volleys = report.calls / 400;
    assert_eq!(report.late, 0, "{report:?}");
    assert!((138..=140).contains(&(report.in_time / volleys)), "{report:?}");
    // Who has time is not refused.
    let patient = LARGE.run_traffic(&LARGE.adaptive(), &volley(400, ms(500)), 1);
    assert_eq!(patient.in_time, patient.calls, "{patient:?}");
}

#[test]
fn urgent_calls_are_in_time_and_the_least_urgent_are_not_starved() {
    for scene in [LARGE, NOISY] {
        for seed in SEEDS {
            // Twice as many as can be served; a tenth are urgent. A few of the least urgent have no deadline.
            let calls = (scene.capacity() * 2.0 * 20.0) as usize;
            let traffic = Traffic::new(Pattern::Poisson, scene.capacity() * 2.0, calls, &[Some(scene.deadline)], seed);
            let traffic = traffic.map(|n, arrival| match n % 100 {
                0..10 => arrival.priority = Priority::High,
                10 => (arrival.priority, arrival.timeout) = (Priority::Low, None),
                _ => {}
            });
            let report = scene.run_traffic(&scene.adaptive(), &traffic, seed);
            let [high, normal, low] = report.in_time_by_priority;
            let share = |count: usize, percent: usize| count as f64 * 100.0 / (report.calls * percent) as f64;
            println!(
                "{}: high {:.3}, normal {:.3}, low {:.3}",
                scene.name,
                share(high, 10),
                share(normal, 89),
                share(low, 1)
            );
            assert!(share(high, 10) > 0.98, "{}: {:.3} of the urgent, {report:?}", scene.name, share(high, 10));
            assert!(share(low, 1) > 0.99, "{}: {:.3} of the least urgent, {report:?}", scene.name, share(low, 1));
            // A call that has waited for two seconds is among the first.
            assert!(report.slowest < ms(3_000), "{}: {:?}", scene.name, report.slowest);
        }
    }
}

#[test]
fn a_window_here_is_a_window_elsewhere() {
    for scene in [SMALL, LARGE, STEEP] {
        for executors in [1, 3] {
            let scene = Scene { executors, ..scene };
            for load in [0.1, 0.9] {
                let rate = scene.capacity() * load;
                let traffic = Traffic::new(Pattern::Poisson, rate, 2_000, &[None], SEEDS[0]);
                // Timers know milliseconds.
                let traffic = traffic.map(|_, arrival| {
                    arrival.at = ms(u64::try_from(arrival.at.as_millis()).unwrap_or_default());
                });
                let here = scene.run_traffic(&scene.windowed(), &traffic, 1);
                let elsewhere = scene.run_traffic(&window(scene.batch, scene.latency), &traffic, 1);
                let told = |report: &Report| (report.in_time, report.p50, report.p99, report.batch.to_bits());
                assert_eq!(
                    told(&here),
                    told(&elsewhere),
                    "{} x{executors} {load}: {here:?}, {elsewhere:?}",
                    scene.name
                );
            }
        }
    }
}

#[test]
fn a_window_as_long_as_a_deadline_answers_a_lone_call() {
    for latency in [LARGE.deadline, 2 * LARGE.deadline] {
        let scene = Scene { latency, ..LARGE };
        let rate = 0.05 / scene.model.cost(1).as_secs_f64();
        let traffic = Traffic::new(Pattern::Poisson, rate, 500, &[Some(scene.deadline)], SEEDS[0]);
        let report = scene.run_traffic(&scene.windowed(), &traffic, SEEDS[0]);
        assert!(report.share() > 0.99, "{latency:?}: {report:?}");
    }
}

#[test]
fn a_free_executor_holds_on_for_calls_that_have_been_announced_and_for_no_others() {
    // Calls come in pairs, 100 µs apart, once in 100 ms; every run takes 30 ms.
    let calls = |announced| {
        let arrival = |n: u32| Arrival {
            at: ms(100) * (n / 2) + Duration::from_micros(100) * (n % 2),
            rows: 1,
            timeout: None,
            priority: Priority::Normal,
            announced,
        };
        Traffic((0..400).map(arrival).collect())
    };
    let told = FLAT.run_traffic(&FLAT.adaptive(), &calls(Duration::from_micros(150)), 1);
    assert!(told.batch > 1.9 && told.p99 < ms(31), "{told:?}");
    let untold = FLAT.run_traffic(&FLAT.adaptive(), &calls(Duration::ZERO), 1);
    assert!(untold.batch == 1.0 && untold.held == Duration::ZERO && untold.p99 > ms(59), "{untold:?}");
}
