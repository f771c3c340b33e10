"""For those who keep it running: path, record of exchanges, shadow, processes."""

from panels import Panel, Row, quantile, rate

ROWS = (
    Row(
        "Now",
        (
            Panel(
                "Failed requests, 5 minutes",
                "Teacher unreachable, too slow or cut off, or refused by the gateway. The objective is 0.1 %.",
                "percentunit",
                (("stillgate:failed_requests:ratio_rate5m", "failed"),),
                "stat",
                6,
            ),
            Panel(
                "Parts that do not work now",
                "For any part but the teacher, callers are served all the same.",
                "none",
                (("sum(stillgate_degraded)", "parts"),),
                "stat",
                6,
            ),
            Panel(
                "Exchanges lost, 1 hour",
                "Answered, and never in the record.",
                "none",
                (("sum(increase(stillgate_exchanges_dropped_total[1h]))", "lost"),),
                "stat",
                6,
            ),
            Panel(
                "Shadow lost, 15 minutes",
                "Of the exchanges that students should have answered.",
                "percentunit",
                (("stillgate:shadow_lost:ratio_rate15m", "lost"),),
                "stat",
                6,
            ),
        ),
    ),
    Row(
        "Path",
        (
            Panel(
                "Requests by outcome",
                "How requests ended, seen from the caller.",
                "reqps",
                ((rate("stillgate_outcomes_total", "outcome"), "{{outcome}}"),),
            ),
            Panel(
                "Requests by who served",
                "Whose answer the caller received.",
                "reqps",
                ((rate("stillgate_served_total", "served_by"), "{{served_by}}"),),
            ),
            Panel(
                "Requests in flight",
                "Share of the limit; at 100 % the next one is refused with 503.",
                "percentunit",
                (("stillgate_inflight_requests / stillgate_inflight_requests_limit", "{{instance}}"),),
            ),
            Panel(
                "Duration",
                "From the head of a request to the end of its response.",
                "s",
                tuple(
                    (quantile(q, "stillgate_request_duration_seconds"), f"p{q * 100:g}")
                    for q in (0.5, 0.9, 0.99)
                ),
            ),
            Panel(
                "Overhead",
                "What the gateway itself adds: without waiting for caller, teacher and student.",
                "s",
                tuple((quantile(q, "stillgate_overhead_seconds"), f"p{q * 100:g}") for q in (0.5, 0.99)),
            ),
            Panel(
                "Parts that do not work",
                "1 while the part does not do its work.",
                "none",
                (("max by (part) (stillgate_degraded)", "{{part}}"),),
                most=1,
            ),
            Panel(
                "Requests to the teacher",
                "By how they ended.",
                "reqps",
                (
                    (
                        rate("stillgate_upstream_requests_total", "task, outcome") + " > 0",
                        "{{task}} {{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Connections to the teacher",
                "Busy and idle ones.",
                "none",
                (("sum by (task, state) (stillgate_upstream_connections)", "{{task}} {{state}}"),),
            ),
            Panel(
                "Refused before they were requests",
                "Invalid or too slow heads, too many connections: by reason; empty while there was none.",
                "reqps",
                ((rate("stillgate_connections_refused_total", "reason"), "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "Record of exchanges",
        (
            Panel(
                "Started and recorded",
                "requests = recorded + dropped + pending, always.",
                "reqps",
                (
                    ("sum(rate(stillgate_requests_total[$__rate_interval]))", "started"),
                    ("sum(rate(stillgate_exchanges_recorded_total[$__rate_interval]))", "recorded"),
                ),
            ),
            Panel(
                "Lost exchanges",
                "By reason, in the last hour before each moment.",
                "none",
                (("sum by (reason) (increase(stillgate_exchanges_dropped_total[1h]))", "{{reason}}"),),
            ),
            Panel(
                "Waiting to be written",
                "Share of the queue's limit; a full queue loses exchanges.",
                "percentunit",
                (("stillgate_record_queue_bytes / stillgate_record_queue_limit_bytes", "{{instance}}"),),
            ),
            Panel(
                "Pending exchanges",
                "In flight or waiting to be written.",
                "none",
                (("sum by (instance) (stillgate_exchanges_pending)", "{{instance}}"),),
            ),
            Panel(
                "Free on the data directory's disk",
                "Of the whole file system.",
                "percentunit",
                (
                    (
                        "stillgate_data_directory_free_bytes / stillgate_data_directory_size_bytes",
                        "{{instance}}",
                    ),
                ),
                most=1,
            ),
            Panel(
                "Exchanges that can never become a pair",
                "By reason; not_asked: the student served, and no audit was drawn.",
                "reqps",
                ((rate("stillgate_unpaired_total", "reason") + " > 0", "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "Shadow and students",
        (
            Panel(
                "Shadow answers and losses",
                "not_sampled is what task.shadow.share leaves out.",
                "reqps",
                (
                    ("sum(rate(stillgate_shadow_answers_total[$__rate_interval]))", "answered"),
                    (rate("stillgate_shadow_dropped_total", "reason") + " > 0", "{{reason}}"),
                ),
            ),
            Panel(
                "Waiting for the student",
                "Inputs in the shadow's queue.",
                "none",
                (("stillgate_shadow_queue_inputs", "{{instance}}"),),
            ),
            Panel(
                "Fallbacks to the teacher",
                "Requests of the student's arm that the teacher answered, by reason.",
                "reqps",
                ((rate("stillgate_fallback_total", "reason") + " > 0", "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "Processes",
        (
            Panel(
                "Age of the last sign of life",
                "The oldest of each minute. Processes beat every 5 s; a gateway silent for 15 s hangs or died.",
                "s",
                (
                    ("max_over_time(stillgate_gateway_beat_age_seconds[1m])", "gateway {{gateway}}"),
                    ("max_over_time(stillgate_process_beat_age_seconds[1m])", "{{process}}"),
                    ("max_over_time(stillgate_monitor_tick_age_seconds[1m])", "monitor's tick"),
                ),
            ),
            Panel(
                "Processor",
                "Cores in use.",
                "none",
                (
                    (
                        'rate(process_cpu_seconds_total{job=~"stillgate-.*"}[$__rate_interval])',
                        "{{job}} {{instance}}",
                    ),
                ),
            ),
            Panel(
                "Resident memory",
                "Of gateways and monitor.",
                "bytes",
                (('process_resident_memory_bytes{job=~"stillgate-.*"}', "{{job}} {{instance}}"),),
            ),
            Panel(
                "Pairs folded",
                "What the monitor takes in; unusable ones by reason.",
                "cps",
                (
                    ("sum(rate(stillgate_monitor_pairs_total[$__rate_interval]))", "pairs"),
                    (rate("stillgate_monitor_unusable_total", "reason") + " > 0", "{{reason}}"),
                ),
            ),
            Panel(
                "Webhooks",
                "Events that wait, and those of the last hour that were dropped.",
                "none",
                (
                    ("stillgate_webhook_waiting", "{{webhook}} waiting"),
                    (
                        "sum by (webhook, reason) (increase(stillgate_webhook_dropped_total[1h])) > 0",
                        "{{webhook}} {{reason}}",
                    ),
                ),
            ),
            Panel(
                "Age of the obeyed configuration",
                "Since it was read.",
                "s",
                (("time() - stillgate_configuration_loaded_timestamp_seconds", "{{instance}}"),),
            ),
        ),
    ),
)
