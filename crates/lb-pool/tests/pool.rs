//! The rules of a virtual server, one by one, then all at once against a plain recomputation.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_pool::Output::{Changed, RealServer as Server, Removed, SorryServer as Sorry};
use lb_pool::table::Family;
use lb_pool::{
    CheckerConfig, DestinationKey, ForwardingMethod, Health, Input, Output, Protocol, Quorum,
    RealServerConfig, Scheduler, Service, ServiceKey, SorryServer, TunnelType, VirtualServer,
    VirtualServerConfig,
};
use proptest::prelude::*;

const SORRY: u8 = 200;

fn host(last: u8, port: u16) -> DestinationKey {
    DestinationKey { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port }
}

fn vip(port: u16) -> ServiceKey {
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port));
    ServiceKey::Address { protocol: Protocol::Tcp, address }
}

/// A server with one plain checker.
fn server(last: u8, weight: u32) -> RealServerConfig {
    RealServerConfig {
        key: host(last, 80),
        weight,
        inhibit_on_failure: false,
        method: ForwardingMethod::Nat,
        upper_threshold: 0,
        lower_threshold: 0,
        checkers: vec![plain("tcp")],
        unknowable: false,
    }
}

fn hash(spec: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(spec)
}

fn plain(spec: &str) -> CheckerConfig {
    CheckerConfig { spec: hash(spec), alpha: false, tells_first_failure: true }
}

fn alpha(spec: &str) -> CheckerConfig {
    CheckerConfig { spec: hash(spec), alpha: true, tells_first_failure: false }
}

fn inhibited(mut config: RealServerConfig) -> RealServerConfig {
    config.inhibit_on_failure = true;
    config
}

fn checked(mut config: RealServerConfig, checkers: Vec<CheckerConfig>) -> RealServerConfig {
    config.checkers = checkers;
    config
}

fn pool(real_servers: Vec<RealServerConfig>) -> VirtualServerConfig {
    VirtualServerConfig { keys: vec![vip(80)], real_servers, ..Default::default() }
}

fn with_sorry(inhibit: bool, mut config: VirtualServerConfig) -> VirtualServerConfig {
    let method = ForwardingMethod::Nat;
    config.sorry_server = Some(SorryServer { key: host(SORRY, 80), method, inhibit });
    config
}

fn with_quorum(
    weight: u32,
    hysteresis: u32,
    mut config: VirtualServerConfig,
) -> VirtualServerConfig {
    config.quorum = Quorum { weight, hysteresis };
    config
}

fn verdict(server: usize, up: bool) -> Input {
    Input::Verdict { server, checker: 0, up }
}

fn adjust(server: usize, by: i64) -> Input {
    Input::Adjust { server, checker: 0, by }
}

fn handle(pool: &mut VirtualServer, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    pool.handle(input, &mut out);
    out
}

/// Last octets and weights in the table.
fn table(pool: &VirtualServer) -> Vec<(u8, u32)> {
    let service = pool.service(&vip(80));
    let last = |key: &DestinationKey| match key.address {
        IpAddr::V4(a) => a.octets()[3],
        IpAddr::V6(_) => 0,
    };
    service.destinations.iter().map(|(key, d)| (last(key), d.weight)).collect()
}

fn quorum(pool: &VirtualServer, up: bool, weight: u64) -> Output {
    Output::Quorum { up, weight, quorum: pool.config().quorum }
}

/// An input, what it pushes, and the table after it.
type Step<'a> = (Input, &'a [Output], &'a [(u8, u32)]);

fn story(pool: &mut VirtualServer, steps: &[Step]) {
    for (step, (input, outputs, entries)) in steps.iter().enumerate() {
        assert_eq!(handle(pool, *input), *outputs, "outputs of step {step}");
        assert_eq!(table(pool), *entries, "table after step {step}");
    }
}

#[test]
fn servers_start_up_unless_a_checker_is_alpha() {
    let unchecked = checked(server(3, 1), vec![]);
    let pessimist = checked(server(2, 1), vec![plain("tcp"), alpha("http")]);
    let pool = VirtualServer::new(pool(vec![server(1, 1), pessimist, unchecked]));
    assert_eq!([0, 1, 2, 3].map(|s| pool.alive(s)), [true, false, true, false]);
    assert_eq!(table(&pool), [(1, 1), (3, 1)]);
    assert!(pool.quorum_met());
}

