//! Health checkers.

use super::server::server;
use super::{Row, See, see};

const TCP: &str = "virtual_server/real_server/TCP_CHECK";
const HTTP: &str = "virtual_server/real_server/HTTP_GET";
const TLS: &str = "virtual_server/real_server/SSL_GET";
const MISC: &str = "virtual_server/real_server/MISC_CHECK";

/// A row of one real server with a checker.
fn row(path: &'static str, keyword: &'static str, to: &str, lines: [&str; 2], see: See) -> Row {
    let checker = path.rsplit('/').next().unwrap_or_default();
    let both = lines.map(|lines| {
        server("VS", "", &format!("real_server {to} {{\n{checker} {{\n{lines}\n}}\n}}"))
    });
    Row::new((path, keyword), both, see)
}

/// The same of a `url` in it.
fn url(path: &'static str, keyword: &'static str, to: &str, lines: [&str; 2], see: See) -> Row {
    let checker = path.rsplit('/').nth(1).unwrap_or_default();
    let both = lines.map(|lines| {
        let checker = format!("{checker} {{\nretry 0\nurl {{\n{lines}\n}}\n}}");
        server("VS", "", &format!("real_server {to} {{\n{checker}\n}}"))
    });
    Row::new((path, keyword), both, see)
}

/// What all checkers have, `lines` being what each needs. `good` is a server that answers, `mortal` one that does so
/// for a while and `bad` one that does not.
fn timing(path: &'static str, lines: &str, good: &str, mortal: &str, see_times: See) -> Vec<Row> {
    let with = |more: &str| format!("{lines}\n{more}");
    let row = |keyword, to: &str, [without, and]: [&str; 2], see| {
        row(path, keyword, to, [&with(without), &with(and)], see)
    };
    let fast = "delay_loop 1\nretry 1\ndelay_before_retry 1";
    vec![
        row("delay_loop", good, ["", "delay_loop 1"], see_times),
        row("warmup", good, ["", "warmup 1000000"], see_times),
        row("retry", mortal, [fast, "delay_loop 1\nretry 1000\ndelay_before_retry 1"], see::table),
        row(
            "delay_before_retry",
            mortal,
            [fast, "delay_loop 1\nretry 1\ndelay_before_retry 1000"],
            see::table,
        ),
        row("alpha", good, ["warmup 1000000", "warmup 1000000\nalpha"], see::table),
        row(
            "log_all_failures",
            mortal,
            [
                "delay_loop 1\nretry 1000\ndelay_before_retry 1",
                "delay_loop 1\nretry 1000\ndelay_before_retry 1\nlog_all_failures",
            ],
            see::failures,
        ),
    ]
}

/// What all checkers over the network have.
fn connection(path: &'static str, lines: &str, port: u16) -> Vec<Row> {
    let with = |more: &str| format!("{lines}\n{more}");
    let row = |keyword, to: &str, [without, and]: [&str; 2], see| {
        row(path, keyword, to, [&with(without), &with(and)], see)
    };
    let to = format!("RS1 {port}");
    let connect_port = format!("connect_port {port}");
    // Each its own.
    let low = match path {
        TCP => "bindto 10.0.0.5\nbind_port 701",
        HTTP => "bindto 10.0.0.5\nbind_port 702",
        _ => "bindto 10.0.0.5\nbind_port 703",
    };
    vec![
        row(
            "connect_timeout",
            "GONE 80",
            ["retry 0\nconnect_timeout 1000", "retry 0\nconnect_timeout 1"],
            see::table,
        ),
        row("connect_port", "RS1 99", ["retry 0", &format!("retry 0\n{connect_port}")], see::times),
        row("connect_ip", &to, ["", "connect_ip RS2"], see::times),
        row("bindto", &to, ["", "bindto 10.0.0.5"], see::source),
        row("bind_port", &to, ["bindto 10.0.0.5", low], see::source),
        row("bind_if", &to, ["", "bind_if eth2"], see::source),
        row("fwmark", &to, ["", "fwmark 7"], see::source),
    ]
}

