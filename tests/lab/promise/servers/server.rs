//! Virtual servers, their groups and their real servers.

use super::{Row, See, see};

/// What a virtual server has where a row says nothing else. Checks come once, soon.
const USUAL: [&[&str]; 6] = [
    &["delay_loop 1000"],
    &["warmup 0"],
    // A machine may be slow.
    &["connect_timeout 100"],
    &["lvs_sched rr", "lb_algo"],
    &["lvs_method NAT", "lb_kind"],
    &["protocol TCP"],
];
/// Real servers: not checked; reached; not reached; reached until it dies; nobody can say.
const PLAIN: &str = "real_server RS1 80 {\n}";
const REACHED: &str = "real_server RS1 80 {\nTCP_CHECK {\n}\n}";
const REFUSED: &str = "real_server RS1 81 {\nTCP_CHECK {\nretry 0\n}\n}";
const MORTAL: &str = "real_server RS1 82 {\nTCP_CHECK {\n}\n}";
const GONE: &str = "real_server GONE 80 {\nTCP_CHECK {\nretry 0\n}\n}";

/// A virtual server with these lines in place of the usual ones.
pub fn server(name: &str, lines: &str, reals: &str) -> String {
    let says = |word: &str| lines.lines().any(|line| line.split(' ').next() == Some(word));
    let keyword = |line: &str| line.split(' ').next().is_some_and(&says);
    let usual: Vec<_> = USUAL
        .iter()
        .filter(|names| !names.iter().any(|name| keyword(name)))
        .map(|names| names[0])
        .collect();
    format!("virtual_server {name} {{\n{}\n{lines}\n{reals}\n}}\n", usual.join("\n"))
}

/// A row of lines in `virtual_server`.
fn row(keyword: &'static str, [without, with]: [&str; 2], reals: &str, see: See) -> Row {
    let both = [without, with].map(|lines| server("VS", lines, reals));
    Row::new(("virtual_server", keyword), both, see)
}

/// A row whose virtual servers have the lines, without the keyword and with it.
fn more(keyword: &'static str, lines: &str, with: &str, reals: &str, see: See) -> Row {
    row(keyword, [lines, &format!("{lines}\n{with}")], reals, see)
}

pub fn rows() -> Vec<Row> {
    [names(), table(), health(), flags(), group(), method(), real()].concat()
}

fn names() -> Vec<Row> {
    let named = |keyword, names: [&str; 2]| {
        let both = names.map(|name| server(name, "", PLAIN));
        Row::new(("virtual_server", keyword), both, see::table)
    };
    let grouped = "virtual_server_group GPORT {\n192.0.2.102 PORT\nfwmark MARK\n}\n";
    let twice = |second: &str| {
        let first = server("VS", "", PLAIN);
        [first.clone(), first + &server("VS", "", second)]
    };
    let two = format!("{PLAIN}\nreal_server RS3 80 {{\n}}\nreal_server RS2 80 {{\n}}");
    vec![
        Row::new(("", "virtual_server"), twice(&two), see::table),
        Row::new(
            ("", "virtual_server_group"),
            ["192.0.2.102 PORT", "192.0.2.102 PORT\n192.0.2.103 PORT"].map(|members| {
                format!("virtual_server_group GPORT {{\n{members}\n}}\n")
                    + &server("group GPORT", "", PLAIN)
            }),
            see::table,
        ),
        named("<ip>", ["VS", "192.0.2.101 PORT"]),
        named("<fwmark>", ["VS", "fwmark MARK"]),
        Row::new(
            ("virtual_server", "<group>"),
            ["VS", "group GPORT"].map(|name| grouped.to_owned() + &server(name, "", PLAIN)),
            see::table,
        ),
        Row::new(
            ("virtual_server", "real_server"),
            [PLAIN, &two].map(|reals| server("VS", "lvs_sched sh", reals)),
            see::order,
        ),
    ]
}

