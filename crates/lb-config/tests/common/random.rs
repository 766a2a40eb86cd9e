//! Small random files: keywords of the tables in their blocks, with values plausible and broken, repeats
//! and any order.

use std::fmt::Write as _;

use super::{Example, examples, sections};

/// splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }
}

/// Values that stand in for others.
const VALUES: [&str; 36] = [
    "0",
    "-1",
    "1",
    "2",
    "50",
    "99",
    "100",
    "254",
    "255",
    "256",
    "300",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "0x10",
    "010",
    "1.5",
    "0.01",
    "1.2345678",
    "1x",
    "x",
    "on",
    "off",
    "yes",
    "no",
    "true",
    "none",
    "10.0.0.1",
    "10.0.0.300",
    "10.0.0.0/24",
    "::1",
    "2001:db8::1",
    "/bin/true",
    "\"/bin/true a\"",
    "eth0",
];

/// Blocks of a file, and how often in ten files each is there.
const BLOCKS: [(&str, usize); 13] = [
    ("global_defs", 6),
    ("vrrp_script", 3),
    ("track_file", 2),
    ("vrrp_track_process", 2),
    ("vrrp_instance", 10),
    ("vrrp_sync_group", 3),
    ("garp_group", 1),
    ("track_group", 1),
    ("static_ipaddress", 1),
    ("static_routes", 1),
    ("static_rules", 1),
    ("virtual_server_group", 2),
    ("virtual_server", 6),
];

/// Roots of keepalived's checker process, which reads the file for itself: where a brace is missing its view
/// of what follows is another than the VRRP process's, and ours is that of the latter.
const OF_CHECKERS: [&str; 2] = ["virtual_server_group", "virtual_server"];

/// Lists whose lines are left as they are.
const ROUTING: [&str; 2] = ["static_routes", "static_rules"];

const CHECKERS: [&str; 8] = [
    "TCP_CHECK",
    "HTTP_GET",
    "SSL_GET",
    "MISC_CHECK",
    "DNS_CHECK",
    "SMTP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
];

/// Makes files; `skip` says which keywords of which path it leaves out.
pub struct Generator<'s> {
    random: Random,
    skip: &'s dyn Fn(&str, &str) -> bool,
    examples: Vec<(&'static str, &'static str, Example)>,
    /// The file is for both processes: no brace of a list is left out.
    whole: bool,
}

impl<'s> Generator<'s> {
    pub fn new(seed: u64, skip: &'s dyn Fn(&str, &str) -> bool) -> Self {
        let mut examples: Vec<_> = examples()
            .into_iter()
            .map(|((section, name), example)| (section, name, example))
            .collect();
        examples.sort_unstable_by_key(|(section, name, _)| (*section, *name));
        Self { random: Random::new(seed), skip, examples, whole: true }
    }

    pub fn file(&mut self) -> String {
        let mut text = String::from("global_defs {\nenable_script_security\nscript_user root\n}\n");
        if self.random.one_in(4) {
            text.clear();
        }
        self.whole = !self.random.one_in(4);
        for (path, often) in BLOCKS {
            if !self.whole && OF_CHECKERS.contains(&path) {
                continue;
            }
            let mut times = usize::from(self.random.below(10) < often);
            times += usize::from(times == 1 && self.random.one_in(6));
            for time in 0..times {
                let head = self.head(path, time);
                text += &format!("{head} {{\n{}}}\n", self.block(path));
            }
        }
        text
    }

    /// What stands before the block's brace.
    fn head(&mut self, path: &str, time: usize) -> String {
        let same = self.random.one_in(3);
        let name = if time > 0 && !same { "W" } else { "V" };
        match path {
            "global_defs" | "garp_group" | "static_ipaddress" | "static_routes"
            | "static_rules" => path.to_owned(),
            "vrrp_script" => format!("{path} S"),
            "track_file" => format!("{path} F"),
            "vrrp_track_process" => format!("{path} P"),
            "virtual_server" => {
                let heads = [
                    "10.0.0.1 80",
                    "10.0.0.1 80",
                    "fwmark 7",
                    "group V",
                    "10.0.0.1",
                    "2001:db8::1 80",
                ];
                format!("{path} {}", self.random.pick(&heads))
            }
            _ => format!("{path} {name}"),
        }
    }

