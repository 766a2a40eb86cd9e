//! Views of a row's part of a record: each is one text, the same whenever the same happened.

use std::collections::BTreeMap;

use super::play::Record;
use super::web::Asked;

/// A row's part of a record.
pub struct View<'a> {
    pub record: &'a Record,
    pub n: usize,
}

/// A row's block with its number.
pub fn numbered(text: &str, n: usize) -> String {
    let port = (1000 + n).to_string();
    text.replace("VS", &format!("192.0.2.100 {port}"))
        .replace("PORT", &port)
        .replace("MARK", &port)
        .replace("NOTE", &format!("/run/note {n}"))
        .replace("WHO", &format!("/run/who {n}"))
        .replace("GONE", &format!("10.9.{n}.1"))
        .replace("RS", &format!("10.1.{n}."))
}

impl View<'_> {
    /// A text of the record without the row's number.
    fn general(&self, text: &str) -> String {
        text.replace(&format!("10.1.{}.", self.n), "RS")
            .replace(&format!("10.9.{}.1", self.n), "GONE")
            .replace(&(1000 + self.n).to_string(), "PORT")
    }

    /// The row's lines of a table that `ipvsadm --save` has written.
    fn lines(&self, table: &str) -> Vec<String> {
        let lines = table.lines().map(|line| self.general(line.trim()));
        let mut lines: Vec<_> = lines.filter(|line| line.contains("PORT")).collect();
        lines.sort();
        lines
    }

    /// What its real servers were asked, in order, each with its name and port.
    fn asked(&self) -> Vec<(String, &Asked)> {
        let all = self.record.asked.iter();
        let all = all.map(|asked| (self.general(&asked.server.to_string()), asked));
        all.filter(|(name, _)| name.starts_with("RS")).collect()
    }

    /// What its scripts were called with.
    fn notes(&self) -> Vec<String> {
        let own = format!("{} ", self.n);
        let notes = self.record.notes.iter().filter_map(|note| note.strip_prefix(&own));
        notes.map(|note| self.general(note)).collect()
    }

    /// The lines of the log that are about its servers.
    pub fn said(&self) -> String {
        let lines = self.record.log.lines().filter(|line| {
            [
                format!("10.1.{}.", self.n),
                format!("10.9.{}.", self.n),
                format!(":{}", 1000 + self.n),
            ]
            .iter()
            .any(|own| line.contains(own))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Its part of the table before the stop.
pub fn table(view: &View<'_>) -> String {
    view.lines(&view.record.table).join("; ")
}

/// Its part of the table after the first checks, before the stop, and after it.
pub fn tables(view: &View<'_>) -> String {
    let record = view.record;
    let all =
        [&record.early, &record.table, &record.left].map(|table| view.lines(table).join("; "));
    all.join(" | ")
}

/// Its real servers in the kernel's order.
pub fn order(view: &View<'_>) -> String {
    let lines = view.record.order.lines().map(|line| view.general(line));
    let names = lines.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned));
    names.filter(|name| name.starts_with("RS")).collect::<Vec<_>>().join(" ")
}

/// The thresholds of its servers.
pub fn thresholds(view: &View<'_>) -> String {
    let lines = view.record.thresholds.lines().map(|line| view.general(line));
    let lines = lines.filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, server, upper, lower, ..] = words[..] else { return None };
        server.starts_with("RS").then(|| format!("{server} {upper} {lower}"))
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// Which servers were asked once, and which again.
pub fn times(view: &View<'_>) -> String {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in view.asked() {
        *times.entry(name).or_default() += 1;
    }
    let again = |n| if n > 1 { "again" } else { "once" };
    let all = times.into_iter().map(|(name, n)| format!("{name} {}", again(n)));
    format!("asked: {}", all.collect::<Vec<_>>().join("; "))
}

/// The first request to each server, without line ends.
pub fn request(view: &View<'_>) -> String {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for (name, asked) in view.asked() {
        let request = asked.request.trim_end().replace("\r\n", " / ");
        first.entry(name).or_insert_with(|| view.general(&request));
    }
    format!("{first:?}")
}

