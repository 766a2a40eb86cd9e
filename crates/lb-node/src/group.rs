//! Sync groups: members that are MASTER together or not at all.
//!
//! Knows no protocol; members may be of different ones. They must rank the routers alike: a group
//! that wants two masters at once never comes to rest. Where priorities or paces are equal, VRRP
//! lets the higher address win and CARP, as ucarp does, the one that is lower from its last octet,
//! so equals do not go into a group of both. Routers in maintenance are equals by nature; of those
//! the higher address wins in either protocol. Priority 1 is theirs: a healthy router that has it in
//! such a group is their equal in VRRP and not in CARP.

use lb_election::Role;

/// What a group has to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it stands.
    pub role: Role,
    /// It listens and would be MASTER if it were alone.
    pub willing: bool,
    /// It has a cause of its own to be in FAULT, or waits for the first result of a script.
    pub faulty: bool,
}

/// Where a group that stands at `now` has to go, given its members.
///
/// - FAULT while any member is faulty; out of it only when none is.
/// - BACKUP as soon as one member of a MASTER group has left that role; one that is new to the
///   group follows it instead.
/// - MASTER when every member holds the addresses or is willing to.
///
/// A group without members goes nowhere.
#[must_use]
pub fn next(now: Role, members: impl IntoIterator<Item = Member>) -> Role {
    let mut any = false;
    let (mut faulty, mut all_masters, mut all_willing) = (false, true, true);
    for member in members {
        any = true;
        faulty |= member.faulty;
        all_masters &= matches!(member.role, Role::Master | Role::Init);
        all_willing &= member.role == Role::Master || member.willing;
    }
    match now {
        _ if !any => now,
        _ if faulty => Role::Fault,
        Role::Init | Role::Fault => Role::Backup,
        Role::Master if all_masters => Role::Master,
        Role::Master => Role::Backup,
        Role::Backup if all_willing => Role::Master,
        Role::Backup => Role::Backup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENING: Member = Member { role: Role::Backup, willing: false, faulty: false };
    const WILLING: Member = Member { willing: true, ..LISTENING };
    const MASTER: Member = Member { role: Role::Master, ..LISTENING };
    const FAULTY: Member = Member { role: Role::Master, willing: false, faulty: true };

    #[test]
    fn the_last_willing_member_makes_the_group_master() {
        assert_eq!(next(Role::Backup, [WILLING, LISTENING]), Role::Backup);
        assert_eq!(next(Role::Backup, [WILLING, WILLING]), Role::Master);
        assert_eq!(next(Role::Backup, [MASTER, WILLING]), Role::Master);
    }

    #[test]
    fn one_member_takes_all_with_it() {
        assert_eq!(next(Role::Master, [MASTER, MASTER]), Role::Master);
        assert_eq!(next(Role::Master, [MASTER, LISTENING]), Role::Backup);
        assert_eq!(next(Role::Master, [MASTER, FAULTY]), Role::Fault);
        assert_eq!(next(Role::Backup, [WILLING, FAULTY]), Role::Fault);
    }

    #[test]
    fn a_new_member_follows_its_group() {
        let new = Member { role: Role::Init, ..LISTENING };
        assert_eq!(next(Role::Master, [MASTER, new]), Role::Master);
        assert_eq!(next(Role::Backup, [WILLING, new]), Role::Backup);
    }

    #[test]
    fn fault_ends_in_backup_when_every_cause_is_gone() {
        let out = Member { role: Role::Fault, ..LISTENING };
        assert_eq!(next(Role::Fault, [out, FAULTY]), Role::Fault);
        assert_eq!(next(Role::Fault, [out, out]), Role::Backup);
        assert_eq!(next(Role::Init, [LISTENING]), Role::Backup);
        assert_eq!(next(Role::Init, []), Role::Init);
    }
}