#[test]
fn an_alpha_server_comes_after_all_its_checkers_succeeded() {
    let pessimist = checked(server(1, 2), vec![alpha("tcp"), alpha("http")]);
    let mut pool = VirtualServer::new(pool(vec![pessimist]));
    assert!(!pool.quorum_met());
    let gained = quorum(&pool, true, 2);
    story(
        &mut pool,
        &[
            (Input::Verdict { server: 0, checker: 1, up: true }, &[], &[]),
            (verdict(0, true), &[Changed, Server { server: 0, up: true }, gained], &[(1, 2)]),
            (verdict(0, true), &[], &[(1, 2)]),
        ],
    );
}

#[test]
fn a_server_is_up_only_if_none_of_its_checkers_failed() {
    let twice = checked(server(1, 1), vec![plain("tcp"), plain("http")]);
    let mut pool = VirtualServer::new(pool(vec![twice, server(2, 1)]));
    let down = [Changed, Server { server: 0, up: false }];
    let up = [Changed, Server { server: 0, up: true }];
    let second = |up| Input::Verdict { server: 0, checker: 1, up };
    story(
        &mut pool,
        &[
            (verdict(0, false), &down, &[(2, 1)]),
            (second(false), &[], &[(2, 1)]),
            (verdict(0, true), &[], &[(2, 1)]),
            (second(true), &up, &[(1, 1), (2, 1)]),
        ],
    );
    assert!(pool.checker_up(0, 1) && !pool.checker_up(0, 2));
}

#[test]
fn an_inhibited_server_stays_with_weight_0() {
    let mut pool = VirtualServer::new(pool(vec![inhibited(server(1, 5)), server(2, 1)]));
    story(
        &mut pool,
        &[
            (verdict(0, false), &[Changed, Server { server: 0, up: false }], &[(1, 0), (2, 1)]),
            // Behind weight 0 its own weight moves unseen.
            (adjust(0, 2), &[], &[(1, 0), (2, 1)]),
            (verdict(0, true), &[Changed, Server { server: 0, up: true }], &[(1, 7), (2, 1)]),
        ],
    );
    let failed = inhibited(checked(server(1, 5), vec![alpha("tcp")]));
    assert_eq!(table(&VirtualServer::new(self::pool(vec![failed]))), [(1, 0)]);
}

#[test]
fn a_quorum_is_lost_and_gained_a_hysteresis_apart() {
    // Weights 3, 2, 1 and quorum 4±1: down below 3, up from 5.
    let config = with_quorum(4, 1, pool(vec![server(1, 3), server(2, 2), server(3, 1)]));
    let mut pool = VirtualServer::new(config);
    let (lost, gained) = (quorum(&pool, false, 2), quorum(&pool, true, 5));
    let step = |server, up| [Changed, Server { server, up }];
    story(
        &mut pool,
        &[
            (verdict(1, false), &step(1, false), &[(1, 3), (3, 1)]),
            (verdict(2, false), &step(2, false), &[(1, 3)]),
            (verdict(1, true), &step(1, true), &[(1, 3), (2, 2)]),
            // Without a sorry server the rest stays programmed.
            (verdict(0, false), &[Changed, Server { server: 0, up: false }, lost], &[(2, 2)]),
            (verdict(2, true), &step(2, true), &[(2, 2), (3, 1)]),
            (verdict(2, false), &step(2, false), &[(2, 2)]),
            (
                verdict(0, true),
                &[Changed, Server { server: 0, up: true }, gained],
                &[(1, 3), (2, 2)],
            ),
        ],
    );
}

#[test]
fn the_quorum_at_the_start_must_be_gained() {
    for (weight, hysteresis, met) in
        [(2, 0, true), (2, 1, true), (3, 0, true), (3, 1, false), (4, 0, false)]
    {
        let config = with_quorum(weight, hysteresis, pool(vec![server(1, 3)]));
        assert_eq!(VirtualServer::new(config).quorum_met(), met, "{weight} {hysteresis}");
    }
    assert!(!VirtualServer::new(pool(vec![])).quorum_met());
}

