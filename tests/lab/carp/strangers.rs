//! Packets that are not for us.

use anyhow::{Context, ensure};
use lb_control::status::CarpCounters;
use lb_tests::play::side_by_side;
use lb_tests::{Test, wait_status};

use crate::config::Daemon::{Lbd, Ucarp};
use crate::config::{Carp, Node};
use crate::stage::stage;

/// What a stranger is and how it is met.
struct Case {
    theirs: Carp,
    /// Counts each of its packets.
    counter: Option<fn(&CarpCounters) -> u64>,
    /// Said by ours, and by theirs.
    said: [&'static str; 2],
}

#[test]
fn who_has_another_password_or_vhid_is_nobody() -> Test {
    let ours = Carp::new(100).preempting();
    let fast = Carp::new(20).preempting();
    let bad_digest = |theirs| Case {
        theirs,
        counter: Some(|counters| counters.bad_digest),
        said: ["wrong digest", "Bad digest"],
    };
    let cases = [
        ("another password", bad_digest(Carp { pass: "another", ..fast })),
        ("another VIP", bad_digest(Carp { vip: [192, 0, 2, 101].into(), ..fast })),
        (
            "another vhid",
            Case { theirs: Carp { vhid: 8, ..fast }, counter: None, said: ["digest", "digest"] },
        ),
    ];
    side_by_side(cases, |Case { theirs, counter, said }| {
        let nodes = [Node::new("d1", Lbd, &[ours]), Node::new("d2", Ucarp, &[theirs])];
        stage(&nodes, |stage| {
            let started = stage.start("d2")?;
            stage.takes("d2", &theirs, started, theirs.master_down())?;
            // As if nobody were there, and both are MASTER.
            let started = stage.start("d1")?;
            stage.takes("d1", &ours, started.clone(), ours.master_down())?;
            let sent = stage.wait_for_adverts("d2", &theirs, started.end, 5)?.len() as u64;
            stage.wait_for_adverts("d1", &ours, started.end, 3)?;
            let status = wait_status(stage.host("d1")?, "the packets counted", |status| {
                let instances = status.carp.iter().flat_map(|carp| &carp.instances);
                counter.is_none_or(|counter| {
                    instances.into_iter().any(|carp| counter(&carp.counters) >= sent)
                })
            })?;
            let carp = status.carp.context("no CARP")?;
            let instance = carp.instances.first().context("no instance")?;
            let counters = instance.counters;
            ensure!(counters.received == 0, "accepted some: {counters:?}");
            // Shown as long as it lasts.
            let conflicts = &instance.conflicts;
            let shown = conflicts.iter().any(|conflict| conflict.kind == "wrong_secret");
            ensure!(shown == counter.is_some(), "conflicts {conflicts:?}");
            // Said once, not with every packet.
            let lines = |host, what| -> anyhow::Result<usize> {
                Ok(stage.daemon(host)?.output().lines().filter(|line| line.contains(what)).count())
            };
            let (ours, theirs) = (lines("d1", said[0])?, lines("d2", said[1])?);
            let expected = usize::from(counter.is_some());
            ensure!(ours == expected, "lbd said `{}` {ours} times", said[0]);
            ensure!((theirs > 0) == counter.is_some(), "ucarp said `{}` {theirs} times", said[1]);
            Ok(())
        })
    })
}
