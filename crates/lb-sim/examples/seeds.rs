//! Plays scenarios of many seeds: `seeds [COUNT [FIRST]]`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map_while(|word| word.parse().ok());
    let count: u64 = numbers.next().unwrap_or(10_000);
    let first: u64 = numbers.next().unwrap_or(0);
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let (mut failed, mut time, mut packets) = (Vec::new(), Duration::ZERO, 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return (failed, time, packets);
            }
            let outcome = lb_sim::run(&lb_sim::generate(seed), false);
            time += outcome.count.router_time;
            packets += outcome.count.packets;
            if let Some(violation) = outcome.violation {
                failed.push((seed, violation));
            }
        }
    };
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let took = began.elapsed();
    let (mut failed, mut time, mut packets) = (Vec::new(), Duration::ZERO, 0);
    for (more, spent, heard) in results {
        failed.extend(more);
        time += spent;
        packets += heard;
    }
    failed.sort_by_key(|(seed, _)| *seed);
    for (seed, violation) in failed.iter().take(20) {
        println!("seed {seed}: {}: {}", violation.promise, violation.how);
    }
    if let Some((seed, _)) = failed.first() {
        let smallest = lb_sim::shrink(&lb_sim::generate(*seed));
        println!("\n{}", lb_sim::tell(&smallest, &lb_sim::run(&smallest, true)));
    }
    println!(
        "seeds {first} to {}: {} failed; {:.0} router-seconds in {took:.1?}: {:.0} a second, {packets} packets heard",
        first + count - 1,
        failed.len(),
        time.as_secs_f64(),
        time.as_secs_f64() / took.as_secs_f64(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