#[test]
fn a_sorry_server_serves_alone_while_the_quorum_is_missing() {
    let config = with_quorum(2, 0, pool(vec![server(1, 1), inhibited(server(2, 1)), server(3, 1)]));
    let mut pool = VirtualServer::new(with_sorry(false, config));
    let lost = quorum(&pool, false, 1);
    let gained = quorum(&pool, true, 3);
    story(
        &mut pool,
        &[
            (verdict(0, false), &[Changed, Server { server: 0, up: false }], &[(2, 1), (3, 1)]),
            (
                verdict(2, false),
                &[Changed, Server { server: 2, up: false }, lost, Sorry { active: true }],
                &[(2, 0), (SORRY, 1)],
            ),
            // Remembered, not programmed.
            (adjust(1, -1), &[], &[(2, 0), (SORRY, 1)]),
            (verdict(0, true), &[Server { server: 0, up: true }], &[(2, 0), (SORRY, 1)]),
            (verdict(1, false), &[Server { server: 1, up: false }], &[(2, 0), (SORRY, 1)]),
            (Input::SetWeight { server: 0, weight: Some(1) }, &[], &[(2, 0), (SORRY, 1)]),
            (adjust(2, 1), &[], &[(2, 0), (SORRY, 1)]),
            (
                verdict(2, true),
                &[Changed, Server { server: 2, up: true }, gained, Sorry { active: false }],
                &[(1, 1), (2, 0), (3, 2)],
            ),
        ],
    );
}

#[test]
fn an_inhibited_sorry_server_waits_with_weight_0() {
    let mut pool = VirtualServer::new(with_sorry(true, pool(vec![server(1, 1)])));
    assert_eq!(table(&pool), [(1, 1), (SORRY, 0)]);
    let (lost, gained) = (quorum(&pool, false, 0), quorum(&pool, true, 1));
    let down = [Changed, Server { server: 0, up: false }, lost, Sorry { active: true }];
    let up = [Changed, Server { server: 0, up: true }, gained, Sorry { active: false }];
    story(
        &mut pool,
        &[
            (verdict(0, false), &down, &[(SORRY, 1)]),
            (verdict(0, true), &up, &[(1, 1), (SORRY, 0)]),
        ],
    );
}

#[test]
fn a_sorry_server_that_is_a_real_server_has_one_entry() {
    let config =
        with_quorum(3, 0, pool(vec![inhibited(server(1, 2)), inhibited(server(SORRY, 4))]));
    let mut pool = VirtualServer::new(with_sorry(true, config));
    assert_eq!(table(&pool), [(1, 2), (SORRY, 4)]);
    handle(&mut pool, verdict(1, false));
    assert_eq!(table(&pool), [(1, 0), (SORRY, 1)]);
}

#[test]
fn weights_are_clamped_and_negative_ones_remembered() {
    let mut pool = VirtualServer::new(pool(vec![server(1, 10), server(2, 1)]));
    story(
        &mut pool,
        &[
            (adjust(0, -15), &[Changed], &[(1, 0), (2, 1)]),
            (adjust(0, -20), &[], &[(1, 0), (2, 1)]),
            // A higher base meets the remembered adjustment: 25 − 20.
            (Input::SetWeight { server: 0, weight: Some(25) }, &[Changed], &[(1, 5), (2, 1)]),
            (Input::SetWeight { server: 0, weight: None }, &[Changed], &[(1, 0), (2, 1)]),
            (adjust(0, i64::MAX), &[Changed], &[(1, 2_147_483_647), (2, 1)]),
            (adjust(0, i64::MIN), &[Changed], &[(1, 0), (2, 1)]),
            (adjust(0, 0), &[Changed], &[(1, 10), (2, 1)]),
        ],
    );
}

#[test]
fn adjustments_of_several_checkers_add_up() {
    let twice = checked(server(1, 10), vec![plain("misc"), plain("file")]);
    let mut pool = VirtualServer::new(pool(vec![twice]));
    handle(&mut pool, adjust(0, -4));
    handle(&mut pool, Input::Adjust { server: 0, checker: 1, by: 3 });
    assert_eq!((pool.effective_weight(0), pool.live_weight()), (9, 9));
}