fn http(path: &'static str, port: u16) -> Vec<Row> {
    let to = format!("RS1 {port}");
    let page = "url {\npath /\n}";
    let two = "url {\npath /\n}\nurl {\npath /second\n}";
    let row =
        |keyword, [without, with]: [&str; 2], see| row(path, keyword, &to, [without, with], see);
    let with = |more: &str| format!("{page}\n{more}");
    vec![
        row("url", [page, "url {\npath /other\n}"], see::request),
        row("virtualhost", [page, &with("virtualhost www.example")], see::request),
        row("http_protocol", [page, &with("http_protocol 1.1")], see::request),
        row("fast_recovery", [two, &format!("{two}\nfast_recovery")], see::pages),
    ]
}

fn urls(path: &'static str, port: u16) -> Vec<Row> {
    let to = format!("RS1 {port}");
    let row = |keyword, lines, see| url(path, keyword, &to, lines, see);
    let of_body = "path /\ndigest 841a2d689ad86bd1611447453c22c6fc";
    vec![
        row("path", ["path /", "path /a?b=c"], see::request),
        row("status_code", ["path /404", "path /404\nstatus_code 404"], see::table),
        row("digest", [of_body, "path /\ndigest 00000000000000000000000000000000"], see::table),
        row("virtualhost", ["path /", "path /\nvirtualhost www.example"], see::request),
    ]
}

fn misc() -> Vec<Row> {
    let row = |keyword, [without, with]: [&str; 2], see| {
        row(MISC, keyword, "RS1 80", [without, with], see)
    };
    let sleeps = "misc_path \"/bin/sleep 1000\"\nretry 0";
    let status = "misc_path \"/run/exit 9\"";
    let who = "misc_path \"WHO\"";
    vec![
        row("misc_path", ["misc_path \"NOTE a\"", "misc_path \"NOTE b 'c d'\""], see::notes),
        row(
            "misc_timeout",
            [&format!("{sleeps}\nmisc_timeout 1000"), &format!("{sleeps}\nmisc_timeout 1")],
            see::table,
        ),
        row("misc_dynamic", [status, &format!("{status}\nmisc_dynamic")], see::table),
        row("user", [who, &format!("{who}\nuser nobody")], see::notes),
    ]
}

pub fn rows() -> Vec<Row> {
    let page = "url {\npath /\n}";
    let mortal = "url {\npath /mortal\n}";
    let of = |path, to: &str| timing(path, mortal, to, to, see::times);
    let note = "misc_path \"NOTE check\"";
    let [dies, notes] = ["misc_path /run/health", note]
        .map(|lines| timing(MISC, lines, "RS1 80", "RS1 80", see::noted_again));
    let of_death = ["retry", "delay_before_retry", "log_all_failures"];
    let dies = dies.into_iter().filter(|row| of_death.contains(&row.keyword));
    let notes = notes.into_iter().filter(|row| !of_death.contains(&row.keyword));
    let of_tls = |keyword, with: &str, see: See| {
        let lines = [page.to_owned(), format!("{page}\n{with}")];
        row(TLS, keyword, "RS1 443", lines.each_ref().map(String::as_str), see)
    };
    let named = "virtualhost www.example\nenable_sni";
    let all = [
        timing(TCP, "", "RS1 80", "RS1 82", see::times),
        connection(TCP, "", 80),
        of(HTTP, "RS1 80"),
        connection(HTTP, page, 80),
        http(HTTP, 80),
        urls("virtual_server/real_server/HTTP_GET/url", 80),
        // Without TLS they say nothing.
        ["enable_sni", "sni_name name.example"]
            .map(|line| {
                let keyword = line.split(' ').next().unwrap_or_default();
                let both = [page, &format!("{page}\n{line}")];
                row(HTTP, keyword, "RS1 80", both, see::request).without_effect()
            })
            .into(),
        of(TLS, "RS1 443"),
        connection(TLS, page, 443),
        http(TLS, 443),
        urls("virtual_server/real_server/SSL_GET/url", 443),
        vec![
            of_tls("enable_sni", named, see::sni),
            of_tls("sni_name", "enable_sni\nsni_name name.example", see::sni).alone(),
            of_tls("tls_compliant", "tls_compliant", see::goodbye).alone(),
            url(
                "virtual_server/real_server/SSL_GET/url",
                "tls_compliant",
                "RS1 443",
                ["path /", "path /\ntls_compliant"],
                see::goodbye,
            )
            .alone(),
        ],
        misc(),
    ];
    all.into_iter().flatten().chain(dies).chain(notes).collect()
}
