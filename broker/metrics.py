"""Counters, gauges and histograms (Prometheus). One name a fact; label children are cached by whoever counts often."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# From a fast local commit to a delivery after a pause.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

uplinks = Counter("knutpunkt_uplinks", "Uplinks taken in, by source and what became of them", ["source", "outcome"])
uplink_problems = Counter(
    "knutpunkt_uplink_problems", "Uplinks quarantined or rejected, by source and reason", ["source", "reason"]
)
measurements = Counter("knutpunkt_measurements", "Measurements, by what became of them", ["outcome"])
implausible = Counter("knutpunkt_implausible", "Values that failed a check of plausibility, by check", ["check"])
commands = Counter("knutpunkt_commands", "Commands applied by the writer, by outcome", ["outcome"])
device_commands = Counter("knutpunkt_device_commands", "Commands to sensors, by what became of them", ["outcome"])
commit_seconds = Histogram("knutpunkt_commit_seconds", "Time of one durable commit, seconds", buckets=SECONDS)
commit_commands = Histogram(
    "knutpunkt_commit_commands", "Commands in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
commit_conflicts = Counter("knutpunkt_commit_conflicts", "Commits tried again because another process was first")
queue_depth = Gauge("knutpunkt_queue_depth", "Entries waiting, by queue", ["queue"])
refused = Counter("knutpunkt_refused", "Requests and messages not admitted because a queue was full", ["queue"])
notifications = Counter("knutpunkt_notifications", "Notification attempts, by outcome", ["outcome"])
notification_seconds = Histogram(
    "knutpunkt_notification_lag_seconds", "From the commit of a change to its delivery, seconds", buckets=SECONDS
)
backlog = Gauge("knutpunkt_delivery_backlog", "Notifications owed, by tenant", ["tenant"])
backlog_lag = Gauge("knutpunkt_delivery_lag_seconds", "Age of the oldest notification owed, by tenant", ["tenant"])
dead_letters = Gauge("knutpunkt_delivery_dead_letters", "Notifications given up on and kept, by tenant", ["tenant"])
paused = Gauge("knutpunkt_delivery_paused", "Subscriptions that an operator paused, by tenant", ["tenant"])
replays = Gauge("knutpunkt_delivery_replays", "Replays under way, by tenant", ["tenant"])
streams = Gauge("knutpunkt_streams", "Live streams that are open")
stream_events = Counter("knutpunkt_stream_events", "Events sent on live streams")
http_requests = Counter("knutpunkt_http_requests", "HTTP requests, by route and status", ["method", "route", "status"])
http_seconds = Histogram(
    "knutpunkt_http_seconds", "Time to answer an HTTP request, seconds", ["route"], buckets=SECONDS
)
connected = Gauge("knutpunkt_connected", "1 while the connection stands, by adapter and name", ["adapter", "name"])
alarms = Gauge("knutpunkt_alarms", "Alarms that are not closed, by severity and kind", ["severity", "kind"])
retention_deleted = Counter(
    "knutpunkt_retention_deleted", "Personal data deleted as it was older than it may be kept, by what it was", ["what"]
)
silence_scan_seconds = Histogram(
    "knutpunkt_silence_scan_seconds", "Time of one look for silent sensors, seconds", buckets=SECONDS
)
subscriptions = Gauge("knutpunkt_subscriptions", "Subscriptions in memory, by tenant", ["tenant"])
in_step = Gauge("knutpunkt_in_step", "1 while this process hears of what others change, and so admits writes")
outbound_requests = Gauge(
    "knutpunkt_outbound_requests", "Requests under way, by whether the endpoint answered the last one", ["endpoint"]
)
outbound_waiting = Gauge("knutpunkt_outbound_waiting", "Requests that wait for a free connection")
outbound_resting = Gauge(
    "knutpunkt_outbound_resting",
    "Hosts that cannot be connected to and endpoints that are silent, left alone",
    ["what"],
)
coap_held = Gauge(
    "knutpunkt_coap_held", "What the CoAP server holds in memory, count, by what; each has a limit", ["what"]
)
