//! The other nodes that are heard, and what is odd about them.

use std::collections::BTreeMap;
use std::time::Duration;

use api::tickets::Tag;
use domain::name::NodeId;
use tokio::time::Instant;

/// A node that was not heard for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Nodes that are known besides ours. Limits are not shared with more.
const NODES_MAX: usize = 63;

/// Keys that differ for less are being changed: each node reads its file in its own time.
const KEYS_PATIENCE: Duration = Duration::from_secs(10);

/// What is noticed of another node, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    Came,
    /// Its name is ours.
    SameName,
    /// It signs and takes tokens with other keys than we do.
    OtherKeys,
    /// There are as many as can be.
    TooMany,
}

/// The other nodes, by their run.
pub(super) struct Known {
    own: NodeId,
    others: BTreeMap<Tag, Other>,
    /// Whether it was said that there are too many.
    is_full: bool,
}

struct Other {
    node: NodeId,
    heard_at: Instant,
    same_keys_at: Instant,
    is_told_of_keys: bool,
}

impl Known {
    pub(super) fn of(own: NodeId) -> Self {
        Self { own, others: BTreeMap::new(), is_full: false }
    }

    /// Notes that another node was heard; returns what is to be said of it.
    pub(super) fn hear(
        &mut self,
        (run, node): (Tag, NodeId),
        same_keys: bool,
        now: Instant,
    ) -> Option<Notice> {
        if let Some(other) = self.others.get_mut(&run) {
            other.heard_at = now;
            if same_keys {
                other.same_keys_at = now;
            } else if !other.is_told_of_keys
                && now.duration_since(other.same_keys_at) >= KEYS_PATIENCE
            {
                other.is_told_of_keys = true;
                return Some(Notice::OtherKeys);
            }
            return None;
        }
        if self.others.len() >= NODES_MAX {
            let is_news = !std::mem::replace(&mut self.is_full, true);
            return is_news.then_some(Notice::TooMany);
        }
        let notice = if node == self.own { Notice::SameName } else { Notice::Came };
        let other = Other { node, heard_at: now, same_keys_at: now, is_told_of_keys: false };
        self.others.insert(run, other);
        Some(notice)
    }

    /// Forgets those that are gone, and returns their names.
    pub(super) fn forget(&mut self, now: Instant) -> Vec<NodeId> {
        let gone = |other: &Other| now.duration_since(other.heard_at) > SILENCE_MAX;
        let names = self.others.values().filter(|other| gone(other));
        let names: Vec<NodeId> = names.map(|other| other.node.clone()).collect();
        if !names.is_empty() {
            self.others.retain(|_, other| !gone(other));
            self.is_full = false;
        }
        names
    }

    /// Returns how many nodes there are, ours included.
    pub(super) fn nodes(&self) -> u32 {
        u32::try_from(self.others.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(run: u8, node: &str) -> (Tag, NodeId) {
        (Tag::try_from(format!("{run:016x}")).unwrap(), node.parse().unwrap())
    }

    fn later(from: Instant, seconds: u64) -> Instant {
        from + Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_that_comes_is_noticed_once_and_counts_until_it_is_silent() {
        let (mut known, now) = (Known::of("a".parse().unwrap()), Instant::now());
        assert_eq!(known.nodes(), 1);
        assert_eq!(known.hear(other(1, "b"), true, now), Some(Notice::Came));
        assert_eq!(known.hear(other(1, "b"), true, later(now, 3)), None);
        assert_eq!(known.nodes(), 2);

        assert_eq!(known.forget(later(now, 8)), []);
        assert_eq!(known.forget(later(now, 9)), ["b".parse().unwrap()]);
        assert_eq!(known.nodes(), 1);
        assert_eq!(known.hear(other(1, "b"), true, later(now, 10)), Some(Notice::Came));
    }

    #[test]
    fn two_nodes_of_one_name_are_noticed() {
        let (mut known, now) = (Known::of("a".parse().unwrap()), Instant::now());
        assert_eq!(known.hear(other(1, "a"), true, now), Some(Notice::SameName));
        assert_eq!(known.hear(other(1, "a"), true, now), None);
        assert_eq!(known.nodes(), 2);
    }

    #[test]
    fn keys_that_stay_different_are_noticed_once() {
        let (mut known, now) = (Known::of("a".parse().unwrap()), Instant::now());
        known.hear(other(1, "b"), false, now);
        assert_eq!(known.hear(other(1, "b"), false, later(now, 9)), None);
        // They were being changed.
        assert_eq!(known.hear(other(1, "b"), true, later(now, 12)), None);
        assert_eq!(known.hear(other(1, "b"), false, later(now, 13)), None);
        let noticed = known.hear(other(1, "b"), false, later(now, 22));
        assert_eq!(noticed, Some(Notice::OtherKeys));
        assert_eq!(known.hear(other(1, "b"), false, later(now, 40)), None);
    }

    #[test]
    fn only_so_many_nodes_are_known() {
        let (mut known, now) = (Known::of("a".parse().unwrap()), Instant::now());
        for run in 0..63 {
            assert_eq!(known.hear(other(run, "b"), true, now), Some(Notice::Came));
        }
        assert_eq!(known.hear(other(64, "c"), true, now), Some(Notice::TooMany));
        assert_eq!(known.hear(other(65, "c"), true, now), None);
        assert_eq!(known.nodes(), 64);
    }
}
