//! How a lab looks on a terminal, within 80 columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use lb_control::{
    DEFAULT_SOCKET, PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody, State,
};
use lb_lab::{Fault, FaultKind, Host, Lab, Progress, Report};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

const PATIENCE: Duration = Duration::from_millis(500);

/// What was built.
pub fn topology(title: &str, lab: &Lab) {
    anstream::println!("{BOLD}lab{BOLD:#} {title}\n\n{}", hosts(lab));
}

/// One line a host: name, addresses, programs.
pub fn hosts(lab: &Lab) -> String {
    let width = lab.hosts().iter().map(|host| host.name().len()).max().unwrap_or_default();
    let mut text = String::new();
    for host in lab.hosts() {
        let addresses = host.addresses().map(|all| {
            let shown = all
                .into_iter()
                .map(|(_, ip)| ip)
                .filter(|ip| !ip.is_loopback() && !is_link_local(*ip));
            shown.map(|ip| ip.to_string()).collect::<Vec<_>>().join(" ")
        });
        let programs = host.programs();
        let programs = programs
            .iter()
            .filter(|program| program.is_running())
            .map(|program| short(program.command()));
        let programs = programs.collect::<Vec<_>>().join(", ");
        let line = match addresses {
            Ok(addresses) => format!("  {:width$}  {addresses:40}  {programs}", host.name()),
            Err(_) => format!("  {:width$}  down", host.name()),
        };
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// `lbd` of `/usr/sbin/lbd -n -l`; the built-in server by what it is.
fn short(command: &str) -> &str {
    if command.contains(" lab-server ") {
        return "web server";
    }
    let program = command.split(' ').next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or_default()
}

/// Says what happens as it happens.
pub fn progress(lab: &Lab, progress: &Progress<'_>) {
    match progress {
        Progress::Ready { master, took, served } => {
            anstream::println!(
                "{GOOD}up{GOOD:#} after {}: {}",
                span(took.as_secs_f64() * 1e3),
                states(lab, *master)
            );
            anstream::println!("   one second of requests: {}\n", shares(served));
        }
        Progress::Fault { kind, target, is_master } => {
            let role = if *is_master { ", the MASTER" } else { "" };
            anstream::println!(
                "{BOLD}{kind} {target}{BOLD:#}{role} {DIM}({}){DIM:#}",
                meaning(*kind)
            );
        }
        Progress::Over(fault) => over(lab, fault),
    }
    let _ = anstream::stdout().flush();
}

fn meaning(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Kill => "power off: cables dead, every process SIGKILLed",
        FaultKind::Stop => "SIGTERM to its programs",
        FaultKind::Cut => "every cable pulled",
        FaultKind::Mend => "started again, cables plugged in",
    }
}

fn over(lab: &Lab, fault: &Fault) {
    let style = if fault.lost == 0 { GOOD } else { BAD };
    anstream::println!(
        "   outage {style}{}{style:#}, lost {} of {} requests{}",
        span(fault.outage_ms),
        fault.lost,
        fault.sent,
        match (fault.recovered, fault.lost) {
            (false, _) => " and did not recover".to_owned(),
            (true, 0) => String::new(),
            (true, _) => format!(", the last {} after the fault", span(fault.recovered_ms)),
        }
    );
    anstream::println!("   served before: {}", shares(&fault.served_before));
    anstream::println!("   served after:  {}", shares(&fault.served_after));
    if fault.master_before != fault.master_after {
        anstream::println!("   {}", states(lab, fault.master_after.as_deref()));
    }
    anstream::println!();
}

/// `MASTER d1, BACKUP d2`: what the daemons say, or else who holds the VIP.
fn states(lab: &Lab, master: Option<&str>) -> String {
    let said: Vec<String> = lab
        .hosts()
        .iter()
        .flat_map(|host| vrrp_states(host).into_iter().map(move |state| (state, host.name())))
        .map(|(state, host)| {
            let style = if state == State::Master { GOOD } else { Style::new() };
            format!("{style}{state} {host}{style:#}")
        })
        .collect();
    match (said.is_empty(), master) {
        (false, _) => said.join(", "),
        (true, Some(master)) => format!("{GOOD}{master}{GOOD:#} holds the VIP"),
        (true, None) => format!("{BAD}nobody{BAD:#} holds the VIP"),
    }
}

/// The states of the host's VRRP instances, each once; none when no lbd answers there.
fn vrrp_states(host: &Host) -> Vec<State> {
    let asked = host.run(|| {
        let mut stream = UnixStream::connect(DEFAULT_SOCKET).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request =
            serde_json::to_string(&Request { v: PROTOCOL_VERSION, body: RequestBody::Status })
                .ok()?;
        writeln!(stream, "{request}").ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        match serde_json::from_str::<Response>(&line).ok()?.body {
            ResponseBody::Status { status } => Some(status),
            _ => None,
        }
    });
    let Ok(Some(status)) = asked else { return Vec::new() };
    let mut states: Vec<_> = status.vrrp.iter().map(|instance| instance.state).collect();
    states.sort();
    states.dedup();
    states
}

/// What the client saw in all.
pub fn report(report: &Report) {
    anstream::println!(
        "{BOLD}{} sent {} requests to {}{BOLD:#}",
        report.client,
        report.sent,
        report.url
    );
    anstream::println!("   {} answered: {}", report.answered, shares(&report.answered_by));
    let latency = report.latency_ms;
    anstream::println!(
        "   half of them within {}, 99 % within {}, the slowest after {}",
        span(latency.median),
        span(latency.p99),
        span(latency.max)
    );
    let style = if report.lost == 0 { GOOD } else { BAD };
    anstream::println!(
        "   {style}{} lost{style:#} (no answer within {} ms)",
        report.lost,
        report.timeout_ms
    );
    if report.faults.is_empty() {
        return;
    }
    anstream::println!("\n   {DIM}fault                    outage      lost   service{DIM:#}");
    for fault in &report.faults {
        let name = format!(
            "{} {}{}",
            fault.kind,
            fault.target,
            if fault.was_master { " (MASTER)" } else { "" }
        );
        let service = if fault.recovered { "recovered" } else { "did not recover" };
        anstream::println!(
            "   {name:20} {:>10} {:>9}   {service}",
            span(fault.outage_ms),
            fault.lost
        );
    }
}

/// `web1 34, web2 33, web3 33`.
fn shares(by: &BTreeMap<String, usize>) -> String {
    if by.is_empty() {
        return "nothing".to_owned();
    }
    by.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Milliseconds in three digits or so.
fn span(ms: f64) -> String {
    match ms {
        0.0 => "0 ms".to_owned(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// The option that names a lab on a command line, where it needs one.
pub fn named(name: &str) -> String {
    if name == "lab" { String::new() } else { format!(" --name {name}") }
}

/// What to type into another terminal.
pub fn how_to_play(name: &str, lab: &Lab) {
    let named = named(name);
    let cabled = lab.hosts().iter().find(|host| !host.spec().interfaces.is_empty());
    let mut example =
        lab.hosts().iter().filter(|host| host.spec().programs.iter().any(|p| !p.run.is_empty()));
    let host = example.next().or(cabled).map_or("HOST", Host::name);
    let interface =
        cabled.and_then(|host| host.spec().interfaces.first()).map_or("eth0", |i| i.name.as_str());
    // Not on standard output, where the report may be read by a program.
    anstream::eprintln!(
        "\n{GOOD}held{GOOD:#} until Ctrl-C. From another terminal:\n\
         \n   lbctl lab{named} list\n   lbctl lab{named} exec {host} bash\n   lbctl lab{named} cut {host} {interface}\n   \
         lbctl lab{named} mend\n   lbctl lab{named} kill {host}\n   lbctl lab{named} start {host}"
    );
}
