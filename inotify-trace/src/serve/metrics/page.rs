//! A page of metrics: numbers, and their text.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use super::registry::{Kind, Metric};

/// The numbers of a moment.
#[derive(Debug, Default)]
pub struct Numbers(Vec<Family>);

/// A metric with its series.
#[derive(Debug)]
pub struct Family {
    /// What it is.
    pub metric: &'static Metric,
    /// The values of its labels, and its own.
    pub series: Vec<(Vec<String>, f64)>,
}

impl Numbers {
    /// Adds a metric; without series, it is left out.
    pub fn add(&mut self, metric: &'static Metric, series: Vec<(Vec<String>, f64)>) {
        debug_assert!(series.iter().all(|(labels, _)| labels.len() == metric.labels.len()));
        if !series.is_empty() {
            self.0.push(Family { metric, series });
        }
    }

    /// Adds a metric without labels, if its value is known.
    pub fn add_one(&mut self, metric: &'static Metric, value: Option<f64>) {
        self.add(metric, value.map(|value| (Vec::new(), value)).into_iter().collect());
    }

    /// All metrics that have series.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.0
    }

    /// Its text, in OpenMetrics.
    ///
    /// # Errors
    /// None: a String takes all that is written to it.
    pub fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(page)
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, series } in &self.0 {
            let kind = match metric.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Info => MetricType::Info,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.about, None, kind)?;
            for (values, value) in series {
                let values = values.iter().map(String::as_str);
                let labels: Vec<_> = metric.labels.iter().copied().zip(values).collect();
                match metric.kind {
                    Kind::Info => family.encode_info(&labels)?,
                    Kind::Gauge => family.encode_family(&labels)?.encode_gauge(value)?,
                    Kind::Counter => family
                        .encode_family(&labels)?
                        .encode_counter(value, None::<&Exemplar<Vec<(&str, &str)>, f64>>)?,
                }
            }
        }
        Ok(())
    }
}
