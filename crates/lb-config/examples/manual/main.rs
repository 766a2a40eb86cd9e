//! Writes the manual pages of the configuration, lb-keepalived.conf(5) and lbd.toml(5):
//!
//! ```text
//! cargo run -p lb-config --example manual -- man
//! ```
//!
//! Their text is in the files beside this one; the keywords come from [`lb_config::tables`], from where a
//! line that begins with `@` says so.

mod keys;
mod keywords;
mod template;

use std::path::PathBuf;
use std::process::ExitCode;

/// Name of each page, and its text.
const PAGES: [(&str, &str); 2] = [
    ("lb-keepalived.conf.5", include_str!("lb-keepalived.conf.5.in")),
    ("lbd.toml.5", include_str!("lbd.toml.5.in")),
];

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manual DIRECTORY");
        return ExitCode::from(2);
    };
    let tables = lb_config::tables();
    for (name, text) in PAGES {
        let path = directory.join(name);
        let written = template::fill(text, &tables).and_then(|page| {
            std::fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))
        });
        if let Err(error) = written {
            eprintln!("manual: {name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn committed(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man").join(name)
    }

    #[test]
    fn the_committed_pages_are_those_of_the_tables() {
        for (name, text) in PAGES {
            let fresh = template::fill(text, &lb_config::tables()).unwrap();
            let found = std::fs::read_to_string(committed(name)).unwrap_or_default();
            assert!(
                fresh == found,
                "man/{name} is stale: run `cargo run -p lb-config --example manual -- man`"
            );
        }
    }

    #[test]
    fn every_block_has_its_place_in_the_page() {
        let text = PAGES[0].1;
        // What lines begin with has its own words in the text.
        for block in lb_config::tables().iter().filter(|block| block.path != "(line)") {
            let wanted = if block.path.is_empty() { "(top)" } else { block.path };
            let times = template::directives(text).filter(|words| words[0] == wanted).count();
            assert_eq!(times, 1, "`@keywords {wanted}` in lb-keepalived.conf.5.in");
        }
    }

    #[test]
    fn every_example_is_good() {
        for ((_, text), (name, least)) in
            PAGES.iter().zip([("example.conf", 8), ("example.toml", 1)])
        {
            let examples = template::examples(text);
            assert!(examples.len() >= least, "{} examples", examples.len());
            examples.iter().for_each(|example| is_good(name, example));
        }
    }

    fn is_good(name: &str, example: &str) {
        let mut system = lb_config::MemorySystem::default()
            .with("/etc/lbd/web.conf", "")
            .with_mode("/bin/sh", "\x7fELF", 0o755);
        for program in ["/usr/local/bin/check-proxy", "/usr/local/bin/tell", "/usr/bin/true"] {
            system = system.with_mode(program, "#!/bin/sh\n", 0o755);
        }
        let options = lb_config::Options::default();
        let loaded = lb_config::parse_str(name, example, &options, &system);
        assert!(loaded.diagnostics.is_empty(), "{example}\n{}", loaded.render(false));
    }

    #[test]
    fn mandoc_finds_nothing_to_complain_of() {
        for (name, _) in PAGES {
            let Ok(output) =
                Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(committed(name)).output()
            else {
                eprintln!("mandoc is not installed: the pages are not checked");
                return;
            };
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.is_empty(), "{said}");
        }
    }
}