#[test]
fn a_server_of_weight_0_is_up_and_counts_nothing() {
    let mut pool = VirtualServer::new(pool(vec![server(1, 1), server(2, 0)]));
    assert_eq!(table(&pool), [(1, 1), (2, 0)]);
    let lost = quorum(&pool, false, 0);
    let outputs = [Changed, Server { server: 0, up: false }, lost];
    story(&mut pool, &[(verdict(0, false), &outputs, &[(2, 0)])]);
    assert!(pool.alive(1));
}

#[test]
fn weight_alone_can_lose_the_quorum() {
    let mut pool = VirtualServer::new(with_sorry(false, pool(vec![server(1, 1)])));
    let lost = quorum(&pool, false, 0);
    let outputs = [Changed, lost, Sorry { active: true }];
    story(&mut pool, &[(adjust(0, -1), &outputs, &[(SORRY, 1)])]);
}

#[test]
fn inputs_for_nobody_are_ignored() {
    let mut pool = VirtualServer::new(pool(vec![server(1, 1)]));
    let before = pool.clone();
    for input in [
        verdict(1, false),
        adjust(7, 1),
        Input::SetWeight { server: 1, weight: None },
        Input::Verdict { server: 0, checker: 1, up: false },
        Input::Adjust { server: 0, checker: 9, by: 1 },
    ] {
        assert_eq!(handle(&mut pool, input), []);
    }
    assert_eq!(pool, before);
}

#[test]
fn a_start_announces_its_quorum_and_what_it_was_asked_to() {
    let started = |pool: &VirtualServer, init_notifies| {
        let mut out = Vec::new();
        pool.start(init_notifies, &mut out);
        out
    };
    let up = VirtualServer::new(pool(vec![server(1, 1)]));
    let gained = quorum(&up, true, 1);
    assert_eq!(started(&up, false), [Changed, gained]);
    assert_eq!(started(&up, true), [Changed, Server { server: 0, up: true }, gained]);

    let config = pool(vec![checked(server(1, 1), vec![alpha("tcp")])]);
    let down = VirtualServer::new(config.clone());
    assert_eq!(started(&down, true), [Changed]);
    let sorry = VirtualServer::new(with_sorry(false, config));
    assert_eq!(started(&sorry, true), [Changed, quorum(&sorry, false, 0), Sorry { active: true }]);
}

#[test]
fn only_omega_announces_a_stop() {
    let stopped = |omega| {
        let config = VirtualServerConfig { omega, ..pool(vec![server(1, 1), server(2, 1)]) };
        let mut pool = VirtualServer::new(config);
        handle(&mut pool, verdict(1, false));
        let mut out = Vec::new();
        pool.stop(&mut out);
        (out, quorum(&pool, false, 1))
    };
    assert_eq!(stopped(false).0, []);
    let (out, lost) = stopped(true);
    assert_eq!(out, [Server { server: 0, up: false }, lost]);

    // A quorum that was lost before is lost once more.
    let config = VirtualServerConfig { omega: true, ..pool(vec![server(1, 1)]) };
    let mut pool = VirtualServer::new(config);
    handle(&mut pool, verdict(0, false));
    let mut out = Vec::new();
    pool.stop(&mut out);
    assert_eq!(out, [quorum(&pool, false, 0)]);
}

#[test]
fn a_removal_announces_the_end_without_omega_too() {
    let mut pool = VirtualServer::new(pool(vec![server(1, 1), server(2, 1)]));
    handle(&mut pool, verdict(1, false));
    let mut out = Vec::new();
    pool.remove(&mut out);
    assert_eq!(out, [Server { server: 0, up: false }, quorum(&pool, false, 1)]);
}

