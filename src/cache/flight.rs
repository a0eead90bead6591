//! One flight per key: whoever asks for what is already on its way waits for the same answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::carried::Carried;

/// The flights under way. A flight survives whoever began it.
pub struct Flights<K, V> {
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// Joins the flight for `key` or begins one. `None` if a flight that was joined panicked.
    pub async fn join<F: Future<Output = V> + Send + 'static>(&self, key: &K, begin: impl FnOnce() -> F) -> Option<V> {
        let role = {
            let mut flights = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.entry(key.clone()) {
                Entry::Occupied(flight) => Role::Waits(flight.get().clone()),
                Entry::Vacant(place) => {
                    let (land, landing) = watch::channel(None);
                    place.insert(landing);
                    let cleared = Cleared { flights: Arc::clone(&self.under_way), key: key.clone() };
                    let flight = begin();
                    Role::Flies(Carried::new(async move {
                        let value = flight.await;
                        drop(cleared);
                        land.send_replace(Some(value.clone()));
                        value
                    }))
                }
            }
        };
        match role {
            Role::Flies(flight) => Some(flight.await),
            Role::Waits(mut landing) => {
                let landed = landing.wait_for(Option::is_some).await.ok()?;
                landed.clone()
            }
        }
    }
}

/// Whoever began a flight flies it; should they go away, it goes on by itself.
enum Role<V: Send + 'static> {
    Flies(Carried<V>),
    Waits(watch::Receiver<Option<V>>),
}

/// Takes a flight off the board, also when it panics.
struct Cleared<K: Hash + Eq, V> {
    flights: Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>,
    key: K,
}

impl<K: Hash + Eq, V> Drop for Cleared<K, V> {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_share_one_flight_and_its_leader_may_leave() {
        let flights: Arc<Flights<u8, usize>> = Arc::default();
        let flown = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (flights, flown) = (Arc::clone(&flights), Arc::clone(&flown));
            async move {
                flights
                    .join(&1, || async move {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        flown.fetch_add(1, Ordering::SeqCst) + 1
                    })
                    .await
            }
        };
        let leader = tokio::spawn(ask());
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..10).map(|_| tokio::spawn(ask())).collect();
        tokio::task::yield_now().await;
        leader.abort();
        for other in others {
            assert_eq!(other.await.unwrap(), Some(1));
        }
        assert_eq!(ask().await, Some(2), "the next one is a flight of its own");
    }

    #[tokio::test]
    async fn a_flight_that_panics_leaves_the_board() {
        let flights: Flights<u8, u8> = Flights::default();
        let flights = Arc::new(flights);
        let crashing = Arc::clone(&flights);
        let crash = tokio::spawn(async move { crashing.join(&1, || async { panic!("crash") }).await });
        assert!(crash.await.is_err(), "whoever flies hears of it");
        assert_eq!(flights.join(&1, || async { 5 }).await, Some(5));
    }
}
