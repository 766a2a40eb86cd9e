//! Instances and groups together: what refers to what.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::group::Group;
use super::router_finish::{Shared, alert, notify};
use super::{Context, carp, carp_finish, lint, vrrp, vrrp_finish};
use crate::model::{CarpInstance, SyncGroup, VrrpInstance, VrrpScript};

/// What is read of instances and groups.
#[expect(clippy::vec_box, reason = "each draft is let go when it has become part of the model")]
pub(crate) struct Drafts {
    pub(crate) vrrp: Vec<Box<vrrp::Instance>>,
    pub(crate) carp: Vec<Box<carp::Instance>>,
    pub(crate) groups: Vec<Group>,
}

/// What the model has of them.
pub(crate) struct Instances {
    pub(crate) vrrp: Vec<Arc<VrrpInstance>>,
    pub(crate) carp: Vec<Arc<CarpInstance>>,
    pub(crate) groups: Vec<SyncGroup>,
}

/// Makes instances and groups of the model.
pub(crate) fn finish(
    context: &mut Context<'_>,
    drafts: Drafts,
    scripts: &[VrrpScript],
) -> Instances {
    let Drafts { vrrp, carp, groups } = drafts;
    let names = vrrp.iter().map(|instance| instance.router.name.as_str());
    let names = names.chain(carp.iter().map(|instance| instance.router.name.as_str())).collect();
    let balanced = carp.iter().filter(|instance| instance.nodes.len() > 1);
    let balanced = balanced.map(|instance| instance.router.name.as_str()).collect();
    let groups = resolve_members(context, &names, &balanced, groups);
    drop((names, balanced));
    let shared = Shared::new(scripts, &groups);
    let mut places = lint::AllPlaces::default();
    let vrrp = vrrp_finish::finish(context, vrrp, &shared, &mut places.vrrp);
    let carp = carp_finish::finish(context, carp, &shared, &mut places.carp);
    let groups = groups
        .into_iter()
        .map(|group| SyncGroup {
            notify: notify(context, group.notify),
            members: group.members.into_iter().map(|(name, _)| name).collect(),
            name: group.name,
            tracking_weight: group.tracking_weight,
            smtp_alert: alert(context, group.smtp_alert),
        })
        .collect();
    let instances = Instances { vrrp, carp, groups };
    lint::instances(context, &instances, &places);
    instances
}

/// Drops members that are no instance, have a MASTER a vhid, or are in another group, and groups without members.
fn resolve_members(
    context: &mut Context<'_>,
    known: &HashSet<&str>,
    balanced: &HashSet<&str>,
    groups: Vec<Group>,
) -> Vec<Group> {
    let mut taken: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(groups.len());
    for mut group in groups {
        group.members.retain(|(member, place)| {
            if !known.contains(member.as_str()) {
                let message =
                    format!("group `{}` names `{member}`, which is no instance", group.name);
                context.diags.warn("group-member", *place, message).hint("the name is ignored");
                return false;
            }
            if balanced.contains(member.as_str()) {
                let message = format!(
                    "group `{}` names `{member}`, whose vhids have a MASTER each; the name is ignored",
                    group.name
                );
                context.diags.warn("group-member", *place, message).hint(
                    "let the vhids follow what they depend on with `track_interface` and `groups`",
                );
                return false;
            }
            if let Some(other) = taken.get(member) {
                let message =
                    format!("`{member}` is in group `{other}` already; the name is ignored");
                context.diags.warn("group-member", *place, message);
                return false;
            }
            taken.insert(member.clone(), group.name.clone());
            true
        });
        match group.members.len() {
            0 => {
                let message = format!("group `{}` has no members and is removed", group.name);
                context.diags.warn("group-empty", group.place, message);
                // keepalived looks at its scripts all the same.
                notify(context, group.notify);
                continue;
            }
            1 => {
                let message = format!("group `{}` has one member only", group.name);
                context.diags.warn("group-single", group.place, message);
            }
            _ => {}
        }
        kept.push(group);
    }
    kept
}