#[test]
fn the_first_failure_of_an_alpha_server_is_announced_once_a_checker() {
    let telling = CheckerConfig { tells_first_failure: true, ..alpha("tcp") };
    let twice = CheckerConfig { tells_first_failure: true, ..alpha("misc") };
    let servers = vec![checked(server(1, 1), vec![telling, twice, alpha("http")])];
    let mut pool = VirtualServer::new(pool(servers));
    let first = |checker| Input::Verdict { server: 0, checker, up: false };
    let stays = Output::StaysDown { server: 0 };
    let steps: &[(usize, &[Output])] =
        &[(0, &[stays]), (0, &[]), (2, &[]), (1, &[stays]), (1, &[])];
    for (checker, outputs) in steps {
        assert_eq!(handle(&mut pool, first(*checker)), *outputs, "{checker}");
    }
}

#[test]
fn a_server_that_nobody_can_check_is_unknown_and_serves_nobody() {
    let blind = |last| RealServerConfig { unknowable: true, ..checked(server(last, 5), vec![]) };
    let servers = vec![server(1, 1), blind(2), inhibited(blind(3)), checked(server(4, 1), vec![])];
    let pool = VirtualServer::new(pool(servers));
    let health = [Health::Up, Health::Unknown, Health::Unknown, Health::Up];
    assert_eq!([0, 1, 2, 3].map(|at| pool.health(at)), health);
    assert_eq!((pool.health(9), pool.live_weight()), (Health::Unknown, 2));
    assert_eq!(table(&pool), [(1, 1), (3, 0), (4, 1)]);
}

#[test]
fn ports_follow_the_key() {
    let mark = ServiceKey::Fwmark { family: Family::Inet, mark: 7 };
    let tunnel = ForwardingMethod::Tunnel(TunnelType::Ipip);
    for (method, port, key, expected) in [
        (ForwardingMethod::Nat, 8080, vip(80), 8080),
        (ForwardingMethod::Nat, 0, vip(80), 80),
        (ForwardingMethod::Nat, 0, mark, 0),
        (ForwardingMethod::Nat, 8080, mark, 8080),
        (ForwardingMethod::Route, 8080, vip(443), 443),
        (ForwardingMethod::Route, 8080, mark, 0),
        (tunnel, 0, vip(443), 443),
        (tunnel, 80, mark, 0),
    ] {
        let config = RealServerConfig { key: host(1, port), method, ..server(1, 1) };
        let config = VirtualServerConfig { keys: vec![key], ..pool(vec![config]) };
        let service = VirtualServer::new(config).service(&key);
        assert_eq!(
            service.destinations.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
            [host(1, expected)]
        );
    }
}

#[test]
fn every_entry_of_a_group_has_the_same_servers() {
    let template = Service { scheduler: Scheduler::Wrr, ..Service::default() };
    let route = |port| RealServerConfig {
        key: host(1, port),
        method: ForwardingMethod::Route,
        upper_threshold: 10,
        lower_threshold: 5,
        ..server(1, u32::from(port))
    };
    let keys = vec![vip(80), vip(443)];
    let config = VirtualServerConfig { keys, service: template, ..pool(vec![route(7), route(9)]) };
    let pool = VirtualServer::new(config);
    for port in [80, 443] {
        let service = pool.service(&vip(port));
        assert_eq!(service.scheduler, Scheduler::Wrr);
        // Direct routing makes one destination of two ports.
        let destination = service.destinations.get(&host(1, port)).expect("it is there");
        assert_eq!((destination.weight, service.destinations.len()), (9, 1));
        assert_eq!((destination.upper_threshold, destination.lower_threshold), (10, 5));
    }
}

fn adopted(new: VirtualServerConfig, old: &VirtualServer) -> (VirtualServer, Vec<Output>) {
    let (mut pool, mut out) = (VirtualServer::new(new), Vec::new());
    pool.adopt(old, &mut out);
    (pool, out)
}

#[test]
fn a_reload_keeps_health_weights_and_quorum() {
    let config = with_quorum(3, 1, pool(vec![server(1, 2), server(2, 2)]));
    let mut old = VirtualServer::new(config.clone());
    handle(&mut old, verdict(1, false));
    handle(&mut old, adjust(0, 3));
    handle(&mut old, Input::SetWeight { server: 1, weight: Some(9) });
    assert_eq!(adopted(config, &old), (old.clone(), vec![]));

    // Order does not matter, a new weight in the file ends the operator's.
    let config = with_quorum(3, 1, pool(vec![server(2, 4), server(1, 2)]));
    let (new, out) = adopted(config, &old);
    assert_eq!(out, []);
    assert_eq!((new.alive(0), new.effective_weight(0)), (false, 4));
    assert_eq!((new.alive(1), new.effective_weight(1)), (true, 5));
}

