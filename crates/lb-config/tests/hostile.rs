//! No input makes the reader panic, hang or eat memory. A failing input is printed, shrunk, with its seed.

use lb_config::{MemorySystem, Options, load, parse_str};
use proptest::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};

/// Every kind of block and line once, as something to mutate.
const SAMPLE: &str = r#"$IF=eth0
$BLOCK=track_interface { \
  eth1 weight 5 \
}
global_defs {
  router_id "a b" ! comment
  lvs_timeouts tcp 5 udp 6
  umask IRWXG|IRWXO
  include_check +match
}
vrrp_script chk {
  script "/bin/true 'x y' \x41"
  weight -5 reverse
}
vrrp_sync_group G { group { VI_1 VI_2 } }
~SEQ(N, 1, 2) vrrp_instance VI_$N { \
  interface $IF
vrrp_instance VI_1 {
  interface ${IF}
  virtual_router_id 51
  authentication { auth_type PASS
  auth_pass secretsecret }
  unicast_peer { 10.0.0.2 min_ttl 3
  }
  virtual_ipaddress { 10.0.0.1/24 dev eth0 brd + label x scope link
    10.0.0.3
  }
  $BLOCK
  notify "/bin/true" root root
}
virtual_server_group W { 10.0.0.1-9 80
  2001:db8::/120 80
  fwmark 3 inet }
~LST({A,B}, {1, 80}, {2, 81}) virtual_server 10.0.0.$A $B { lb_algo sh
  sh-port
  lvs_method TUN type gue port 5 csum
  persistence_granularity 255.255.0.0
  quorum 7
  sorry_server 10.0.0.9
  real_server 10.0.0.2 80 { weight 3
    HTTP_GET { url { path /
      status_code 200-300 404
      digest 00112233445566778899aabbccddeeff
    } }
    MISC_CHECK { misc_path '/bin/true "a"' }
    TCP_CHECK { connect_timeout 1.5 }
  }
}
include other
@id line
"#;

fn read(text: &[u8]) {
    let mut system =
        MemorySystem::default().with("/other", "weight 3\n}").with_mode("/bin/true", "", 0o755);
    system.files.insert(
        "/main".into(),
        lb_config::MemoryFile {
            bytes: text.to_vec(),
            mode: 0o644,
            owner: lb_config::model::ScriptOwner { uid: 0, gid: 0 },
        },
    );
    for testing in [false, true] {
        let options = Options { testing, ..Options::default() };
        let loaded = load(Path::new("/main"), &options, &system);
        // Drawing is the slow part, and the same both times.
        let drawn = if testing { loaded.render(false) } else { String::new() };
        let _ = (drawn, loaded.one_liners().count(), loaded.diagnostics.exit_code_of_check());
        assert_eq!(loaded.is_refused(), loaded.diagnostics.errors() > 0);
    }
}

#[test]
fn the_sample_reaches_everything() {
    read(SAMPLE.as_bytes());
    // Every prefix, as a file that was cut off.
    for end in 0..SAMPLE.len() {
        read(&SAMPLE.as_bytes()[..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
    }

    #[test]
    fn random_words(words in proptest::collection::vec("[a-z{}\"'$~@#! \\\\\n(),=0-9.:/-]{1,12}", 0..40)) {
        read(words.join(" ").as_bytes());
    }

    #[test]
    fn lines_of_the_sample_in_any_order(order in proptest::collection::vec(0..60_usize, 1..80)) {
        let lines: Vec<&str> = SAMPLE.lines().collect();
        let text: Vec<&str> = order.iter().map(|index| lines[index % lines.len()]).collect();
        read(text.join("\n").as_bytes());
    }

    #[test]
    fn the_sample_with_bytes_changed(changes in proptest::collection::vec((0..SAMPLE.len(), any::<u8>()), 1..12)) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        read(&bytes);
    }
}

/// Seconds a text takes; it must be few.
fn quick(text: &str) {
    let start = Instant::now();
    read(text.as_bytes());
    // Generous: this is a debug build on a busy machine, and a quadratic reader takes minutes.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn size_alone_is_no_problem() {
    quick(&"{".repeat(1000).repeat(100).replace("{{", "{\n"));
    quick(&"x {\n".repeat(50_000));
    quick(&"}\n".repeat(50_000));
    quick(&"unknown_keyword\n".repeat(50_000));
    quick(&"$".repeat(900).repeat(20));
    quick(&format!("$A=1\n{}", format!("x {}\n", "${A}".repeat(200)).repeat(1_000)));
    quick(&format!("x \"{}", "a".repeat(3_000_000)));
    quick(
        &(0..20_000)
            .map(|n| format!("vrrp_sync_group {n} {{ group {{ x\n }} }}\n"))
            .collect::<String>(),
    );
    quick(&(0..20_000).map(|n| format!("$A{n}=${{A{}}}\n", n + 1)).collect::<String>());
}

#[test]
fn more_warnings_than_anyone_reads_are_counted() {
    let system = MemorySystem::default();
    let loaded = parse_str("t", &"unknown\n".repeat(10_000), &Options::default(), &system);
    assert_eq!((loaded.diagnostics.warnings(), loaded.diagnostics.left_out()), (10_000, 8_000));
    assert_eq!(loaded.diagnostics.exit_code_of_check(), 5);
    assert!(loaded.render(false).contains("and 8000 more warnings"));
}
