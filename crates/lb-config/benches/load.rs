//! How long configurations of growing size take to read: `cargo bench -p lb-config`.

use std::fmt::Write as _;
use std::time::Instant;

use lb_config::{MemorySystem, Options};

fn main() {
    for (name, count, make) in [
        ("virtual servers of 2", 10_000, virtual_servers as fn(usize) -> String),
        ("real servers in one", 20_000, real_servers),
        ("real servers in one", 80_000, real_servers),
        ("VRRP instances", 1_000, instances),
        ("VRRP instances", 4_000, instances),
    ] {
        let text = make(count);
        let system = MemorySystem::default();
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                let loaded =
                    lb_config::parse_str("bench.conf", &text, &Options::default(), &system);
                let took = start.elapsed();
                assert!(!loaded.is_refused(), "{}", loaded.render(false));
                took
            })
            .min()
            .unwrap_or_default();
        let rate = text.len() as f64 / 1e6 / best.as_secs_f64();
        println!(
            "{count:6} {name:22} {:8} bytes {:7.1} ms {rate:6.1} MB/s",
            text.len(),
            best.as_secs_f64() * 1e3
        );
    }
}

fn real_server(text: &mut String, address: std::net::Ipv4Addr) {
    let _ = writeln!(text, "  real_server {address} 80 {{");
    text.push_str("    weight 1\n    TCP_CHECK {\n      connect_timeout 3\n    }\n  }\n");
}

fn head(text: &mut String, address: std::net::Ipv4Addr) {
    let _ = writeln!(text, "virtual_server {address} 80 {{");
    text.push_str("  delay_loop 6\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n");
}

fn virtual_servers(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count as u32 {
        head(&mut text, (0x0a00_0000 + (number << 2)).into());
        real_server(&mut text, (0x0a00_0001 + (number << 2)).into());
        real_server(&mut text, (0x0a00_0002 + (number << 2)).into());
        text.push_str("}\n");
    }
    text
}

fn real_servers(count: usize) -> String {
    let mut text = String::new();
    head(&mut text, 0x0a00_0001.into());
    for number in 0..count as u32 {
        real_server(&mut text, (0x0a01_0000 + number).into());
    }
    text.push_str("}\n");
    text
}

fn instances(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = write!(
            text,
            "vrrp_instance VI_{number} {{\n  state BACKUP\n  interface eth{}\n  virtual_router_id {}\n  \
             priority 100\n  virtual_ipaddress {{\n    10.{}.{}.1/24\n  }}\n}}\n",
            number / 250,
            number % 250 + 1,
            number >> 8,
            number & 255,
        );
    }
    text
}
