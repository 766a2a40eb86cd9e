//! From keepalived.conf to TOML and back: the model stays.

use std::path::PathBuf;

use lb_config::{AnyInterface, Format, Loaded, Model, Options};

fn options() -> Options {
    Options { record_statements: true, ..Options::default() }
}

fn parse(name: &str, text: &str) -> Loaded {
    lb_config::parse_str(name, text, &options(), &AnyInterface)
}

/// What is wrong with the way to TOML and back, if anything is.
fn round_trip(loaded: &Loaded) -> Result<(), String> {
    let Some(model) = &loaded.model else { return Ok(()) };
    let difference = |other: &Loaded| {
        let other = other.model.clone().unwrap_or_default();
        let parts = |model: &Model| {
            let Model { vrrp_instances, virtual_servers, .. } = model;
            format!("{vrrp_instances:#?}\n{virtual_servers:#?}\n{model:#?}")
        };
        let (old, new) = (parts(model), parts(&other));
        let lines = old.lines().zip(new.lines()).filter(|(old, new)| old != new);
        lines.take(5).map(|(old, new)| format!("-{old}\n+{new}\n")).collect::<String>()
    };
    let complaints = |loaded: &Loaded| loaded.one_liners().collect::<Vec<_>>().join("\n");
    let toml = loaded.convert(Format::Toml).text;
    let there = parse("x.toml", &toml);
    if there.model.as_ref() != Some(model) {
        return Err(format!(
            "TOML differs:\n{toml}\n{}\n{}",
            complaints(&there),
            difference(&there)
        ));
    }
    let conf = there.convert(Format::Keepalived).text;
    let back = parse("x.conf", &conf);
    if back.model.as_ref() != Some(model) {
        return Err(format!(
            "back differs:\n{toml}\n{conf}\n{}\n{}",
            complaints(&back),
            difference(&back)
        ));
    }
    // Settings of the whole daemon tell a default from one that is written.
    let conf = loaded.with_defaults();
    let explicit = parse("x.conf", &conf);
    let parts = |model: &Model| (model.vrrp_instances.clone(), model.virtual_servers.clone());
    if explicit.model.as_ref().map(parts) != Some(parts(model)) {
        let why = (complaints(&explicit), difference(&explicit));
        return Err(format!("defaults differ:\n{conf}\n{}\n{}", why.0, why.1));
    }
    let conf = loaded.convert(Format::Keepalived).text;
    let same = parse("x.conf", &conf);
    if same.model.as_ref() != Some(model) {
        return Err(format!(
            "keepalived.conf differs:\n{conf}\n{}\n{}",
            complaints(&same),
            difference(&same)
        ));
    }
    Ok(())
}

#[test]
fn every_file_of_the_corpus_keeps_its_model() {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpus"));
    let corpus = std::env::var_os("LB_CORPUS").map_or(beside, PathBuf::from);
    let Ok(files) = std::fs::read_dir(&corpus) else {
        eprintln!("skipped: the corpus is not here");
        return;
    };
    let (mut kept, mut wrong) = (0, Vec::new());
    let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "conf")) {
        let loaded = lb_config::load(path, &options(), &AnyInterface);
        match round_trip(&loaded) {
            Ok(()) => kept += usize::from(loaded.model.is_some()),
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
    }
    println!("{kept} files kept their model");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}
