//! Keys of TOML as mdoc(7).

use std::fmt::Write as _;

use lb_config::{Block, Keyword, Kind};

/// What a key can hold, in the order of the page.
const HOLDS: [&str; 6] = ["Booleans", "Numbers", "Strings", "Commands", "Arrays", "Tables"];

/// Every table, with its keys by what they hold.
pub fn list(tables: &[Block]) -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    // What lines begin with is nothing of TOML.
    for block in tables.iter().filter(|block| block.path != "(line)") {
        let name = match block.path {
            "" => "Top level".to_owned(),
            path => format!("Li {}", key(path).replace('/', ".")),
        };
        let _ = writeln!(out, ".It {name}\n.Bl -item -compact");
        // A block of lines that has a name.
        if block.keywords.iter().all(|keyword| keyword.kind == Kind::Positional) {
            out.push_str(".It\n.Em Arrays :\nentries\n");
        }
        for what in HOLDS {
            let keys: Vec<_> = block
                .keywords
                .iter()
                .filter(|keyword| keyword.kind != Kind::Positional && holds(keyword) == what)
                .map(|keyword| key(keyword.name))
                .collect();
            if !keys.is_empty() {
                let _ = writeln!(out, ".It\n.Em {what} :\n{}", keys.join(",\n"));
            }
        }
        out.push_str(".El\n");
    }
    out + ".El\n"
}

fn holds(keyword: &Keyword) -> &'static str {
    match keyword.kind {
        Kind::Flag | Kind::Switch => "Booleans",
        Kind::Words if keyword.arguments.is_empty() => "Booleans",
        Kind::Integer { .. } | Kind::Seconds { .. } | Kind::Milliseconds { .. } => "Numbers",
        Kind::Words if keyword.arguments.contains("\"COMMAND") => "Commands",
        Kind::Words if number(&keyword.arguments) => "Numbers",
        Kind::Text | Kind::Address | Kind::Words | Kind::Positional => "Strings",
        Kind::Command => "Commands",
        Kind::List => "Arrays",
        Kind::Block if is_of_lines(&keyword.arguments) => "Arrays",
        Kind::Block => "Tables",
    }
}

/// Whether a synopsis is that of one number.
fn number(arguments: &str) -> bool {
    let mut words = arguments.split(' ');
    let first = words.next().is_some_and(|word| matches!(word, "N" | "SECONDS" | "BYTES"));
    first && words.all(|word| word.contains(".."))
}

/// Whether a synopsis is that of a block of lines: `{ ADDRESS ... }`.
fn is_of_lines(arguments: &str) -> bool {
    arguments.starts_with('{') && arguments != "{ ... }"
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}
