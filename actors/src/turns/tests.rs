//! Turns under virtual time: runners with batches that come when they come, on one device.

use std::collections::VecDeque;

use fastrand::Rng;

use super::*;

/// One runner: its weight, its executors, how long each of its batches runs, and when they come, in order.
struct Runner {
    weight: f64,
    executors: usize,
    seconds: f64,
    batches: VecDeque<f64>,
}

/// One turn that was taken.
struct Taken {
    runner: usize,
    /// When its batch came, when it began and when it ended.
    came: f64,
    began: f64,
    ended: f64,
}

fn flood(weight: f64, seconds: f64) -> Runner {
    Runner { weight, executors: 1, seconds, batches: vec![0.0; 20_000].into() }
}

/// One batch every `gap` seconds.
fn trickle(weight: f64, seconds: f64, gap: f64) -> Runner {
    Runner { weight, executors: 1, seconds, batches: (0..1_000).map(|nth| f64::from(nth) * gap).collect() }
}

/// Runs them for so many seconds. The device is never free while a batch waits.
fn run(mut runners: Vec<Runner>, until: f64) -> Vec<Taken> {
    let mut turns = Turns::default();
    let parties: Vec<u64> =
        runners.iter().map(|runner| turns.join(Weight::new(runner.weight).expect("a weight"))).collect();
    let ticket = |runner: usize, nth: usize| Ticket { party: parties[runner], nth: nth as u64 };
    let runner_of = |ticket: Ticket| parties.iter().position(|party| *party == ticket.party).expect("a party");
    let (mut now, mut taken) = (0.0, Vec::new());
    loop {
        // What has come asks, each batch by an executor of its own as long as there is one.
        let next = runners.iter().filter_map(|runner| runner.batches.front().copied()).fold(f64::INFINITY, f64::min);
        now = f64::max(now, next);
        if now >= until {
            return taken;
        }
        ask(&mut turns, &runners, now, &ticket);
        let holder = turns.holder.expect("a batch waits, and the device is free");
        let at = runner_of(holder);
        let came = runners[at].batches.pop_front().expect("whoever asks has a batch");
        let (began, ended) = (now, now + runners[at].seconds);
        // Others come while it runs, one after the other.
        let mut arrivals: Vec<f64> = Vec::new();
        for runner in &runners {
            let came = runner.batches.iter().skip_while(|came| **came < began).take_while(|came| **came <= ended);
            // No more of them ask than there are executors.
            arrivals.extend(came.take(runner.executors));
        }
        arrivals.sort_unstable_by(f64::total_cmp);
        for arrival in arrivals {
            ask(&mut turns, &runners, arrival, &ticket);
        }
        now = ended;
        taken.push(Taken { runner: at, came, began, ended });
        let waits = runners[at].batches.iter().take(9).take_while(|came| **came <= now).count();
        let asked = turns.waiting.iter().filter(|waiting| waiting.party == holder.party).count();
        turns.end(holder, ended - began, waits > asked);
    }
}

fn ask(turns: &mut Turns, runners: &[Runner], now: f64, ticket: &impl Fn(usize, usize) -> Ticket) {
    for (at, runner) in runners.iter().enumerate() {
        let waits = runner.batches.iter().take(runner.executors).take_while(|came| **came <= now).count();
        for nth in 0..waits {
            turns.ask(ticket(at, nth));
        }
    }
}

/// The device's seconds that each of two runners had between `from` and `to`.
fn shares(taken: &[Taken], from: f64, to: f64) -> [f64; 2] {
    let of = |runner: usize| {
        let own = taken.iter().filter(|turn| turn.runner == runner);
        own.map(|turn| (turn.ended.min(to) - turn.began.max(from)).max(0.0)).sum()
    };
    [of(0), of(1)]
}

#[test]
fn two_that_always_have_work_share_by_weight_whatever_their_batches_take() {
    let check = |weights: [f64; 2], seconds: [f64; 2]| {
        let taken = run(vec![flood(weights[0], seconds[0]), flood(weights[1], seconds[1])], 20.0);
        // Not at the end alone: at no time is one ahead of the other by more than a turn of each.
        for turn in &taken {
            let [one, other] = shares(&taken, 0.0, turn.ended);
            let ahead = (one / weights[0] - other / weights[1]).abs();
            let most = seconds[0] / weights[0] + seconds[1] / weights[1];
            assert!(ahead <= most + 1e-9, "{weights:?} {seconds:?}: {one} and {other} at {}", turn.ended);
        }
    };
    check([1.0, 1.0], [0.01, 0.01]);
    check([1.0, 1.0], [0.001, 0.1]);
    check([1.0, 3.0], [0.01, 0.01]);
    check([1.0, 3.0], [0.5, 0.002]);
    check([0.1, 10.0], [0.01, 0.03]);
}

