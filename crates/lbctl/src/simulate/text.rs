//! The trials as text.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width,
    presets,
};
use lb_sim::trial::{Fault, Report, Trial, VipReport};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The whole report, at most `width` columns wide, in colour.
pub fn render(report: &Report, width: u16) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(report, width, &mut out);
    out
}

fn write(report: &Report, width: u16, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "{}, {}; by the standard they agree within {}",
        counted(report.nodes.len(), "node"),
        counted(report.virtual_routers.len(), "virtual router"),
        time(report.bound)
    )?;
    for segment in &report.segments {
        let ports = segment.ports.iter().map(|port| {
            let address = port.addresses.first().map_or(String::new(), ToString::to_string);
            let node = &report.nodes[port.node];
            if port.interface == segment.name {
                format!("{node} {address}")
            } else {
                format!("{node} {} {address}", port.interface)
            }
        });
        let ports: Vec<String> = ports.collect();
        let sentence = format!("segment {}: {}", segment.name, ports.join(", "));
        writeln!(out, "{DIM}{}{DIM:#}", wrapped(&sentence, width))?;
    }
    writeln!(out, "\n{}", trimmed(&trials(report, width)))?;
    let quiet = report.trials.iter().filter(|trial| trial.is_quiet());
    let quiet: Vec<String> = quiet.map(|trial| title(report, trial)).collect();
    if !quiet.is_empty() {
        let sentence = format!("{GOOD}nobody notices:{GOOD:#} {}", quiet.join(", "));
        writeln!(out, "\n{}", wrapped(&sentence, width))?;
    }
    for trial in std::iter::once(&report.election).chain(&report.trials) {
        if let Some(complaint) = &trial.complaint {
            let sentence = format!("{BAD}{}:{BAD:#} {complaint}", title(report, trial));
            writeln!(out, "{}", wrapped(&sentence, width))?;
        }
    }
    if let [only] = &report.nodes[..] {
        let sentence = format!(
            "{only} is alone: an outage lasts until it is back. Give the files of the other nodes too"
        );
        writeln!(out, "\n{}", wrapped(&sentence, width))?;
        return Ok(());
    }
    let worst = report
        .trials
        .iter()
        .flat_map(|trial| trial.vips.iter().map(move |vip| (vip.worst, vip.address, trial)));
    if let Some((longest, address, trial)) = worst.max_by_key(|(worst, ..)| *worst)
        && !longest.is_zero()
    {
        let title = title(report, trial);
        let sentence = format!("worst: {address} is gone for {} when you {title}", time(longest));
        writeln!(out, "\n{}", wrapped(&sentence, width))?;
    }
    Ok(())
}

fn trials(report: &Report, width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    table.style_text_only();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    let header = ["FAULT", "ROUTER", "MASTER", "OUTAGE", "OF"];
    table.set_header(header.iter().map(|text| Cell::new(text).add_attribute(Attribute::Dim)));
    let noticed = report.trials.iter().filter(|trial| !trial.is_quiet());
    for trial in std::iter::once(&report.election).chain(noticed) {
        let mut title = title(report, trial);
        for (vr, router) in report.virtual_routers.iter().enumerate() {
            let vips: Vec<&VipReport> =
                trial.vips.iter().filter(|vip| vip.virtual_router == vr).collect();
            let worst = vips.iter().rev().max_by_key(|vip| (vip.since.is_none(), vip.worst));
            let reigns = &trial.masters[vr];
            let moved = reigns.len() != 1 || !reigns[0].from.is_zero();
            if !moved && worst.is_none_or(|vip| vip.worst.is_zero() && vip.since.is_some()) {
                continue;
            }
            let (outage, of) = outage(trial, worst.copied());
            table.add_row([
                Cell::new(std::mem::take(&mut title)),
                Cell::new(&router.name),
                Cell::new(timeline(report, trial, vr)),
                outage.set_alignment(CellAlignment::Right),
                Cell::new(of),
            ]);
        }
    }
    // No name is broken where that can be avoided.
    let longest = report.nodes.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let room = Width::Fixed(longest.min(usize::from(width) / 3) as u16 + 3);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { 0 } else { 2 }, 0));
        let least = match index {
            0 | 2 => room,
            // Its head, and the gap before it.
            3 => Width::Fixed(8),
            _ => continue,
        };
        column.set_constraint(ColumnConstraint::LowerBoundary(least));
    }
    table
}

/// `gw1, gw2 +3.61 s`: who becomes MASTER when.
fn timeline(report: &Report, trial: &Trial, vr: usize) -> String {
    let mut reigns = trial.masters[vr].iter().peekable();
    if reigns.peek().is_none() {
        return "nobody".to_owned();
    }
    let mut words = Vec::new();
    for reign in reigns {
        let name = &report.nodes[reign.node];
        words.push(match reign.from {
            Duration::ZERO => name.clone(),
            from => format!("{name} +{}", time(from)),
        });
    }
    words.join(", ")
}

fn outage(trial: &Trial, worst: Option<&VipReport>) -> (Cell, String) {
    match worst {
        None => (Cell::new("-"), String::new()),
        Some(vip) if vip.since.is_none() => {
            (Cell::new("for ever").fg(Color::Red), vip.address.to_string())
        }
        // Until it is first forwarded nobody misses it.
        Some(_) if trial.fault == Fault::Election => (Cell::new("-"), String::new()),
        Some(vip) if vip.worst.is_zero() => (Cell::new("none").fg(Color::Green), String::new()),
        Some(vip) => {
            let lasts = vip.lasts(trial.end);
            let colour = if lasts || vip.worst >= Duration::from_secs(1) {
                Color::Red
            } else {
                Color::Yellow
            };
            let text = if lasts { "for ever".to_owned() } else { time(vip.worst) };
            (Cell::new(text).fg(colour), vip.address.to_string())
        }
    }
}

/// `kill gw1`
pub fn title(report: &Report, trial: &Trial) -> String {
    let verb = match trial.fault {
        Fault::Election => return "turn everything on".to_owned(),
        Fault::Kill => "kill",
        Fault::Cut => "cut",
        Fault::Isolate => "isolate",
        Fault::Stall => "stall",
        Fault::Stop => "stop",
        Fault::Restart => "restart",
    };
    let node = trial.node.and_then(|node| report.nodes.get(node)).map_or("", String::as_str);
    match &trial.interface {
        Some(interface) => format!("{verb} {node} {interface}"),
        None => format!("{verb} {node}"),
    }
}

/// `1 node`, `2 nodes`
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Seconds, or milliseconds below one.
pub fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.000_95 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 0.999_5 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 99.95 => format!("{seconds:.2} s"),
        seconds => format!("{seconds:.0} s"),
    }
}

/// The table without the blanks that fill its lines.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A sentence broken between words; all lines but the first stand two blanks to the right.
fn wrapped(sentence: &str, width: u16) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in sentence.split(' ') {
        // Colours take no room.
        let length = anstream::adapter::strip_str(word).to_string().chars().count();
        if column > 0 && column + 1 + length > usize::from(width) {
            out += "\n  ";
            column = 2;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}
