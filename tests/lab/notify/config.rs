//! Small random configurations, and random edits of them.

use std::fmt::Write as _;

use crate::random::Random;

/// Interfaces that instances have, then one that is only tracked.
pub const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];
/// Files whose presence is what a tracked script looks for.
pub const WELLS: [&str; 2] = ["/run/well1", "/run/well2"];
/// Tracked files.
pub const LOADS: [&str; 2] = ["/run/load1", "/run/load2"];

/// Between the old and the new name of an instance.
pub const RENAMES: &str = " is called ";

const INSTANCE_SCRIPTS: [&str; 7] = [
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify_deleted",
    "notify_master_rx_lower_pri",
];
const GROUP_SCRIPTS: [&str; 5] =
    ["notify", "notify_master", "notify_backup", "notify_fault", "notify_stop"];

/// A configuration: what each block says.
#[derive(Clone, Debug)]
pub struct Config {
    scripts: Vec<String>,
    files: Vec<String>,
    pub instances: Vec<Instance>,
    groups: Vec<Group>,
    /// Numbers that have been given out.
    count: usize,
}

#[derive(Clone, Debug)]
pub struct Instance {
    name: String,
    interface: &'static str,
    pub vrid: u8,
    priority: u8,
    /// Last octet of an address that it does not advertise.
    excluded: Option<u8>,
    /// `state`, `nopreempt` and the like.
    lines: String,
    tracks: String,
    notify: String,
}

#[derive(Clone, Debug)]
struct Group {
    name: String,
    members: Vec<String>,
    tracks: String,
    notify: String,
}

impl Config {
    pub fn random(random: &mut Random) -> Self {
        let scripts = (1..=WELLS.len()).map(|number| {
            let mut lines =
                format!("script \"/usr/bin/test -e {}\"\ninterval 1\n", WELLS[number - 1]);
            let _ = writeln!(lines, "rise {}\nfall {}", 1 + random.below(2), 1 + random.below(2));
            if number == 1 {
                let _ = writeln!(lines, "weight {}", random.pick(&[-60, -20, 20, 60]));
            } else if random.one_in(2) {
                // With a weight keepalived 2.2.7 does nothing with it.
                lines += "init_fail\n";
            }
            format!("vrrp_script s{number} {{\n{lines}}}\n")
        });
        let scripts = scripts.collect();
        let files = (1..=LOADS.len()).map(|number| {
            let weight = random.pick(&[0, 0, 1, 2, -1]);
            format!("track_file f{number} {{\nfile {}\nweight {weight}\n}}\n", LOADS[number - 1])
        });
        let files = files.collect();
        let mut config =
            Self { scripts, files, instances: Vec::new(), groups: Vec::new(), count: 0 };
        for _ in 0..1 + random.below(3) {
            config.add(random);
        }
        if random.one_in(2) {
            config.add_group(random);
        }
        config
    }