fn table() -> Vec<Row> {
    let sorry = "sorry_server RS9 80";
    vec![
        row("lb_algo", ["lb_algo rr", "lb_algo wrr"], PLAIN, see::table),
        row("lb_kind", ["lb_kind NAT", "lb_kind DR"], PLAIN, see::table),
        row("protocol", ["protocol TCP", "protocol UDP"], PLAIN, see::table),
        more("persistence_timeout", "", "persistence_timeout 50", PLAIN, see::table),
        more(
            "persistence_granularity",
            "persistence_timeout 50",
            "persistence_granularity 255.255.255.0",
            PLAIN,
            see::table,
        ),
        more(
            "persistence_engine",
            "protocol UDP\npersistence_timeout 50",
            "persistence_engine sip",
            PLAIN,
            see::table,
        ),
        more("sorry_server", "", sorry, REFUSED, see::tables),
        more("sorry_server_inhibit", sorry, "sorry_server_inhibit", MORTAL, see::tables),
        more("sorry_server_lvs_method", sorry, "sorry_server_lvs_method DR", REFUSED, see::table),
        Row::new(
            ("virtual_server", "ip_family"),
            ["", "ip_family inet6"]
                .map(|line| server("fwmark MARK", &format!("lvs_method TUN\n{line}"), PLAIN)),
            see::table,
        ),
        more("weight", "", "weight 7", PLAIN, see::table),
        more("ops", "protocol UDP", "ops", PLAIN, see::table),
    ]
}

fn health() -> Vec<Row> {
    let two = format!("{REFUSED}\nreal_server RS2 80 {{\nTCP_CHECK {{\n}}\n}}");
    let told = "real_server RS1 82 {\nnotify_down \"NOTE server\"\nTCP_CHECK {\nretry 0\ndelay_loop 1\n}\n}";
    let dies = "real_server RS1 82 {\nTCP_CHECK {\nretry 0\ndelay_loop 1\n}\n}";
    let mortal = "real_server RS1 82 {\nTCP_CHECK {\ndelay_loop 1\n}\n}";
    let host = "real_server RS1 80 {\nHTTP_GET {\nurl {\npath /\n}\n}\n}";
    let quorum = "quorum_up \"NOTE up\"\nquorum_down \"NOTE down\"";
    let hysteresis = format!("{quorum}\nquorum 2");
    vec![
        row("delay_loop", ["", "delay_loop 1"], REACHED, see::times),
        more("retry", "delay_before_retry 1", "retry 1000", mortal, see::table),
        row(
            "delay_before_retry",
            ["retry 1\ndelay_before_retry 1", "retry 1\ndelay_before_retry 1000"],
            mortal,
            see::table,
        ),
        row("warmup", ["", "warmup 1000000"], REACHED, see::times),
        row("connect_timeout", ["connect_timeout 1000", "connect_timeout 1"], GONE, see::table),
        more("inhibit_on_failure", "", "inhibit_on_failure", REFUSED, see::tables),
        more("alpha", "connect_timeout 1000", "alpha", GONE, see::table),
        Row::new(
            ("virtual_server", "omega"),
            [quorum, &format!("{quorum}\nomega")].map(|lines| {
                let lives = lines.replace("NOTE", "NOTE other");
                let other =
                    "real_server RS2 80 {\nnotify_down \"NOTE other server\"\nTCP_CHECK {\n}\n}";
                server("VS", lines, told) + &server("192.0.2.101 PORT", &lives, other)
            }),
            see::sorted_notes,
        ),
        more("ha_suspend", "", "ha_suspend", REACHED, see::times),
        more("quorum", quorum, "quorum 2", &two, see::notes),
        more("hysteresis", &hysteresis, "hysteresis 1", &two, see::notes),
        more("quorum_up", "", "quorum_up \"NOTE up\"", REACHED, see::notes),
        more("quorum_down", "", "quorum_down \"NOTE down\"", dies, see::notes),
        more("virtualhost", "", "virtualhost www.example", host, see::request),
    ]
}

fn flags() -> Vec<Row> {
    let flag = |keyword, algo, lines: &str| {
        more(keyword, &format!("lvs_sched {algo}"), lines, PLAIN, see::table)
    };
    vec![
        flag("hashed", "wlc", "hashed").without_effect(),
        flag("flag-1", "wlc", "flag-1"),
        flag("flag-2", "wlc", "flag-2"),
        flag("flag-3", "wlc", "flag-3"),
        flag("sh-fallback", "sh", "sh-fallback"),
        flag("sh-port", "sh", "sh-port"),
        flag("mh-fallback", "mh", "mh-fallback"),
        flag("mh-port", "mh", "mh-port"),
    ]
}

