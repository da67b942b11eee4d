//! What the event loop and the servers share.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// The event loop is alive if it has beaten within this time. Without events it beats about once a
/// second, since it looks then for what no record tells of.
pub const ALIVE: Duration = Duration::from_secs(10);

/// How old a page may be that is served without a new one. This bounds how often pages are made.
pub const FRESH: Duration = Duration::from_secs(1);

/// How long a client waits for a new page. The event loop makes one in milliseconds; if it takes this
/// long, numbers of an earlier time would be a lie.
const PATIENCE: Duration = Duration::from_secs(5);

/// A page of metrics.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its text.
    pub text: Bytes,
    /// When it was made.
    pub made: Instant,
    /// Its number, counted from 1.
    pub number: u64,
}

/// Wakes the event loop when a page is wanted.
pub type Asked = mpsc::Receiver<()>;

/// What the event loop and the servers share.
#[derive(Debug)]
pub struct Shared {
    page: watch::Sender<Option<Page>>,
    is_wanted: AtomicBool,
    wake: mpsc::Sender<()>,
    /// The number of the latest page that a client got.
    served: AtomicU64,
    began: Instant,
    /// Milliseconds from `began` to the latest beat of the event loop.
    beat: AtomicU64,
    /// Why it is not ready; None if it is.
    unready: Mutex<Option<String>>,
    /// Why nothing can be served any more.
    failure: OnceLock<String>,
}

impl Shared {
    /// The state before the event loop runs.
    #[must_use]
    pub fn new() -> (Self, Asked) {
        let (wake, asked) = mpsc::channel(1);
        let shared = Self {
            page: watch::Sender::new(None),
            is_wanted: AtomicBool::new(false),
            wake,
            served: AtomicU64::new(0),
            began: Instant::now(),
            beat: AtomicU64::new(0),
            unready: Mutex::new(Some("the kernel programs are not attached yet".to_owned())),
            failure: OnceLock::new(),
        };
        (shared, asked)
    }

    /// The event loop is alive.
    pub fn beat(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(since, Ordering::Relaxed);
    }

    /// How long ago the event loop was last alive.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(beat)
    }

    /// Nothing can be served any more: the event loop ends with this.
    pub fn fail(&self, reason: String) {
        // The first one counts.
        let _ = self.failure.set(reason);
        self.wake();
    }

    /// Why nothing can be served any more.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Sets why it is not ready, or that it is.
    pub fn set_unready(&self, reason: Option<String>) {
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Why it is not ready; None if it is.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        self.unready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wakes the event loop.
    pub fn wake(&self) {
        // If the channel is full, it is about to wake.
        let _ = self.wake.try_send(());
    }

    /// Whether somebody waits for a page. The next one answers all who wait now.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::SeqCst)
    }

    /// Hands a page to those who wait.
    pub fn publish(&self, text: String) {
        self.is_wanted.store(false, Ordering::SeqCst);
        self.page.send_modify(|page| {
            let number = page.as_ref().map_or(0, |page| page.number) + 1;
            *page = Some(Page { text: text.into(), made: Instant::now(), number });
        });
    }

    /// The number of the latest page.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.page.borrow().as_ref().map_or(0, |page| page.number)
    }

    /// The number of the latest page that a client got.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// A client got this page.
    pub fn was_served(&self, page: &Page) {
        self.served.fetch_max(page.number, Ordering::Relaxed);
    }

    /// A page that is at most `FRESH` old; None if the event loop makes none.
    pub async fn page(&self) -> Option<Page> {
        let mut pages = self.page.subscribe();
        if let Some(page) = pages.borrow_and_update().clone()
            && page.made.elapsed() < FRESH
        {
            return Some(page);
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        self.wake();
        tokio::time::timeout(PATIENCE, pages.changed()).await.ok()?.ok()?;
        pages.borrow().clone()
    }
}