/// Which pages were asked for, in the order of their names.
pub fn pages(view: &View<'_>) -> String {
    let asked = view.asked();
    let pages = asked.iter().filter_map(|(_, asked)| asked.request.split(' ').nth(1));
    let pages: std::collections::BTreeSet<_> = pages.collect();
    format!("{pages:?}")
}

/// Where connections come from: the port where it is no ephemeral one.
pub fn source(view: &View<'_>) -> String {
    let asked = view.asked();
    let sources: std::collections::BTreeSet<_> = asked
        .iter()
        .map(|(_, asked)| match asked.by.port() {
            low @ ..1024 => format!("{}:{low}", asked.by.ip()),
            _ => asked.by.ip().to_string(),
        })
        .collect();
    format!("from {sources:?}")
}

/// The name that TLS asked for, and the host that the request asked for.
pub fn sni(view: &View<'_>) -> String {
    let asked = view.asked();
    let names: std::collections::BTreeSet<_> = asked
        .iter()
        .map(|(_, asked)| {
            let host = asked.request.lines().find(|line| line.starts_with("Host:"));
            format!("{:?} {}", asked.sni, view.general(host.unwrap_or("no request")))
        })
        .collect();
    format!("{names:?}")
}

/// Whether TLS was ended as the standard asks.
pub fn goodbye(view: &View<'_>) -> String {
    let asked = view.asked();
    format!("{:?}", asked.iter().map(|(_, asked)| asked.goodbye).next())
}

/// What its scripts were called with.
pub fn notes(view: &View<'_>) -> String {
    view.notes().join("; ")
}

/// The same, where the order is open.
pub fn sorted_notes(view: &View<'_>) -> String {
    let mut notes = view.notes();
    notes.sort();
    notes.join("; ")
}

/// Whether its script was called not at all, once or again.
pub fn noted_again(view: &View<'_>) -> String {
    format!("called: {:?}", view.notes().len().min(2))
}

/// How often the log tells of a failure, up to three times.
pub fn failures(view: &View<'_>) -> String {
    let said = view.said();
    let failures =
        said.lines().filter(|line| line.contains("failed") || line.contains("error")).count();
    format!("failures: {}", failures.min(3))
}

/// The timeouts of the kernel before the stop.
pub fn timeouts(view: &View<'_>) -> String {
    view.record.timeouts.join(" then ").replace('\n', "")
}

/// One of them before the stop.
pub fn timeout(view: &View<'_>, which: usize) -> String {
    let (_, numbers) = view.record.timeouts[0].split_once("): ").unwrap_or_default();
    numbers.split_whitespace().nth(which).unwrap_or("none").to_owned()
}

/// The sync daemons.
pub fn sync(view: &View<'_>) -> String {
    let mut lines: Vec<_> = view.record.sync.lines().map(str::trim).collect();
    lines.sort_unstable();
    lines.join("; ")
}

/// What follows `name` in each of their lines.
pub fn sync_field(view: &View<'_>, name: &str) -> String {
    let lines = view.record.sync.lines().map(|line| {
        let (before, after) = line.split_once(name).unwrap_or((line, ""));
        let value = if name == " " { before } else { after };
        value.split([',', ')']).next().unwrap_or_default()
    });
    let mut fields: Vec<_> = lines.collect();
    fields.sort_unstable();
    fields.join("; ")
}

/// What the table has before the stop and after it beside the rows.
pub fn foreign(view: &View<'_>) -> String {
    let record = view.record;
    let there = [&record.early, &record.left].map(|table| table.contains("192.0.2.200:22"));
    format!("there: {there:?}")
}

/// Whether one of its threads has nice value 7.
pub fn niceness(view: &View<'_>) -> String {
    format!("nice 7: {}", view.record.threads.iter().any(|thread| thread.nice == 7))
}

/// Whether one of its threads has real-time priority 5.
pub fn real_time(view: &View<'_>) -> String {
    format!("real time 5: {}", view.record.threads.iter().any(|thread| thread.real_time == 5))
}

/// Whether memory of it is locked.
pub fn locked(view: &View<'_>) -> String {
    format!("locked: {}", view.record.locked)
}
