//! What the server counts about itself, under Kubernetes' names, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use indexmap::{Equivalent, IndexMap};
use parking_lot::{Mutex, RwLock};

use crate::process_metrics;

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const BOUNDS: [f64; 24] = [
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    6.0,
    8.0,
    10.0,
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
    f64::INFINITY,
];

/// Upper bounds of `apiserver_response_sizes`, in bytes.
const SIZES: [f64; 8] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, f64::INFINITY];

/// What a request was about. Empty texts where it was about no resource that is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked<'a> {
    /// Upper case, as the metrics have it: `GET`, `LIST`, `WATCH`, `POST`, `APPLY`, ….
    pub(crate) verb: &'static str,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    /// `resource`, `namespace` or `cluster`.
    pub(crate) scope: &'static str,
    pub(crate) dry_run: bool,
}

#[derive(PartialEq, Eq, Hash)]
struct Labels {
    verb: &'static str,
    group: Box<str>,
    version: Box<str>,
    resource: Box<str>,
    subresource: Box<str>,
    scope: &'static str,
    dry_run: bool,
}

impl Equivalent<Labels> for Asked<'_> {
    fn equivalent(&self, labels: &Labels) -> bool {
        (self.verb, self.scope, self.dry_run) == (labels.verb, labels.scope, labels.dry_run)
            && (self.group, self.version) == (&labels.group, &labels.version)
            && (self.resource, self.subresource) == (&labels.resource, &labels.subresource)
    }
}