#[test]
fn a_runner_with_many_executors_gets_no_more_than_one_with_one() {
    let many = Runner { executors: 4, ..flood(1.0, 0.01) };
    let [one, other] = shares(&run(vec![many, flood(1.0, 0.01)], 10.0), 0.0, 10.0);
    assert!((one - other).abs() < 0.021, "{one} and {other}");
}

#[test]
fn a_trickle_waits_for_one_turn_of_a_flood() {
    let taken = run(vec![flood(1.0, 0.02), trickle(1.0, 0.001, 0.05)], 40.0);
    let waits: Vec<f64> = taken.iter().filter(|turn| turn.runner == 1).map(|turn| turn.began - turn.came).collect();
    assert!(waits.len() > 700, "{} turns", waits.len());
    let longest = waits.into_iter().fold(0.0, f64::max);
    assert!(longest <= 0.02 + 1e-9, "it waited for {longest} s");
}

#[test]
fn what_the_other_does_not_want_is_used() {
    // One of them has work for a fiftieth of the time; the rest is the other's, whatever their weights are.
    let taken = run(vec![flood(1.0, 0.01), trickle(1000.0, 0.001, 0.05)], 10.0);
    let [one, other] = shares(&taken, 0.0, 10.0);
    assert!((one + other - 10.0).abs() < 0.011 && (other - 0.2).abs() < 0.002, "{one} and {other}");
}

#[test]
fn nobody_saves_time_up_while_away() {
    let mut late = flood(1.0, 0.01);
    late.batches.iter_mut().for_each(|came| *came = 10.0);
    let taken = run(vec![flood(1.0, 0.01), late], 12.0);
    let [one, other] = shares(&taken, 10.0, 12.0);
    assert!((one - other).abs() < 0.031, "{one} and {other}");
    // A second time, in bursts.
    let bursts = (0..20).flat_map(|burst| [f64::from(burst); 20]).collect();
    let taken = run(vec![flood(1.0, 0.01), Runner { batches: bursts, ..flood(1.0, 0.01) }], 20.0);
    for burst in 1..20 {
        let [one, other] = shares(&taken, f64::from(burst), f64::from(burst) + 0.3);
        assert!((one - other).abs() < 0.031, "{one} and {other} in burst {burst}");
    }
}

#[test]
fn nobody_owes_for_time_that_nobody_wanted() {
    // One has the device for ten seconds, both are away for one, and then both have work.
    let mut one = flood(1.0, 0.01);
    one.batches = vec![0.0; 1_000].into_iter().chain(vec![11.0; 1_000]).collect();
    let mut other = flood(1.0, 0.01);
    other.batches.iter_mut().for_each(|came| *came = 11.0);
    let [one, other] = shares(&run(vec![one, other], 13.0), 11.0, 13.0);
    assert!((one - other).abs() < 0.021, "{one} and {other}");
    // Nor for one long turn.
    let mut turns = Turns::default();
    let [one, other] = [(); 2].map(|()| Ticket { party: turns.join(Weight::default()), nth: 0 });
    assert!(turns.ask(one));
    assert_eq!(turns.end(one, 100.0, false), None);
    assert!(turns.ask(other) && !turns.ask(one));
    assert_eq!(turns.end(other, 0.1, true), Some(one));
}

