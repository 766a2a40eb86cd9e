//! Keys and the keywords they stand for.

use std::collections::HashMap;

use crate::reference::{self, Kind};

/// The keywords of each block by their keys.
pub(super) struct Names {
    blocks: HashMap<&'static str, HashMap<String, Name>>,
}

/// What a key stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    /// The keyword.
    pub(super) keyword: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// Whether it takes a boolean, whatever else it takes.
    pub(super) takes_bool: bool,
}

impl Names {
    pub(super) fn new() -> Names {
        let mut blocks = HashMap::new();
        for block in reference::tables() {
            let mut keys: HashMap<String, Name> = HashMap::new();
            for keyword in &block.keywords {
                let takes_bool = keyword.kind == Kind::Switch || keyword.arguments.contains("BOOL");
                let names = std::iter::once(keyword.name)
                    .chain(keyword.aliases.iter().chain(keyword.deprecated).copied());
                for name in names {
                    let value = Name { keyword: name, kind: keyword.kind, takes_bool };
                    keys.entry(snake(name)).or_insert(value);
                }
            }
            blocks.insert(block.path, keys);
        }
        Names { blocks }
    }

    /// The keys of a block; parts that several blocks have in common are those of `vrrp_instance`.
    fn keys(&self, path: &str) -> Option<&HashMap<String, Name>> {
        self.blocks.get(path).or_else(|| {
            let (_, part) = path.split_once('/')?;
            let part = part.strip_suffix("_excluded").unwrap_or(part);
            self.blocks.get(&*format!("vrrp_instance/{part}"))
        })
    }

    /// The keyword of a key in a block.
    pub(super) fn find(&self, path: &str, key: &str) -> Option<Name> {
        self.keys(path)?.get(key).copied()
    }

    /// The key of a block that looks most like another.
    pub(super) fn similar(&self, path: &str, key: &str) -> Option<&str> {
        if key.len() > 64 {
            return None;
        }
        let keys = self.keys(path)?.keys();
        let near = |name: &&String| {
            let distance = strsim::damerau_levenshtein(key, name);
            (distance <= (name.len() / 3).clamp(1, 4)).then_some(distance)
        };
        keys.filter_map(|name| near(&name).map(|distance| (distance, name)))
            .min()
            .map(|(_, name)| name.as_str())
    }
}

/// A keyword as a key.
pub(crate) fn snake(keyword: &str) -> String {
    keyword.to_ascii_lowercase().replace('-', "_")
}

/// What follows the keyword of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// Nothing.
    None,
    /// A name.
    Name,
    /// An address and a port.
    Address,
    /// An address and a port, a firewall mark, or the name of a group.
    Server,
}

/// What follows the keyword of the block at a path.
pub(crate) fn head(path: &str) -> Head {
    match path {
        "vrrp_instance"
        | "carp_instance"
        | "vrrp_sync_group"
        | "vrrp_script"
        | "vrrp_track_process"
        | "track_file"
        | "bfd_instance"
        | "track_group"
        | "virtual_server_group" => Head::Name,
        "virtual_server" => Head::Server,
        "virtual_server/real_server" => Head::Address,
        _ => Head::None,
    }
}

impl Head {
    /// The keys it is written with.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Head::None => &[],
            Head::Name => &["name"],
            Head::Address => &["address", "port"],
            Head::Server => &["address", "port", "fwmark", "group"],
        }
    }
}