#[test]
fn a_quorum_between_its_bounds_survives_a_reload() {
    let config = with_quorum(4, 1, pool(vec![server(1, 3), server(2, 2)]));
    let mut old = VirtualServer::new(config.clone());
    handle(&mut old, verdict(1, false));
    assert!(old.quorum_met() && adopted(config.clone(), &old).0.quorum_met());
    // A higher quorum is lost by the reload.
    let (new, out) =
        adopted(with_sorry(false, with_quorum(5, 0, pool(vec![server(1, 3), server(2, 2)]))), &old);
    assert_eq!(out, [quorum(&new, false, 3), Sorry { active: true }]);
    // A sorry server that is not configured any more gives way.
    let (_, out) = adopted(with_quorum(5, 0, config), &new);
    assert_eq!(out, [Sorry { active: false }]);
}

#[test]
fn a_reload_announces_servers_that_are_gone() {
    let mut old = VirtualServer::new(pool(vec![server(1, 1), server(2, 1), server(3, 1)]));
    handle(&mut old, verdict(2, false));
    let (new, out) = adopted(pool(vec![server(2, 1), server(4, 1)]), &old);
    assert_eq!(out, [Removed { server: 0, was_up: true }, Removed { server: 2, was_up: false }]);
    assert_eq!(table(&new), [(2, 1), (4, 1)]);
}

#[test]
fn checkers_are_matched_by_what_they_do() {
    let with = |checkers| pool(vec![checked(server(1, 1), checkers), server(2, 1)]);
    let run = |config, verdicts: &[Input]| {
        let mut pool = VirtualServer::new(config);
        for input in verdicts {
            handle(&mut pool, *input);
        }
        pool
    };
    let first_down = Server { server: 0, up: false };
    let first_up = Server { server: 0, up: true };
    // (before, verdicts, after, what the reload announces)
    for (case, (before, verdicts, after, expected)) in [
        // The same one keeps its state, wherever it stands.
        (vec![plain("a"), plain("b")], vec![verdict(0, false)], vec![plain("b"), plain("a")], None),
        // The failed one is gone: up at once.
        (vec![plain("a"), plain("b")], vec![verdict(0, false)], vec![plain("b")], Some(first_up)),
        // A changed one starts up.
        (vec![plain("a")], vec![verdict(0, false)], vec![plain("b")], Some(first_up)),
        // A changed alpha one stays failed on a server that was failed,
        (vec![plain("a")], vec![verdict(0, false)], vec![alpha("b")], None),
        // starts failed when nothing has run,
        (vec![plain("a")], vec![], vec![plain("a"), alpha("b")], Some(first_down)),
        (vec![], vec![], vec![alpha("b")], Some(first_down)),
        // and trusts a server that was up.
        (vec![plain("a")], vec![verdict(0, true)], vec![plain("a"), alpha("b")], None),
        // Two of a kind are two.
        (vec![plain("a"), plain("a")], vec![verdict(1, true)], vec![plain("a"); 3], None),
    ]
    .into_iter()
    .enumerate()
    {
        let old = run(with(before), &verdicts);
        let (_, out) = adopted(with(after), &old);
        assert_eq!(out, expected.into_iter().collect::<Vec<_>>(), "case {case}");
    }
}

fn any_server(last: u8) -> impl Strategy<Value = RealServerConfig> {
    let checkers = prop::collection::vec(any::<bool>(), 0..3);
    (0_u32..4, any::<bool>(), checkers).prop_map(move |(weight, inhibit, alphas)| {
        let checker = |(at, alpha): (usize, bool)| CheckerConfig {
            spec: at as u64,
            alpha,
            tells_first_failure: false,
        };
        RealServerConfig {
            inhibit_on_failure: inhibit,
            checkers: alphas.into_iter().enumerate().map(checker).collect(),
            ..server(last, weight)
        }
    })
}