    fn block(&mut self, path: &str) -> String {
        let mut lines: Vec<String> = needed(path).iter().map(|line| (*line).to_owned()).collect();
        if self.random.one_in(8) && !lines.is_empty() {
            lines.remove(self.random.below(lines.len()));
        }
        for _ in 0..self.random.below(6) {
            lines.extend(self.line(path));
        }
        if path == "virtual_server" {
            for number in 0..=self.random.below(2) {
                let mut real = self.block("virtual_server/real_server");
                if !self.random.one_in(3) {
                    let checker = *self.random.pick(&CHECKERS);
                    let inner = self.block(&format!("virtual_server/real_server/{checker}"));
                    let _ = write!(real, "{checker} {{\n{inner}}}\n");
                }
                lines.push(format!("real_server 10.0.0.{} 80 {{\n{real}}}", 2 + number));
            }
        }
        if self.random.one_in(6) && !lines.is_empty() {
            let again = self.random.pick(&lines).clone();
            lines.push(again);
        }
        for at in (1..lines.len()).rev() {
            let other = self.random.below(at + 1);
            // What needs the order keeps it in most files.
            if self.random.one_in(3) {
                lines.swap(at, other);
            }
        }
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The example of a keyword of a block, perhaps broken.
    fn line(&mut self, path: &str) -> Option<String> {
        let sections = sections(path);
        let of_path: Vec<_> = (self.examples.iter())
            .filter(|(section, name, _)| {
                sections.contains(section) && !name.starts_with('<') && !(self.skip)(path, name)
            })
            .map(|(_, _, example)| example.text)
            .collect();
        if of_path.is_empty() {
            return None;
        }
        let text = self.random.pick(&of_path).replace("\\\\n", " \\\n").replace("\\n", "\n");
        // keepalived makes destinations of words that a route does not know, in its own way.
        let routing = ROUTING.contains(&path)
            || ["virtual_routes", "virtual_rules"].iter().any(|list| text.starts_with(list));
        if routing || !self.random.one_in(4) {
            return Some(text);
        }
        let mut words: Vec<&str> = text.split(' ').collect();
        let at = self.random.below(words.len());
        match self.random.below(5) {
            0 if words.len() > 1 && !(self.whole && words[at].contains('{')) => {
                words.remove(at);
            }
            1 => words.insert(at + 1, *self.random.pick(&VALUES)),
            _ if at > 0 && !words[at].contains(['{', '}', '\n']) => {
                words[at] = *self.random.pick(&VALUES);
            }
            _ => {}
        }
        Some(words.join(" "))
    }
}

/// What a block must have.
fn needed(path: &str) -> &'static [&'static str] {
    match path {
        "vrrp_instance" => {
            &["interface eth0", "virtual_router_id 1", "virtual_ipaddress {\n10.0.0.100\n}"]
        }
        "vrrp_script" => &["script /bin/true"],
        "track_file" => &["file /nosuch/f"],
        "vrrp_track_process" => &["process p"],
        "vrrp_sync_group" => &["group {\nV\n}"],
        "virtual_server_group" => &["10.0.0.9 80"],
        "garp_group" => &["interfaces {\neth0\n}", "garp_interval 1"],
        "track_group" => &["group {\nV\n}"],
        "static_ipaddress" => &["10.0.0.200/24 dev eth0"],
        "static_routes" => &["10.2.0.0/16 dev eth0"],
        "static_rules" => &["from 10.3.0.0/16 table 7"],
        path if path.ends_with("FILE_CHECK") => &["track_file F"],
        "virtual_server" => &["protocol TCP", "lb_algo rr", "lb_kind NAT"],
        path if path.ends_with("_GET") => &["url {\npath /\n}"],
        path if path.ends_with("MISC_CHECK") => &["misc_path /bin/true"],
        _ => &[],
    }
}
