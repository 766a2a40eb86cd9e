//! Which virtual servers have which service: mostly one each, more where a group is shared.

use lb_pool::ServiceKey;

/// A service and the place of a virtual server that has it.
pub(super) type Owner = (ServiceKey, usize);

/// Every owner, by service, and those of one service in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Owners(Vec<Owner>);

impl Owners {
    /// Those of one service; none if nobody has it.
    pub fn of(&self, service: &ServiceKey) -> &[Owner] {
        let from = self.0.partition_point(|(key, _)| key < service);
        let owners = &self.0[from..];
        &owners[..owners.partition_point(|(key, _)| key == service)]
    }

    /// Those of each service, in the order of services.
    pub fn by_service(&self) -> impl Iterator<Item = &[Owner]> {
        self.0.chunk_by(|(one, _), (other, _)| one == other)
    }
}

/// Out of owners in the order of the file. That is mostly the order of services too, which costs
/// no more than to find that out.
impl FromIterator<Owner> for Owners {
    fn from_iter<T: IntoIterator<Item = Owner>>(owners: T) -> Self {
        let mut owners: Vec<_> = owners.into_iter().collect();
        owners.sort_by_key(|(key, _)| *key);
        Self(owners)
    }
}

#[cfg(test)]
mod tests {
    use lb_pool::table::Family;

    use super::*;

    #[test]
    fn the_owners_of_a_service_keep_the_order_of_the_file() {
        let mark = |mark| ServiceKey::Fwmark { family: Family::Inet, mark };
        let owners: Owners = [(mark(7), 0), (mark(3), 1), (mark(7), 2), (mark(5), 2), (mark(3), 3)]
            .into_iter()
            .collect();
        let places = |mark| owners.of(&mark).iter().map(|(_, at)| *at).collect::<Vec<_>>();
        assert_eq!(places(mark(7)), [0, 2]);
        assert_eq!(places(mark(5)), [2]);
        assert!(places(mark(4)).is_empty());
        let sizes: Vec<_> = owners.by_service().map(<[Owner]>::len).collect();
        assert_eq!(sizes, [2, 1, 2]);
    }
}
