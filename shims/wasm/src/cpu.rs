//! Processor time of a pod: what it has used, what it may use, and how long its turns are.
//!
//! A quota works as the kernel's CFS bandwidth control does for processes: a pod that has used up its quota is held until
//! its next period, and what a turn took beyond the quota is paid back from the periods to come. Held is the pod alone:
//! its futures wait for a timer, the executor's threads go on with others.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use mizzen_shim_protocol::CpuQuota;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::ticker::{TICK, Ticker};

/// Shares (1024 are a processor) for each tick of a turn: pods that want more than there is get turns as long as what they
/// asked for.
const SHARES_PER_TICK: u64 = 256;

/// The longest turn, in ticks: everybody else waits for it.
const LONGEST: u64 = 8;

pub(crate) struct Cpu {
    ticker: Arc<Ticker>,
    /// Nanoseconds.
    used: AtomicU64,
    quota: Option<Quota>,
    /// Ticks.
    turn: u64,
}

impl Cpu {
    pub(crate) fn new(ticker: Arc<Ticker>, quota: Option<CpuQuota>, shares: Option<u64>) -> Self {
        let turn = (shares.unwrap_or(0) / SHARES_PER_TICK).clamp(1, LONGEST);
        Self { ticker, used: AtomicU64::new(0), quota: quota.map(|quota| Quota::new(quota, Instant::now())), turn }
    }

    /// Nanoseconds since the pod's start.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Ticks that a guest may run on before it lets others have their turn.
    pub(crate) fn turn(&self) -> u64 {
        let left = self.quota.as_ref().map(|quota| quota.left(Instant::now()));
        let affordable = left.map(|left| u64::try_from(left.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX));
        self.turn.min(affordable.unwrap_or(u64::MAX)).max(1)
    }

    fn held_until(&self) -> Option<Instant> {
        self.quota.as_ref()?.held_until(Instant::now())
    }

    fn charge(&self, time: Duration) {
        self.used.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(quota) = &self.quota {
            quota.charge(time, Instant::now());
        }
    }
}

/// Runs `work` at the pod's expense, and only while the pod has something left.
pub(crate) async fn metered<T>(cpu: &Cpu, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut held: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        loop {
            if let Some(timer) = &mut held {
                ready!(timer.as_mut().poll(context));
                held = None;
            }
            let Some(until) = cpu.held_until() else { break };
            held = Some(Box::pin(sleep_until(until)));
        }
        let _running = cpu.ticker.run();
        let begun = thread_time();
        let polled: Poll<T> = work.as_mut().poll(context);
        cpu.charge(thread_time().saturating_sub(begun));
        polled
    })
    .await
}

/// What the calling thread has had of processors.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to the structure, which lives on. Every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

struct Quota {
    runtime: Duration,
    period: Duration,
    account: Mutex<Account>,
}

struct Account {
    /// When the period ends.
    end: Instant,
    /// In this period, and what earlier ones left to be paid.
    used: Duration,
}

impl Quota {
    fn new(quota: CpuQuota, now: Instant) -> Self {
        // A quota of nothing would hold the pod for ever.
        let runtime = Duration::from_micros(quota.quota.max(1));
        let period = Duration::from_micros(quota.period.max(1));
        Self { runtime, period, account: Mutex::new(Account { end: now + period, used: Duration::ZERO }) }
    }

    /// Begins the period that `now` is in.
    fn roll(&self, account: &mut Account, now: Instant) {
        let late = now.saturating_duration_since(account.end);
        if now < account.end {
            return;
        }
        let periods = u32::try_from(late.as_nanos() / self.period.as_nanos()).unwrap_or(u32::MAX).saturating_add(1);
        account.used = account.used.saturating_sub(self.runtime.saturating_mul(periods));
        account.end += self.period.saturating_mul(periods);
    }

    fn charge(&self, time: Duration, now: Instant) {
        let account = &mut *self.account.lock();
        self.roll(account, now);
        account.used = account.used.saturating_add(time);
    }

    fn left(&self, now: Instant) -> Duration {
        let account = &mut *self.account.lock();
        self.roll(account, now);
        self.runtime.saturating_sub(account.used)
    }

    /// When the pod may run again; `None` is at once.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        let account = &mut *self.account.lock();
        self.roll(account, now);
        let owed = u32::try_from(account.used.as_nanos() / self.runtime.as_nanos()).unwrap_or(u32::MAX);
        (owed > 0).then(|| account.end + self.period.saturating_mul(owed - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn quota(now: Instant) -> Quota {
        Quota::new(CpuQuota { quota: 20_000, period: 100_000 }, now)
    }

    #[test]
    fn a_pod_is_held_until_its_next_period_once_its_quota_is_used_up() {
        let begun = Instant::now();
        let quota = quota(begun);
        quota.charge(19 * MS, begun + 30 * MS);
        assert_eq!(quota.held_until(begun + 30 * MS), None);
        assert_eq!(quota.left(begun + 30 * MS), MS);
        quota.charge(MS, begun + 40 * MS);
        assert_eq!(quota.held_until(begun + 40 * MS), Some(begun + 100 * MS));
        assert_eq!(quota.held_until(begun + 100 * MS), None);
    }

    #[test]
    fn what_a_turn_took_beyond_the_quota_is_paid_back() {
        let begun = Instant::now();
        let quota = quota(begun);
        quota.charge(50 * MS, begun + 50 * MS);
        // 50 of 20: two more periods pay for it, the third leaves 10.
        assert_eq!(quota.held_until(begun + 50 * MS), Some(begun + 200 * MS));
        assert_eq!(quota.held_until(begun + 199 * MS), Some(begun + 200 * MS));
        assert_eq!(quota.left(begun + 200 * MS), 10 * MS);
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let begun = Instant::now();
        let quota = quota(begun);
        quota.charge(20 * MS, begun + 1000 * MS);
        assert_eq!(quota.held_until(begun + 1000 * MS), Some(begun + 1100 * MS));
    }

    #[test]
    fn turns_are_as_long_as_what_a_pod_asked_for_and_can_still_afford() {
        let cpu = |shares, quota: Option<u64>| {
            let quota = quota.map(|quota| CpuQuota { quota, period: 100_000 });
            Cpu::new(Ticker::still(), quota, shares)
        };
        assert_eq!(cpu(None, None).turn(), 1);
        assert_eq!(cpu(Some(1024), None).turn(), 4);
        assert_eq!(cpu(Some(1 << 18), None).turn(), LONGEST);
        assert_eq!(cpu(Some(1024), Some(5000)).turn(), 2);
        assert_eq!(cpu(Some(1024), Some(1)).turn(), 1);
    }

    #[tokio::test]
    async fn work_without_end_gets_its_quota_and_no_more() {
        let cpu = Cpu::new(Ticker::still(), Some(CpuQuota { quota: 10_000, period: 100_000 }), None);
        let begun = Instant::now();
        let busy = metered(&cpu, async {
            loop {
                let turn = thread_time();
                while thread_time() - turn < MS {}
                tokio::task::yield_now().await;
            }
        });
        let _: Result<(), _> = tokio::time::timeout(Duration::from_secs(1), busy).await;
        // A period more than have passed, and a turn beyond the quota, which a machine under load can make long.
        let periods = begun.elapsed().as_millis() / 100 + 2;
        let most = periods * 10 + 20;
        assert!(u128::from(cpu.used()) / 1_000_000 <= most, "{} ns in {periods} periods", cpu.used());
        assert!(cpu.used() >= 10_000_000, "it ran at all: {}", cpu.used());
    }
}
