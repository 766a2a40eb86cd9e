//! The trials as a picture: a panel for each that somebody notices, a lane for each node.
//!
//! Written by hand: rectangles, lines and text are all there is.

use std::fmt::Write as _;
use std::time::Duration;

use lb_sim::trial::{Fault, Report, Trial};

use super::text::{time, title};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
const RIGHT: f64 = 28.0;
/// Width of a letter of text, generously.
const LETTER: f64 = 7.0;
/// Height of one virtual router within a lane.
const BAR: f64 = 14.0;
const GAP: f64 = 4.0;
const LANE_GAP: f64 = 10.0;

/// Colours of virtual routers, told apart by the colour-blind too (Okabe and Ito, 2008), and the
/// class of what is written on them.
const COLOURS: [(&str, &str); 7] = [
    ("#0072b2", "bar bright"),
    ("#e69f00", "bar dark"),
    ("#009e73", "bar bright"),
    ("#cc79a7", "bar dark"),
    ("#56b4e9", "bar dark"),
    ("#f0e442", "bar dark"),
    ("#424a53", "bar bright"),
];

const STYLE: &str = "
  text { font: 12px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .head { font-size: 20px; font-weight: 600 }
  .dim { fill: #6e7781 }
  .small { font-size: 10.5px }
  .bar { font-size: 10.5px; font-weight: 600 }
  .bright { fill: #fff }
  .dark { fill: #24292f }
  .right { text-anchor: end }
  .middle { text-anchor: middle }
  .lane { fill: #f6f8fa }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .outage { fill: #d1242f }
  .down { fill: url(#down) }
  .event { stroke: #d1242f; stroke-width: 1.5; stroke-dasharray: 3 3 }
  .mend { stroke: #1a7f37; stroke-width: 1.5; stroke-dasharray: 3 3 }
  .before { fill: #d1242f }
  .after { fill: #1a7f37 }
  .red { fill: #d1242f; font-weight: 600 }
  .green { fill: #1a7f37; font-weight: 600 }
";

/// The whole picture.
pub fn draw(report: &Report) -> String {
    let mut picture = Picture { report, body: String::new(), left: left(report), y: MARGIN };
    // Writing to a string does not fail.
    let _ = picture.all();
    let height = picture.y + 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\">\n<style>{STYLE}</style>\n\
         <defs><pattern id=\"down\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#eaeef2\"/>\
         <rect width=\"2\" height=\"6\" fill=\"#afb8c1\"/></pattern></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
        picture.body
    )
}

/// Where time begins: the names before it have room.
fn left(report: &Report) -> f64 {
    let vips = report.virtual_routers.iter().flat_map(|router| &router.vips);
    let names = report.nodes.iter().cloned().chain(vips.map(ToString::to_string));
    let longest = names.map(|name| name.chars().count()).max().unwrap_or_default();
    (MARGIN + LETTER * longest as f64 + 12.0).clamp(100.0, WIDTH / 3.0)
}

struct Picture<'a> {
    report: &'a Report,
    body: String,
    left: f64,
    y: f64,
}

impl Picture<'_> {
    fn all(&mut self) -> std::fmt::Result {
        let report = self.report;
        self.y += 12.0;
        self.text("head", MARGIN, "What happens when a node fails")?;
        self.y += 22.0;
        let bound = format!("; by the standard they agree within {}", time(report.bound));
        self.list("", &report.nodes, &bound)?;
        self.y += 6.0;
        self.legend()?;
        let noticed = report.trials.iter().filter(|trial| !trial.is_quiet());
        for trial in std::iter::once(&report.election).chain(noticed) {
            self.panel(trial)?;
        }
        let quiet = report.trials.iter().filter(|trial| trial.is_quiet());
        let quiet: Vec<String> = quiet.map(|trial| title(report, trial)).collect();
        if !quiet.is_empty() {
            self.list("Nobody notices: ", &quiet, "")?;
        }
        Ok(())
    }

    /// Words with commas between them, in as many lines as they need.
    fn list(&mut self, head: &str, words: &[String], tail: &str) -> std::fmt::Result {
        let most = ((WIDTH - MARGIN - RIGHT) / LETTER) as usize;
        let mut line = head.to_owned();
        let last = words.len().saturating_sub(1);
        for (index, word) in words.iter().enumerate() {
            let end = if index == last { tail } else { ", " };
            if line.chars().count() + word.chars().count() + end.chars().count() > most {
                self.text("dim", MARGIN, line.trim_end())?;
                self.y += 18.0;
                line.clear();
            }
            line = line + word + end;
        }
        self.text("dim", MARGIN, &line)?;
        self.y += 18.0;
        Ok(())
    }

    fn legend(&mut self) -> std::fmt::Result {
        let mut x = MARGIN;
        for (index, router) in self.report.virtual_routers.iter().enumerate() {
            let vip = router.vips.first().map(ToString::to_string).unwrap_or_default();
            let more = match router.vips.len() {
                0 | 1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let label = format!("{} is MASTER: {vip}{more}", router.name);
            self.key(&mut x, &format!("fill=\"{}\"", colour(index).0), 12.0, &label)?;
        }
        if x > MARGIN {
            x = MARGIN;
            self.y += 20.0;
        }
        for (class, width, label) in [
            ("outage", 12.0, "clients get nowhere"),
            ("down", 12.0, "the node is in trouble"),
            ("before", 2.0, "it happens"),
            ("after", 2.0, "it is undone"),
        ] {
            self.key(&mut x, &format!("class=\"{class}\""), width, label)?;
        }
        self.y += 34.0;
        Ok(())
    }

    /// One entry of the legend, where the last one ended or in the next line.
    fn key(&mut self, x: &mut f64, how: &str, mark: f64, label: &str) -> std::fmt::Result {
        let width = 26.0 + LETTER * label.chars().count() as f64;
        if *x > MARGIN && *x + width > WIDTH - RIGHT {
            *x = MARGIN;
            self.y += 20.0;
        }
        self.rect(*x + (12.0 - mark) / 2.0, self.y - 10.0, mark, 12.0, how)?;
        self.text("", *x + 18.0, label)?;
        *x += width;
        Ok(())
    }

    fn panel(&mut self, trial: &Trial) -> std::fmt::Result {
        let report = self.report;
        let scale = Scale { left: self.left, end: trial.end };
        let mut name = title(report, trial);
        if let Some(first) = name.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        self.text("title", MARGIN, &name)?;
        let worst = trial.vips.iter().map(|vip| vip.worst).max().unwrap_or_default();
        let never = trial.vips.iter().any(|vip| vip.since.is_none());
        let (class, verdict) = match (trial.fault, worst) {
            _ if never => ("red right", "a VIP is never there".to_owned()),
            (Fault::Election, _) => ("dim right", String::new()),
            (_, Duration::ZERO) => ("green right", "no VIP is gone at any time".to_owned()),
            (_, worst) => ("red right", format!("worst outage {}", time(worst))),
        };
        self.text(class, WIDTH - RIGHT, &verdict)?;
        self.y += 12.0;
        if let Some(complaint) = &trial.complaint {
            self.y += 8.0;
            self.text("red", MARGIN, complaint)?;
            self.y += 10.0;
        }
        let top = self.y;
        let routers = report.virtual_routers.len() as f64;
        let lane = routers * (BAR + GAP) + GAP;
        let width = WIDTH - self.left - RIGHT;
        for (node, name) in report.nodes.iter().enumerate() {
            self.rect(self.left, self.y, width, lane, "class=\"lane\" rx=\"3\"")?;
            if trial.node == Some(node) {
                let to = scale.x(trial.undone.unwrap_or(trial.end));
                self.rect(self.left, self.y, to - self.left, lane, "class=\"down\"")?;
            }
            self.reigns(trial, node, &scale)?;
            let y = self.y;
            self.y += lane / 2.0 + 4.0;
            self.text("right", self.left - 12.0, name)?;
            self.y = y + lane + LANE_GAP / 2.0;
        }
        self.y += LANE_GAP / 2.0;
        self.clients(trial, &scale)?;
        self.axis(trial, &scale, top)?;
        self.y += 44.0;
        Ok(())
    }

    /// When a node was MASTER.
    fn reigns(&mut self, trial: &Trial, node: usize, scale: &Scale) -> std::fmt::Result {
        for (vr, reigns) in trial.masters.iter().enumerate() {
            let (fill, ink) = colour(vr);
            let y = self.y + GAP + vr as f64 * (BAR + GAP);
            for reign in reigns.iter().filter(|reign| reign.node == node) {
                let (from, to) = (scale.x(reign.from), scale.x(reign.to));
                let width = (to - from).max(1.5);
                self.rect(from, y, width, BAR, &format!("fill=\"{fill}\" rx=\"2\""))?;
                let name = &self.report.virtual_routers[vr].name;
                if width > 9.0 * name.chars().count() as f64 + 8.0 {
                    let before = std::mem::replace(&mut self.y, y + BAR - 3.5);
                    self.text(ink, from + 5.0, name)?;
                    self.y = before;
                }
            }
        }
        Ok(())
    }

    /// When clients of a VIP got nowhere, VIPs with the same fate in one line.
    fn clients(&mut self, trial: &Trial, scale: &Scale) -> std::fmt::Result {
        for vr in 0..self.report.virtual_routers.len() {
            let vips = trial.vips.iter().filter(|vip| vip.virtual_router == vr);
            let worst = vips.rev().max_by_key(|vip| (vip.since.is_none(), vip.worst));
            let Some(vip) = worst else { continue };
            let y = self.y;
            if let Some(since) = vip.since {
                let from = scale.x(since);
                let how = format!("fill=\"{}\" fill-opacity=\"0.3\" rx=\"3\"", colour(vr).0);
                self.rect(from, y + 3.0, WIDTH - RIGHT - from, 6.0, &how)?;
            }
            for (from, to) in &vip.outages {
                let (from, to) = (scale.x(*from), scale.x(*to));
                let width = (to - from).max(2.0);
                self.rect(from, y + 1.0, width, 10.0, "class=\"outage\" rx=\"2\"")?;
            }
            self.y += 9.5;
            self.text("small dim right", self.left - 12.0, &vip.address.to_string())?;
            self.y = y + 15.0;
        }
        Ok(())
    }

    /// Ticks below, and across everything when something happens.
    fn axis(&mut self, trial: &Trial, scale: &Scale, top: f64) -> std::fmt::Result {
        self.y += 2.0;
        let bottom = self.y;
        let step = scale.step();
        let mut tick = Duration::ZERO;
        while tick <= trial.end {
            let x = scale.x(tick);
            writeln!(
                self.body,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{bottom:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
                bottom + 4.0
            )?;
            self.y = bottom + 16.0;
            let seconds = tick.as_secs_f64();
            self.text("small dim middle", x, &format!("{seconds} s"))?;
            tick += step;
        }
        self.y = bottom;
        let undone = trial.undone.map(|undone| ("mend", undone));
        let happens = trial.node.map(|_| ("event", Duration::ZERO));
        for (class, at) in happens.into_iter().chain(undone) {
            let x = scale.x(at);
            writeln!(
                self.body,
                "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>",
                top - 4.0
            )?;
        }
        Ok(())
    }

    fn text(&mut self, class: &str, x: f64, text: &str) -> std::fmt::Result {
        let y = self.y;
        writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        )
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, how: &str) -> std::fmt::Result {
        writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {how}/>"
        )
    }
}

/// From time to place.
struct Scale {
    left: f64,
    end: Duration,
}

impl Scale {
    fn x(&self, time: Duration) -> f64 {
        let part = time.as_secs_f64() / self.end.as_secs_f64();
        self.left + part.min(1.0) * (WIDTH - self.left - RIGHT)
    }

    /// From tick to tick: at most a dozen, and round.
    fn step(&self) -> Duration {
        let steps = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000];
        let steps = steps.into_iter().map(Duration::from_millis);
        steps.into_iter().find(|step| *step * 12 >= self.end).unwrap_or(self.end / 8)
    }
}

fn colour(index: usize) -> (&'static str, &'static str) {
    COLOURS[index % COLOURS.len()]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
