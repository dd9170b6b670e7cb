use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentx_resource::Secret;

/// How many values are kept at most, besides those of [`Cache::all`].
const MAX_VALUES: usize = 1024;

/// How many bytes of names and values are kept at most, for each of single values and all of them.
const MAX_BYTES: usize = 4 << 20;

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Value(Secret),
    Unset,
}

/// What was read, until it is too old or the oldest of too many.
#[derive(Default)]
pub(super) struct Cache {
    values: HashMap<String, (Known, SystemTime)>,
    /// The names in the order in which they came.
    order: VecDeque<String>,
    bytes: usize,
    all: Option<(Arc<BTreeMap<String, Secret>>, SystemTime)>,
}

impl Cache {
    /// What is known of `key`; none where nothing is.
    pub(super) fn get(&self, key: &str, now: SystemTime) -> Option<Known> {
        if let Some(all) = self.all(now) {
            return Some(all.get(key).cloned().into());
        }
        let (value, until) = self.values.get(key)?;
        (now < *until).then(|| value.clone())
    }

    pub(super) fn all(&self, now: SystemTime) -> Option<Arc<BTreeMap<String, Secret>>> {
        self.all.as_ref().filter(|(_, until)| now < *until).map(|(all, _)| all.clone())
    }

    pub(super) fn put(&mut self, key: &str, value: Known, now: SystemTime, ttl: Duration) {
        let Some(until) = now.checked_add(ttl) else { return };
        let size = size(key, &value);
        if ttl.is_zero() || size > MAX_BYTES {
            return;
        }
        self.remove(key);
        self.bytes += size;
        self.values.insert(key.to_owned(), (value, until));
        self.order.push_back(key.to_owned());
        while self.values.len() > MAX_VALUES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.front().cloned() else { return };
            self.remove(&oldest);
        }
    }

    pub(super) fn put_all(&mut self, all: Arc<BTreeMap<String, Secret>>, now: SystemTime, ttl: Duration) {
        let bytes: usize = all.iter().map(|(key, value)| key.len() + value.expose().len()).sum();
        let until = now.checked_add(ttl).filter(|_| !ttl.is_zero() && bytes <= MAX_BYTES);
        self.all = until.map(|until| (all, until));
    }

    fn remove(&mut self, key: &str) {
        if let Some((value, _)) = self.values.remove(key) {
            self.bytes -= size(key, &value);
            self.order.retain(|kept| kept != key);
        }
    }
}

fn size(key: &str, value: &Known) -> usize {
    key.len()
        + match value {
            Known::Value(value) => value.expose().len(),
            Known::Unset => 0,
        }
}

impl From<Option<Secret>> for Known {
    fn from(value: Option<Secret>) -> Self {
        value.map_or(Self::Unset, Self::Value)
    }
}

impl Known {
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::Value(value) => Some(value.expose().to_owned()),
            Self::Unset => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn value(text: &str) -> Known {
        Known::Value(Secret::new(text))
    }

    #[test]
    fn a_value_is_good_for_its_time_and_nothing_is_a_value_too() {
        let mut cache = Cache::default();
        assert_eq!(cache.get("a", at(0)), None);
        cache.put("a", value("1"), at(0), TTL);
        cache.put("b", Known::Unset, at(0), TTL);
        assert_eq!(cache.get("a", at(59)), Some(value("1")));
        assert_eq!(cache.get("b", at(59)), Some(Known::Unset));
        assert_eq!(cache.get("a", at(60)), None);
        cache.put("a", value("2"), at(60), TTL);
        assert_eq!(cache.get("a", at(61)), Some(value("2")));
        cache.put("c", value("3"), at(0), Duration::ZERO);
        assert_eq!(cache.get("c", at(0)), None);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_or_too_large() {
        let mut cache = Cache::default();
        for number in 0..=MAX_VALUES {
            cache.put(&number.to_string(), value("x"), at(0), TTL);
        }
        assert_eq!((cache.values.len(), cache.order.len()), (MAX_VALUES, MAX_VALUES));
        assert_eq!(cache.get("0", at(0)), None);
        cache.put("large", value(&"x".repeat(MAX_BYTES - 5)), at(0), TTL);
        assert_eq!((cache.values.len(), cache.bytes), (1, MAX_BYTES));
        cache.put("too large", value(&"x".repeat(MAX_BYTES)), at(0), TTL);
        assert_eq!(cache.values.len(), 1);
    }

    #[test]
    fn all_answers_for_each() {
        let mut cache = Cache::default();
        cache.put("a", value("old"), at(0), TTL);
        let all = BTreeMap::from([("a".to_owned(), Secret::new("new"))]);
        cache.put_all(Arc::new(all), at(1), TTL);
        assert_eq!(cache.get("a", at(2)), Some(value("new")));
        assert_eq!(cache.get("b", at(2)), Some(Known::Unset));
        assert_eq!(cache.get("a", at(61)), None);
    }
}