    fn number(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn add(&mut self, random: &mut Random) {
        let number = self.number();
        let name = format!("VI_{number}");
        let priority = random.pick(&[50, 100, 100, 150, 255]);
        let mut instance = Instance {
            interface: random.pick(&INTERFACES[..2]),
            vrid: 50 + number as u8,
            excluded: None,
            lines: String::new(),
            tracks: tracks(random),
            notify: notify(random, &name, &INSTANCE_SCRIPTS, 0),
            name,
            priority,
        };
        instance.vary(random);
        self.instances.push(instance);
    }

    fn add_group(&mut self, random: &mut Random) {
        let free: Vec<String> = (self.instances.iter())
            .map(|instance| instance.name.clone())
            .filter(|name| !self.groups.iter().any(|group| group.members.contains(name)))
            .collect();
        if free.len() < 2 {
            return;
        }
        let number = self.number();
        let name = format!("VG_{number}");
        // What an owner's group tracks with a weight puts it into FAULT under keepalived 2.2.7, and a script
        // that a member tracks too may be waited for without end.
        let simple = self.instances.iter().all(|one| one.priority < 255 && one.tracks.is_empty());
        let tracks = if simple { tracks(random) } else { String::new() };
        let notify = notify(random, &name, &GROUP_SCRIPTS, 0);
        self.groups.push(Group { name, members: free, tracks, notify });
    }

    /// Takes a name out of its group.
    fn forget(&mut self, name: &str) {
        for group in &mut self.groups {
            group.members.retain(|member| member != name);
        }
        self.groups.retain(|group| !group.members.is_empty());
    }

    /// Changes something, `again` in the same reload; says what. What differs on purpose is left out:
    /// a new instance does not come into a group that was there before, of which keepalived makes all
    /// BACKUP for a moment, and lbd makes the new one follow the others; nor does it track a script that
    /// has no result yet, for which keepalived does not wait, and lbd does.
    pub fn edit(&mut self, random: &mut Random, again: bool) -> String {
        let revision = self.number();
        let which = random.below(self.instances.len());
        let name = self.instances[which].name.clone();
        match random.below(13) {
            0 if self.instances.len() > 1 => {
                self.instances.remove(which);
                self.forget(&name);
                format!("removes {name}")
            }
            1 if self.instances.len() < 3 => {
                self.add(random);
                if let Some(new) = self.instances.last_mut() {
                    new.tracks.clear();
                }
                "adds an instance".to_owned()
            }
            // The same name, and another instance.
            2 | 3 => {
                let instance = &mut self.instances[which];
                instance.vrid = 50 + revision as u8;
                if again {
                    instance.tracks.clear();
                }
                if random.one_in(2) {
                    instance.notify = notify(random, &name, &INSTANCE_SCRIPTS, revision);
                }
                self.forget(&name);
                format!("another vrid for {name}")
            }
            // The same instance, and another name.
            4 | 5 => {
                let new = format!("VI_{revision}");
                let instance = &mut self.instances[which];
                instance.notify = instance.notify.replace(&format!("{name}."), &format!("{new}."));
                instance.name.clone_from(&new);
                for member in self.groups.iter_mut().flat_map(|group| &mut group.members) {
                    if *member == name {
                        member.clone_from(&new);
                    }
                }
                format!("{name}{RENAMES}{new}")
            }
            6 => {
                let instance = &mut self.instances[which];
                instance.interface = random.pick(&INTERFACES[..2]);
                if again {
                    instance.tracks.clear();
                }
                self.forget(&name);
                format!("another interface for {name}, or the same")
            }
            7 => {
                self.instances[which].notify = notify(random, &name, &INSTANCE_SCRIPTS, revision);
                format!("other scripts for {name}")
            }
            8 => {
                self.instances[which].tracks = tracks(random);
                format!("{name} tracks something else")
            }
            9 => {
                self.instances[which].priority = random.pick(&[50, 100, 150]);
                format!("another priority for {name}")
            }
            10 => {
                self.instances[which].vary(random);
                format!("other lines for {name}")
            }
            11 if !self.groups.is_empty() => {
                self.groups.pop();
                "no group".to_owned()
            }
            11 => {
                self.add_group(random);
                "a group, if there are two".to_owned()
            }
            12 if self.instances.len() > 1 => {
                // Two names change places.
                let other = (which + 1) % self.instances.len();
                let (a, b) = (self.instances[which].clone(), self.instances[other].clone());
                (self.instances[which].name, self.instances[which].notify) = (b.name, b.notify);
                (self.instances[other].name, self.instances[other].notify) = (a.name, a.notify);
                "two names change places".to_owned()
            }
            _ => {
                self.instances[which].excluded = Some(200 + random.below(50) as u8);
                format!("another address for {name}")
            }
        }
    }

    pub fn text(&self) -> String {
        let mut text = "global_defs {\nscript_user root\n}\n".to_owned();
        text.extend(self.scripts.iter().chain(&self.files).map(String::as_str));
        for instance in &self.instances {
            let Instance { name, interface, vrid, priority, lines, tracks, notify, .. } = instance;
            let network = if *interface == "eth0" { "192.0.2" } else { "198.51.100" };
            let excluded = instance.excluded.map_or_else(String::new, |octet| {
                format!("virtual_ipaddress_excluded {{\n{network}.{octet}/24\n}}\n")
            });
            let vip = vip_octet(*vrid);
            let _ = write!(
                text,
                "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {vrid}\n\
                 priority {priority}\nversion 3\nadvert_int 0.2\n{lines}{tracks}{notify}{excluded}\
                 virtual_ipaddress {{\n{network}.{vip}/24\n}}\n}}\n"
            );
        }
        for Group { name, members, tracks, notify } in &self.groups {
            let members = members.join("\n");
            let _ = write!(
                text,
                "vrrp_sync_group {name} {{\ngroup {{\n{members}\n}}\n{tracks}{notify}}}\n"
            );
        }
        text
    }
}

impl Instance {
    fn vary(&mut self, random: &mut Random) {
        self.lines.clear();
        match random.below(4) {
            0 => self.lines += "state MASTER\n",
            1 => self.lines += "state BACKUP\nnopreempt\n",
            2 => self.lines += "state BACKUP\n",
            _ => {}
        }
        if random.one_in(4) {
            self.lines += "garp_master_delay 1\n";
        }
    }
}

/// Last octet of the address of a virtual router, which all who advertise it say: keepalived 2.2.7 hears
/// nobody who says another.
pub fn vip_octet(vrid: u8) -> u8 {
    vrid + 50
}

/// What an instance or a group tracks: little of what there is.
fn tracks(random: &mut Random) -> String {
    let mut text = String::new();
    let mut list = |keyword: &str, names: &[&str], weights: &[i32]| {
        if !random.one_in(4) {
            return;
        }
        let name = random.pick(names);
        let weights = if name == "s2" { &[0] } else { weights };
        let weight = match random.pick(weights) {
            0 => String::new(),
            weight => format!(" weight {weight}"),
        };
        let reverse = if random.one_in(6) { " reverse" } else { "" };
        // keepalived 2.2.7 forgets at a reload that a script counts in reverse.
        let reverse = if weight.is_empty() || keyword == "track_script" { "" } else { reverse };
        let _ = write!(text, "{keyword} {{\n{name}{weight}{reverse}\n}}\n");
    };
    list("track_script", &["s1", "s2"], &[0, 0, -30, 30]);
    list("track_file", &["f1", "f2"], &[0, 0, 1, 3]);
    list("track_interface", &["eth1", "eth2"], &[0, 0, -30, 30]);
    text
}

/// Some scripts, each of which says whose and which it is.
fn notify(random: &mut Random, name: &str, kinds: &[&str], revision: usize) -> String {
    let mut text = String::new();
    for kind in kinds {
        if *kind == "notify" || random.one_in(2) {
            let _ = writeln!(text, "{kind} \"/run/note {name}.{kind}.{revision}\"");
        } else if *kind == "notify_deleted" && random.one_in(3) {
            let _ = writeln!(text, "{kind}");
        }
    }
    text
}