fn any_pool() -> impl Strategy<Value = VirtualServerConfig> {
    let servers = (1_u8..6).prop_flat_map(|n| (1..=n).map(any_server).collect::<Vec<_>>());
    (servers, 0_u32..8, 0_u32..4, prop::option::of(any::<bool>())).prop_map(
        |(servers, weight, hysteresis, sorry)| {
            let config = with_quorum(weight, hysteresis, pool(servers));
            match sorry {
                Some(inhibit) => with_sorry(inhibit, config),
                None => config,
            }
        },
    )
}

fn any_input() -> impl Strategy<Value = Input> {
    let at = || (0_usize..6, 0_usize..3);
    prop_oneof![
        4 => (at(), any::<bool>())
            .prop_map(|((server, checker), up)| Input::Verdict { server, checker, up }),
        2 => (at(), -6_i64..6)
            .prop_map(|((server, checker), by)| Input::Adjust { server, checker, by }),
        1 => (0_usize..6, prop::option::of(0_u32..9))
            .prop_map(|(server, weight)| Input::SetWeight { server, weight }),
    ]
}

/// Everything the rules say, computed from scratch over the inputs so far.
fn recomputed(
    config: &VirtualServerConfig,
    inputs: &[Input],
) -> (BTreeMap<DestinationKey, u32>, bool) {
    let state = |inputs: &[Input]| -> Vec<(bool, i64)> {
        let server = |(at, config): (usize, &RealServerConfig)| {
            let mut up: Vec<_> = config.checkers.iter().map(|c| !c.alpha).collect();
            let mut by = vec![0; up.len()];
            let mut base = config.weight;
            for input in inputs {
                match *input {
                    Input::Verdict { server, checker, up: v }
                        if server == at && checker < up.len() =>
                    {
                        up[checker] = v;
                    }
                    Input::Adjust { server, checker, by: v }
                        if server == at && checker < up.len() =>
                    {
                        by[checker] = v;
                    }
                    Input::SetWeight { server, weight } if server == at => {
                        base = weight.unwrap_or(config.weight);
                    }
                    _ => {}
                }
            }
            (up.iter().all(|up| *up), (i64::from(base) + by.iter().sum::<i64>()).max(0))
        };
        config.real_servers.iter().enumerate().map(server).collect()
    };
    let mut met = false;
    for seen in 0..=inputs.len() {
        let live: i64 =
            state(&inputs[..seen]).iter().filter(|(up, _)| *up).map(|(_, weight)| weight).sum();
        let (want, hysteresis) =
            (i64::from(config.quorum.weight.max(1)), i64::from(config.quorum.hysteresis));
        if live == 0 || live < want - hysteresis {
            met = false;
        } else if live >= want + hysteresis {
            met = true;
        }
    }
    let serves_sorry = !met && config.sorry_server.is_some();
    let mut table = BTreeMap::new();
    for (server, (up, weight)) in config.real_servers.iter().zip(state(inputs)) {
        if up && !serves_sorry {
            table.insert(server.key, u32::try_from(weight).unwrap());
        } else if server.inhibit_on_failure {
            table.insert(server.key, 0);
        }
    }
    if let Some(sorry) = config.sorry_server.filter(|s| serves_sorry || s.inhibit) {
        table.insert(sorry.key, u32::from(serves_sorry));
    }
    (table, met)
}

proptest! {
    #[test]
    fn any_sequence_gives_what_a_recomputation_gives(
        config in any_pool(),
        inputs in prop::collection::vec(any_input(), 0..40),
    ) {
        let mut pool = VirtualServer::new(config.clone());
        for (seen, input) in inputs.iter().enumerate() {
            let before = pool.service(&vip(80));
            let out = handle(&mut pool, *input);
            let after = pool.service(&vip(80));
            prop_assert_eq!(out.contains(&Changed), before != after);

            let weights = after.destinations.into_iter().map(|(key, d)| (key, d.weight)).collect();
            prop_assert_eq!((weights, pool.quorum_met()), recomputed(&config, &inputs[..=seen]));
        }
        let (again, out) = adopted(config, &pool);
        prop_assert_eq!(again, pool);
        prop_assert_eq!(out, vec![]);
    }
}
