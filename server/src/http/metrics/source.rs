//! Values that are read off the member at the moment somebody asks for them.

use prometheus::core::Desc;
use prometheus::proto::{self, MetricFamily, MetricType};

/// Whoever can tell about the member.
pub trait Source: Send + Sync + 'static {
    /// One reading of everything; it must not block on the disk or the network.
    fn read(&self) -> Vec<Reading>;
}

/// One value under its etcd name.
#[derive(Clone, Debug)]
pub struct Reading {
    pub name: &'static str,
    pub help: &'static str,
    pub counter: bool,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Reading {
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, counter: false, labels: Vec::new(), value }
    }

    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, counter: true, labels: Vec::new(), value }
    }

    pub fn labelled(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

/// Turns readings into what the registry gathers.
pub(super) struct Collector<S> {
    source: S,
    /// The registry wants one description to tell collectors apart.
    desc: Desc,
}

impl<S: Source> Collector<S> {
    pub(super) fn new(source: S) -> Self {
        let name = "etcd_server".to_owned();
        let help = "What the member tells of itself.".to_owned();
        let desc =
            Desc::new(name, help, Vec::new(), Default::default()).expect("the name is well-formed");
        Self { source, desc }
    }
}

impl<S: Source> prometheus::core::Collector for Collector<S> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.source.read().into_iter().map(family).collect()
    }
}

fn family(reading: Reading) -> MetricFamily {
    let mut metric = proto::Metric::default();
    metric.set_label(reading.labels.into_iter().map(label).collect());
    let mut family = MetricFamily::default();
    if reading.counter {
        let mut counter = proto::Counter::default();
        counter.set_value(reading.value);
        metric.set_counter(counter);
        family.set_field_type(MetricType::COUNTER);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(reading.value);
        metric.set_gauge(gauge);
        family.set_field_type(MetricType::GAUGE);
    }
    family.set_name(reading.name.to_owned());
    family.set_help(reading.help.to_owned());
    family.set_metric(vec![metric]);
    family
}

fn label((name, value): (&'static str, String)) -> proto::LabelPair {
    let mut label = proto::LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value);
    label
}
