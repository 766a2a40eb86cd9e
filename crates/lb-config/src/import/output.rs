//! The configuration that comes out.

use std::fmt::Write as _;

use crate::diagnostic::Diagnostics;
use crate::source::Span;

/// Settings and instances, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Output {
    globals: Vec<(&'static str, String)>,
    pub(super) instances: Vec<Instance>,
}

/// A `carp_instance` in the making.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    /// Where it starts in what was read.
    pub(super) span: Span,
    /// What is said above it.
    pub(super) comments: Vec<String>,
    /// Keywords with their values, each once.
    settings: Vec<(&'static str, Vec<String>)>,
    /// Lines of `virtual_ipaddress`.
    pub(super) vips: Vec<Vip>,
}

/// A line of `virtual_ipaddress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vip {
    pub(super) address: std::net::IpAddr,
    pub(super) prefix: Option<u8>,
    pub(super) broadcast: Option<std::net::Ipv4Addr>,
}

/// The order in which keywords are written.
const ORDER: [&str; 19] = [
    "interface",
    "vhid",
    "carpnodes",
    "balancing",
    "pass",
    "advbase",
    "advskew",
    "preempt",
    "state",
    "groups",
    "mcast_src_ip",
    "mcast_dst_ip",
    "peer",
    "use_vmac",
    "dont_track_primary",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
];

impl Output {
    /// Sets a keyword of `global_defs`.
    pub(super) fn global(&mut self, keyword: &'static str, value: &str) {
        self.globals.retain(|(known, _)| *known != keyword);
        self.globals.push((keyword, value.to_owned()));
    }

    /// All of it as keepalived.conf; what no quotes can carry is left out.
    pub(super) fn text(&self, diags: &mut Diagnostics) -> String {
        let mut text = String::new();
        if !self.globals.is_empty() {
            text += "global_defs {\n";
            for (keyword, value) in &self.globals {
                let _ = writeln!(text, "    {keyword} {value}");
            }
            text += "}\n";
        }
        for instance in &self.instances {
            if !text.is_empty() {
                text += "\n";
            }
            instance.write(&mut text, diags);
        }
        text
    }
}

impl Instance {
    pub(super) fn new(name: String, span: Span) -> Self {
        Instance { name, span, comments: Vec::new(), settings: Vec::new(), vips: Vec::new() }
    }

    /// Sets a keyword to one value.
    pub(super) fn set(&mut self, keyword: &'static str, value: impl Into<String>) {
        self.settings.retain(|(known, _)| *known != keyword);
        self.settings.push((keyword, vec![value.into()]));
    }

    /// Sets a keyword if there is a value.
    pub(super) fn set_some(&mut self, keyword: &'static str, value: Option<String>) {
        value.into_iter().for_each(|value| self.set(keyword, value));
    }

    /// Sets a keyword that is alone.
    pub(super) fn set_flag(&mut self, keyword: &'static str) {
        self.settings.retain(|(known, _)| *known != keyword);
        self.settings.push((keyword, Vec::new()));
    }

    /// Adds a value to those of a keyword.
    pub(super) fn add(&mut self, keyword: &'static str, value: impl Into<String>) {
        match self.settings.iter_mut().find(|(known, _)| *known == keyword) {
            Some((_, values)) => values.push(value.into()),
            None => self.set(keyword, value),
        }
    }

    /// Takes over what another says of the same vhid; gives the keywords that they do not agree on.
    pub(super) fn merge(&mut self, other: Instance) -> Vec<&'static str> {
        self.comments.extend(other.comments);
        for vip in other.vips {
            if !self.vips.iter().any(|known| known.address == vip.address) {
                self.vips.push(vip);
            }
        }
        let mut conflicts = Vec::new();
        for (keyword, values) in other.settings {
            match self.settings.iter().find(|(known, _)| *known == keyword) {
                None => self.settings.push((keyword, values)),
                Some((_, known)) if *known == values => {}
                Some(_) => conflicts.push(keyword),
            }
        }
        conflicts
    }

    /// The first value of a keyword.
    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        let (_, values) = self.settings.iter().find(|(known, _)| *known == keyword)?;
        values.first().map(String::as_str)
    }

    fn write(&self, text: &mut String, diags: &mut Diagnostics) {
        for comment in &self.comments {
            let comment: String = comment.chars().take(200).collect();
            let _ = writeln!(text, "# {}", comment.replace(['\n', '\r', '\0'], " "));
        }
        let name = quoted(&self.name).unwrap_or_else(|| "carp".to_owned());
        let _ = writeln!(text, "carp_instance {name} {{");
        for keyword in ORDER {
            let Some((_, values)) = self.settings.iter().find(|(known, _)| *known == keyword)
            else {
                continue;
            };
            match values.iter().map(|value| quoted(value)).collect::<Option<Vec<_>>>() {
                Some(values) if values.is_empty() => {
                    let _ = writeln!(text, "    {keyword}");
                }
                Some(values) => {
                    let _ = writeln!(text, "    {keyword} {}", values.join(" "));
                }
                None => {
                    let message = format!("({}) {keyword} is left out", self.name);
                    diags
                        .note("import-quotes", self.span, message)
                        .hint("no word of keepalived.conf has quotes, line ends or 900 bytes");
                }
            }
        }
        *text += "    virtual_ipaddress {\n";
        for Vip { address, prefix, broadcast } in &self.vips {
            let _ = write!(text, "        {address}");
            if let Some(prefix) = prefix {
                let _ = write!(text, "/{prefix}");
            }
            if let Some(broadcast) = broadcast {
                let _ = write!(text, " brd {broadcast}");
            }
            text.push('\n');
        }
        *text += "    }\n}\n";
    }
}

/// A word of keepalived.conf, in quotes if it needs them; `None` if they do not help.
fn quoted(word: &str) -> Option<String> {
    // A line has at most 1024 bytes.
    if word.contains(['"', '\n', '\r', '\0']) || word.len() > 900 {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=+@%".contains(c);
    let is_plain = !word.is_empty() && word.chars().all(plain) && !word.starts_with('@');
    Some(if is_plain { word.to_owned() } else { format!("\"{word}\"") })
}