#[test]
fn whoever_ends_in_whatever_way_passes_its_turn_on() {
    let mut turns = Turns::default();
    let [one, other] = [turns.join(Weight::default()), turns.join(Weight::default())];
    let ticket = |party, nth| Ticket { party, nth };
    assert!(turns.ask(ticket(one, 0)));
    assert!(turns.ask(ticket(one, 0)), "it is its turn still");
    assert!(!turns.ask(ticket(other, 0)) && !turns.ask(ticket(other, 1)) && !turns.ask(ticket(one, 1)));
    // One that waits dies; then the one whose turn it is.
    assert_eq!(turns.end(ticket(other, 0), 7.0, false), None);
    assert_eq!(turns.end(ticket(one, 0), 1.0, false), Some(ticket(other, 1)));
    // What it says later, being taken for gone, counts for nothing.
    assert_eq!(turns.end(ticket(one, 0), 100.0, true), None);
    assert!(!turns.waiting.contains(&ticket(one, 0)), "it has queued up again");
    assert_eq!(turns.end(ticket(other, 1), 0.5, false), Some(ticket(one, 1)));
    assert_eq!(turns.end(ticket(one, 1), 0.5, false), None);
    assert_eq!(turns.holder, None);
    // A runner ends, and another one comes.
    turns.part(one);
    let third = turns.join(Weight::default());
    assert!(turns.ask(ticket(third, 0)) && !turns.ask(ticket(other, 0)));
    assert_eq!(turns.end(ticket(third, 0), 1.0, true), Some(ticket(other, 0)));
}

/// Whatever asks, ends and dies: somebody has the device while anybody wants it, and everybody gets it.
#[test]
fn nobody_waits_for_ever() {
    for seed in 0..500 {
        let mut rng = Rng::with_seed(seed);
        let mut turns = Turns::default();
        let weights: Vec<f64> = (0..rng.usize(1..5)).map(|_| rng.f64().mul_add(9.9, 0.1)).collect();
        let parties: Vec<u64> = weights.iter().map(|&weight| turns.join(Weight::new(weight).expect("one"))).collect();
        let tickets: Vec<Ticket> =
            parties.iter().flat_map(|&party| (0..3).map(move |nth| Ticket { party, nth })).collect();
        // How much others had since each began to wait.
        let mut waited: BTreeMap<Ticket, f64> = BTreeMap::new();
        for _ in 0..400 {
            let ticket = tickets[rng.usize(..tickets.len())];
            if rng.u8(..3) > 0 {
                if turns.ask(ticket) {
                    waited.remove(&ticket);
                } else {
                    waited.entry(ticket).or_default();
                }
            } else if let Some(holder) = turns.holder {
                let (who, used) = if rng.u8(..4) == 0 { (ticket, 0.0) } else { (holder, rng.f64()) };
                waited.remove(&who);
                if who == holder {
                    waited.values_mut().for_each(|waited| *waited += used);
                }
                let again = rng.bool();
                let is_its = turns.holder == Some(who);
                turns.end(who, used, again);
                if is_its && again && turns.holder != Some(who) {
                    waited.insert(who, 0.0);
                }
                if let Some(holder) = turns.holder {
                    waited.remove(&holder);
                }
            }
            assert!(turns.holder.is_some() || turns.waiting.is_empty(), "seed {seed}: it is free, and somebody waits");
            let mut lined_up: Vec<Ticket> = turns.waiting.iter().copied().collect();
            lined_up.sort_unstable();
            assert!(lined_up.iter().eq(waited.keys()), "seed {seed}: {lined_up:?} wait, not {waited:?}");
            // Each other executor goes ahead by what it weighs, and one turn more.
            let longest = waited.values().copied().fold(0.0, f64::max);
            let most = 3.0 * (weights.iter().sum::<f64>() / 0.1 + weights.len() as f64 * 3.0);
            assert!(longest <= most, "seed {seed}: {longest} s of others' turns");
        }
    }
}

#[test]
fn whoever_has_had_the_device_alone_in_one_long_turn_owes_nobody_anything() {
    let mut turns = Turns::default();
    let weight = || Weight::new(1.0).expect("a weight");
    let (one, other) = (Ticket { party: turns.join(weight()), nth: 0 }, Ticket { party: turns.join(weight()), nth: 0 });
    assert!(turns.ask(one));
    // An hour, and it is still its turn.
    (0..360_000).for_each(|_| turns.use_up(one, 0.01));
    assert!(!turns.ask(other) && turns.is_contested(one.party) && !turns.is_contested(other.party));
    assert_eq!(turns.end(one, 0.01, true), Some(other));
    assert_eq!(turns.end(other, 0.01, true), Some(one), "one turn of each");
    // Nor does who goes on while others wait get more for it.
    (0..5).for_each(|_| turns.use_up(one, 0.01));
    assert_eq!(turns.end(one, 0.0, true), Some(other));
    for _ in 0..3 {
        assert_eq!(turns.end(other, 0.01, true), None, "until it has had as much");
    }
}