fn group() -> Vec<Row> {
    let member = |keyword, member: &str| {
        let both = ["", member].map(|member| {
            format!("virtual_server_group GPORT {{\n192.0.2.99 PORT\n{member}\n}}\n")
                + &server("group GPORT", "", PLAIN)
        });
        Row::new(("virtual_server_group", keyword), both, see::table)
    };
    vec![
        member("<address>", "192.0.2.102 PORT"),
        member("<address range suffix>", "192.0.2.102-104 PORT"),
        member("<address range full>", "192.0.2.102-192.0.2.104 PORT"),
        member("<network>", "192.0.2.104/30 PORT"),
        member("<fwmark>", "fwmark MARK"),
    ]
}

fn method() -> Vec<Row> {
    let tunnel = |keyword, [without, with]: [&str; 2]| {
        let both = [without, with].map(|options| {
            // Both where a virtual server says it, and where a real server does.
            let own = format!("real_server RS2 80 {{\nlvs_method TUN {options}\n}}");
            server("VS", &format!("lvs_method TUN {options}"), &format!("{PLAIN}\n{own}"))
        });
        Row::new(("virtual_server/lvs_method", keyword), both, see::table)
    };
    vec![
        tunnel("type", ["", "type gre"]),
        tunnel("port", ["type gue port 6080", "type gue port 6081"]),
        tunnel("nocsum", ["type gue port 6080 csum", "type gue port 6080 nocsum"]),
        tunnel("csum", ["type gre", "type gre csum"]),
        tunnel("remcsum", ["type gue port 6080", "type gue port 6080 remcsum"]),
    ]
}

fn real() -> Vec<Row> {
    let row = |keyword, name: &str, [without, with]: [&str; 2], see| {
        let both = [without, with]
            .map(|lines| server("VS", "", &format!("real_server {name} {{\n{lines}\n}}")));
        Row::new(("virtual_server/real_server", keyword), both, see)
    };
    let tcp = "\nTCP_CHECK {\n}";
    let often = "\nTCP_CHECK {\ndelay_loop 1\n}";
    let http = "HTTP_GET {\nurl {\npath /\n}\n}";
    let host = format!("{http}\nvirtualhost www.example");
    // The host is not what TLS asks for.
    let tls = "SSL_GET {\nenable_sni\nurl {\npath /\n}\n}";
    let [retry, slow, fast] = [
        "delay_before_retry 1\nretry 1000",
        "retry 1\ndelay_before_retry 1000",
        "retry 1\ndelay_before_retry 1",
    ]
    .map(|lines| format!("{lines}{often}"));
    vec![
        row("weight", "RS1 80", ["", "weight 7"], see::table),
        row("lvs_method", "RS1 80", ["", "lvs_method DR"], see::table),
        row("uthreshold", "RS1 80", ["", "uthreshold 100"], see::thresholds),
        row(
            "lthreshold",
            "RS1 80",
            ["uthreshold 100", "uthreshold 100\nlthreshold 50"],
            see::thresholds,
        ),
        row(
            "inhibit_on_failure",
            "RS1 81",
            [tcp, &format!("inhibit_on_failure{tcp}")],
            see::tables,
        ),
        row(
            "notify_up",
            "RS1 80",
            [&format!("alpha{tcp}"), &format!("alpha\nnotify_up \"NOTE up\"{tcp}")],
            see::notes,
        ),
        row("notify_down", "RS1 81", [tcp, &format!("notify_down \"NOTE down\"{tcp}")], see::notes),
        row(
            "alpha",
            "GONE 80",
            [&format!("connect_timeout 1000{tcp}"), &format!("connect_timeout 1000\nalpha{tcp}")],
            see::table,
        ),
        row("retry", "RS1 82", [&fast, &retry], see::table),
        row("delay_before_retry", "RS1 82", [&fast, &slow], see::table),
        row("warmup", "RS1 80", [tcp, &format!("warmup 1000000{tcp}")], see::times),
        row(
            "connect_timeout",
            "GONE 80",
            [
                &format!("connect_timeout 1000\nretry 1{tcp}"),
                &format!("connect_timeout 1\nretry 1{tcp}"),
            ],
            see::table,
        ),
        row("delay_loop", "RS1 80", [tcp, &format!("delay_loop 1{tcp}")], see::times),
        row("virtualhost", "RS1 80", [http, &host], see::request),
        // As the host of HTTP, and no name of TLS.
        row("SSL_GET", "RS1 443", [tls, &format!("{tls}\nvirtualhost www.example")], see::sni),
    ]
}
