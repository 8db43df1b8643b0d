//! What the calls to workers came to, read from the clients whenever it is asked for ([`Calls`]).

use std::fmt;

use plane_core::{ClientStats, Transport};
use plane_manager::NetworkManager;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The calls that the frontend makes, as its manager counts them.
pub(super) struct Calls(pub(super) NetworkManager);

/// A value of one transport's client, told apart from others of its name by one more label.
type Value = (Transport, Option<(&'static str, &'static str)>, u64);

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let clients = self.0.stats().clients;
        let each = |value: fn(&ClientStats) -> u64| -> Vec<Value> {
            clients.iter().map(|(transport, stats)| (*transport, None, value(stats))).collect()
        };
        let outcomes = clients.iter().flat_map(|(transport, stats)| {
            let ClientStats { completed, failed, cancelled, .. } = *stats;
            let outcomes = [("completed", completed), ("failed", failed), ("cancelled", cancelled)];
            outcomes.map(|(outcome, calls)| (*transport, Some(("outcome", outcome)), calls))
        });
        let refusals = clients.iter().flat_map(|(transport, stats)| {
            let reasons = stats.refusals.iter().map(|(reason, count)| (reason.name(), count));
            let reasons: Vec<_> = reasons.collect();
            reasons.into_iter().map(|(reason, count)| (*transport, Some(("reason", reason)), count))
        });
        count(&mut encoder, "calls", "Calls to workers that have ended", outcomes)?;
        gauge(&mut encoder, "calls_in_flight", "Calls to workers that have not ended", each(|stats| stats.in_flight))?;
        gauge(&mut encoder, "connections", "Connections that are open", each(|stats| stats.connections))?;
        count(&mut encoder, "dials", "Connections that were opened", each(|stats| stats.dials))?;
        count(&mut encoder, "refusals", "What workers did that ended a connection to them", refusals)?;
        let help = "Messages from NATS that belonged to no call and were dropped";
        count(&mut encoder, "unknown_replies", help, each(|stats| stats.unknown_replies))
    }
}

fn count(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = Value>,
) -> fmt::Result {
    encode(
        encoder,
        name,
        help,
        values.into_iter().map(|(transport, label, value)| (transport, label, ConstCounter::new(value))),
    )
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = Value>,
) -> fmt::Result {
    let gauge = |value| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    encode(encoder, name, help, values.into_iter().map(|(transport, label, value)| (transport, label, gauge(value))))
}

/// One family with all its series; nothing of it while there are none.
fn encode<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Transport, Option<(&'static str, &'static str)>, M)>,
) -> fmt::Result {
    let mut values = values.peekable();
    let Some((_, _, first)) = values.peek() else { return Ok(()) };
    let mut family = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (transport, label, value) in values {
        let mut labels = vec![("transport", transport.to_string())];
        labels.extend(label.map(|(key, value)| (key, value.to_owned())));
        value.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}
