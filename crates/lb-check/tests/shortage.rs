//! A host without file descriptors says nothing about its servers. Alone in its process, whose limit it
//! changes.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use lb_check::schedule::Memory;
use lb_check::{Checks, Connection, Outcome, Probe, Report, Spec, Timing};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

async fn next(checks: &mut Checks) -> Report {
    let mut reports = Vec::new();
    checks.next(&mut reports).await;
    reports.remove(0)
}

#[tokio::test]
async fn without_descriptors_a_check_is_not_made_and_made_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listener");
    let to = listener.local_addr().expect("address");
    let timeout = Duration::from_secs(5);
    let connection = Connection { to, bind: None, interface: None, fwmark: 0, timeout };
    let timing = Timing {
        delay_loop: Duration::from_millis(100),
        retry: 0,
        delay_before_retry: Duration::from_millis(100),
        warmup: Duration::ZERO,
        alpha: false,
    };
    let mut checks = Checks::new(1).expect("cipher suites");
    let id = checks.add(&Spec { probe: Probe::from(connection), timing }, Memory::fresh(false));
    assert_eq!(next(&mut checks).await.outcome, Outcome::Up { weight: None });

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).expect("lower limit");
    let mut all = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        all.push(file);
    }
    for _ in 0..3 {
        let report = next(&mut checks).await;
        let Outcome::NotRun(why) = &report.outcome else { panic!("{report:?}") };
        assert!(why.contains("LimitNOFILE"), "{why}");
        assert_eq!((report.verdict, report.changed), (None, false));
    }
    drop(all);
    let report = next(&mut checks).await;
    assert_eq!(report.outcome, Outcome::Up { weight: None });
    assert_eq!((report.verdict, report.changed), (Some(true), false));
    assert_eq!(checks.remove(id).map(|memory| memory.attempts), Some(0));
}