#[derive(Default)]
struct Series {
    /// How many requests were answered with which code.
    codes: Mutex<Vec<(u16, u64)>>,
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
    long_running: AtomicI64,
    /// Of answers to reads.
    sizes: [AtomicU64; SIZES.len()],
    bytes: AtomicU64,
    /// That watchers were sent.
    events: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Metrics {
    series: RwLock<IndexMap<Labels, Arc<Series>>>,
    reading: Arc<AtomicI64>,
    mutating: Arc<AtomicI64>,
    authenticated: AtomicU64,
    unauthenticated: AtomicU64,
}

/// Counts one as long as it lives.
pub(crate) struct Gauge<T: AsRef<AtomicI64>>(T);

impl<T: AsRef<AtomicI64>> Gauge<T> {
    fn begin(gauge: T) -> Self {
        gauge.as_ref().fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl<T: AsRef<AtomicI64>> Drop for Gauge<T> {
    fn drop(&mut self) {
        self.0.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

/// The streams of one series.
pub(crate) struct Streams(Arc<Series>);

impl AsRef<AtomicI64> for Streams {
    fn as_ref(&self) -> &AtomicI64 {
        &self.0.long_running
    }
}

impl Gauge<Streams> {
    /// Counts events that the stream was sent.
    pub(crate) fn sent(&self, events: usize) {
        self.0.0.events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

impl Metrics {
    fn series(&self, asked: &Asked<'_>) -> Arc<Series> {
        if let Some(series) = self.series.read().get(asked) {
            return series.clone();
        }
        let labels = Labels {
            verb: asked.verb,
            group: asked.group.into(),
            version: asked.version.into(),
            resource: asked.resource.into(),
            subresource: asked.subresource.into(),
            scope: asked.scope,
            dry_run: asked.dry_run,
        };
        self.series.write().entry(labels).or_default().clone()
    }

    /// A request that is being answered; streams are not among them.
    pub(crate) fn in_flight(&self, mutating: bool) -> Gauge<Arc<AtomicI64>> {
        Gauge::begin(if mutating { self.mutating.clone() } else { self.reading.clone() })
    }

    /// A stream that is open.
    pub(crate) fn long_running(&self, asked: &Asked<'_>) -> Gauge<Streams> {
        Gauge::begin(Streams(self.series(asked)))
    }

    /// Somebody said who they are, rightly or not.
    pub(crate) fn authenticated(&self, rightly: bool) {
        let counter = if rightly { &self.authenticated } else { &self.unauthenticated };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that was answered. `took` is `None` for streams, which last as long as the client likes; `bytes` are those
    /// of the answer to a read.
    pub(crate) fn answered(&self, asked: &Asked<'_>, code: u16, took: Option<Duration>, bytes: Option<u64>) {
        let series = self.series(asked);
        let mut codes = series.codes.lock();
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => codes.push((code, 1)),
        }
        drop(codes);
        if let Some(bytes) = bytes {
            series.sizes[place(&SIZES, bytes as f64)].fetch_add(1, Ordering::Relaxed);
            series.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if let Some(took) = took {
            let bucket = place(&BOUNDS, took.as_secs_f64());
            series.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            series.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// The whole page.
    pub(crate) fn page(&self) -> String {
        let series: Vec<(String, String, Arc<Series>)> = self
            .series
            .read()
            .iter()
            .map(|(labels, series)| (labels.text(), if labels.dry_run { "All" } else { "" }.to_owned(), series.clone()))
            .collect();
        let mut page = String::with_capacity(64 * 1024);
        self.requests(&mut page, &series);
        durations(&mut page, &series);
        sizes(&mut page, &series);
        self.gauges(&mut page, &series);
        process_metrics::report(&mut page);
        page
    }

    /// Of watches of the same resource, whatever their scope.
    fn events(&self) -> BTreeMap<String, u64> {
        let mut events = BTreeMap::new();
        for (Labels { group, version, resource, .. }, series) in self.series.read().iter() {
            let count = series.events.load(Ordering::Relaxed);
            if count > 0 {
                let labels = format!("group=\"{group}\",version=\"{version}\",resource=\"{resource}\"");
                *events.entry(labels).or_default() += count;
            }
        }
        events
    }

    fn requests(&self, page: &mut String, series: &[(String, String, Arc<Series>)]) {
        heading(page, "apiserver_request_total", "counter", "Requests answered, by verb, resource and HTTP code.");
        for (labels, dry_run, series) in series {
            for (code, count) in series.codes.lock().iter() {
                line(page, "apiserver_request_total", &format!("{labels},code=\"{code}\",dry_run=\"{dry_run}\""), count);
            }
        }
    }

    fn gauges(&self, page: &mut String, series: &[(String, String, Arc<Series>)]) {
        heading(page, "apiserver_current_inflight_requests", "gauge", "Requests that are being answered now.");
        for (kind, gauge) in [("mutating", &self.mutating), ("readOnly", &self.reading)] {
            let count = gauge.load(Ordering::Relaxed);
            line(page, "apiserver_current_inflight_requests", &format!("request_kind=\"{kind}\""), count);
        }
        heading(page, "authentication_attempts", "counter", "Requests, by whether their credentials were right.");
        for (result, count) in [("success", &self.authenticated), ("failure", &self.unauthenticated)] {
            line(page, "authentication_attempts", &format!("result=\"{result}\""), count.load(Ordering::Relaxed));
        }
        heading(page, "apiserver_watch_events_total", "counter", "Events sent to watchers.");
        for (labels, events) in self.events() {
            line(page, "apiserver_watch_events_total", &labels, events);
        }
        heading(page, "apiserver_longrunning_requests", "gauge", "Streams that are open now.");
        for (labels, _, series) in series {
            let count = series.long_running.load(Ordering::Relaxed);
            if count > 0 {
                line(page, "apiserver_longrunning_requests", labels, count);
            }
        }
    }
}

impl Labels {
    fn text(&self) -> String {
        let Self { verb, group, version, resource, subresource, scope, .. } = self;
        format!(
            "component=\"apiserver\",verb=\"{verb}\",group=\"{group}\",version=\"{version}\",resource=\"{resource}\",\
             subresource=\"{subresource}\",scope=\"{scope}\""
        )
    }
}

/// The first bucket that holds a value; the last one holds any.
fn place(bounds: &[f64], value: f64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len() - 1)
}

fn durations(page: &mut String, series: &[(String, String, Arc<Series>)]) {
    const NAME: &str = "apiserver_request_duration_seconds";
    heading(page, NAME, "histogram", "How long answers took, in seconds; streams are left out.");
    for (labels, dry_run, series) in series {
        let seconds = series.micros.load(Ordering::Relaxed) as f64 / 1e6;
        histogram(page, NAME, &format!("{labels},dry_run=\"{dry_run}\""), (&BOUNDS, &series.buckets), seconds);
    }
}

fn sizes(page: &mut String, series: &[(String, String, Arc<Series>)]) {
    const NAME: &str = "apiserver_response_sizes";
    heading(page, NAME, "histogram", "Sizes of answers to reads, in bytes; streams are left out.");
    for (labels, _, series) in series {
        histogram(page, NAME, labels, (&SIZES, &series.sizes), series.bytes.load(Ordering::Relaxed) as f64);
    }
}

/// The lines of one series, if it counted anything.
fn histogram(page: &mut String, name: &str, labels: &str, (bounds, buckets): (&[f64], &[AtomicU64]), sum: f64) {
    let mut count = 0;
    let mut lines = String::new();
    for (bound, bucket) in bounds.iter().zip(buckets) {
        count += bucket.load(Ordering::Relaxed);
        let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        line(&mut lines, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
    }
    if count > 0 {
        page.push_str(&lines);
        line(page, &format!("{name}_sum"), labels, sum);
        line(page, &format!("{name}_count"), labels, count);
    }
}

pub(crate) fn heading(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn line(page: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(page, "{name}{{{labels}}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_were_about() {
        let metrics = Metrics::default();
        let asked = Asked { verb: "GET", version: "v1", resource: "pods", scope: "resource", ..Asked::default() };
        for code in [200, 200, 404] {
            metrics.answered(&asked, code, Some(Duration::from_millis(30)), Some(5_000));
        }
        let watch = metrics.long_running(&Asked { verb: "WATCH", ..asked });
        watch.sent(7);
        metrics.authenticated(true);
        let page = metrics.page();
        let labels = "component=\"apiserver\",verb=\"GET\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",scope=\"resource\"";
        for wanted in [
            format!("apiserver_request_total{{{labels},code=\"200\",dry_run=\"\"}} 2\n"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},dry_run=\"\",le=\"0.025\"}} 0\n"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},dry_run=\"\",le=\"+Inf\"}} 3\n"),
            format!("apiserver_request_duration_seconds_sum{{{labels},dry_run=\"\"}} 0.09\n"),
            format!("apiserver_response_sizes_bucket{{{labels},le=\"1000\"}} 0\n"),
            format!("apiserver_response_sizes_bucket{{{labels},le=\"10000\"}} 3\n"),
            format!("apiserver_response_sizes_sum{{{labels}}} 15000\n"),
            "apiserver_watch_events_total{group=\"\",version=\"v1\",resource=\"pods\"} 7\n".to_owned(),
            "authentication_attempts{result=\"success\"} 1\n".to_owned(),
            format!("apiserver_longrunning_requests{{{}}} 1\n", labels.replace("GET", "WATCH")),
        ] {
            assert!(page.contains(&wanted), "{wanted} in {page}");
        }
        drop(watch);
        assert!(!metrics.page().contains("apiserver_longrunning_requests{"));
    }
}
