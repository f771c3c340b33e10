"""For those who answer for a student: savings beside agreement, slices, labels, calibration, certificate."""

from panels import Panel, Row, rate

OF_TASK = 'task=~"$task"'
OF_SLICE = 'task=~"$task", artifact=~"$artifact", slice=~"$slice"'
OF_STUDENT = 'task=~"$task", artifact=~"$artifact"'
OF_TEACHER = 'task=~"$task", slice="all"'
OF_ALL = 'task=~"$task", artifact=~"$artifact", slice="all"'

ROWS = (
    Row(
        "Now",
        (
            Panel(
                "Stages",
                "Where each student stands.",
                "none",
                (
                    (
                        f"max by (task, artifact, stage) (stillgate_stage_info{{{OF_TASK}}})",
                        "{{task}} {{artifact}} {{stage}}",
                    ),
                ),
                "table",
                8,
                shown=(("task", "task"), ("artifact", "student"), ("stage", "stage")),
            ),
            Panel(
                "Served by the student",
                "Share of the task's requests, 5 minutes.",
                "percentunit",
                ((f"task:stillgate_served_by_student:ratio_rate5m{{{OF_TASK}}}", "{{task}}"),),
                "stat",
                4,
            ),
            Panel(
                "Slices with an alarm",
                "About a student that still answers.",
                "none",
                ((f"sum by (artifact) (stillgate_standing_alarms{{{OF_TASK}}})", "{{artifact}}"),),
                "stat",
                4,
            ),
            Panel(
                "Certified slices",
                "The student may serve these.",
                "none",
                (
                    (
                        f'sum by (artifact) (stillgate_certified_slices{{{OF_TASK}, state="holds"}})',
                        "{{artifact}}",
                    ),
                ),
                "stat",
                4,
            ),
            Panel(
                "Last job failed",
                "Whether no student came of the newest job that ended.",
                "none",
                ((f"stillgate_last_job_failed{{{OF_TASK}}}", "{{task}}"),),
                "stat",
                4,
                words=(("0", "no"), ("1", "yes")),
            ),
        ),
    ),
    Row(
        "Savings beside what they cost",
        (
            Panel(
                "Requests by who served",
                "What the student serves, the teacher need not.",
                "reqps",
                ((rate("stillgate_served_total", "served_by", OF_TASK), "{{served_by}}"),),
            ),
            Panel(
                "Served share, and agreement with the teacher",
                "Savings are worth the agreement that they come with; at least and at most: 95 %, at every look.",
                "percentunit",
                (
                    (
                        f"task:stillgate_served_by_student:ratio_rate5m{{{OF_TASK}}}",
                        "served by the student {{task}}",
                    ),
                    (
                        f"stillgate_slice_fidelity_ratio{{{OF_ALL}}}",
                        "agreement {{artifact}}",
                    ),
                    (
                        f"stillgate_slice_fidelity_low_ratio{{{OF_ALL}}}",
                        "at least {{artifact}}",
                    ),
                    (
                        f"stillgate_slice_fidelity_high_ratio{{{OF_ALL}}}",
                        "at most {{artifact}}",
                    ),
                ),
                most=1,
            ),
            Panel(
                "Why the teacher answered instead",
                "Requests of the student's arm, and audits of what it served.",
                "reqps",
                (
                    (rate("stillgate_fallback_total", "reason") + " > 0", "{{reason}}"),
                    ("sum(rate(stillgate_audits_total[$__rate_interval]))", "audit"),
                ),
            ),
        ),
    ),
    Row(
        "Slices, last hour",
        (
            Panel(
                "Agreement with the teacher",
                "Fidelity of each slice.",
                "percentunit",
                ((f"stillgate_slice_fidelity_ratio{{{OF_SLICE}}}", "{{slice}} {{artifact}}"),),
                columns=12,
                least=None,
                most=1,
            ),
            Panel(
                "Distance from the bar",
                "Upper bound of a slice's agreement less its bar: below zero it is too bad, not by chance.",
                "percentunit",
                (
                    (
                        (
                            f"stillgate_slice_fidelity_high_ratio{{{OF_SLICE}}}"
                            " - on (task, slice) group_left () stillgate_slice_bar_ratio"
                        ),
                        "{{slice}} {{artifact}}",
                    ),
                ),
                columns=12,
                least=None,
            ),
            Panel(
                "Pairs",
                "How much each figure rests on.",
                "none",
                ((f"stillgate_slice_pairs{{{OF_SLICE}}}", "{{slice}} {{artifact}}"),),
            ),
            Panel(
                "Divergence",
                "Mean Jensen-Shannon divergence from the teacher, in bits.",
                "none",
                ((f"stillgate_slice_divergence_bits{{{OF_SLICE}}}", "{{slice}} {{artifact}}"),),
            ),
            Panel(
                "Shadow coverage",
                "Share of the exchanges that a student ought to answer and did, since the gateway's start.",
                "percentunit",
                (
                    (
                        (
                            f"sum by (artifact, slice) (stillgate_shadow_answered_total{{{OF_SLICE}}})"
                            f" / sum by (artifact, slice) (stillgate_shadow_eligible_total{{{OF_SLICE}}})"
                        ),
                        "{{slice}} {{artifact}}",
                    ),
                ),
                most=1,
            ),
        ),
    ),
    Row(
        "Labels",
        (
            Panel(
                "Accuracy",
                "Agreement with true labels, of student and teacher over the same pairs.",
                "percentunit",
                (
                    (
                        f"stillgate_slice_accuracy_ratio{{{OF_ALL}}}",
                        "student {{artifact}}",
                    ),
                    (
                        f"stillgate_slice_teacher_accuracy_ratio{{{OF_ALL}}}",
                        "teacher",
                    ),
                ),
                columns=12,
                most=1,
            ),
            Panel(
                "Labelled pairs",
                "How much the accuracy rests on.",
                "none",
                ((f"stillgate_slice_labelled_pairs{{{OF_SLICE}}}", "{{slice}} {{artifact}}"),),
                columns=12,
            ),
        ),
    ),
    Row(
        "Calibration, trigger and certificate",
        (
            Panel(
                "Calibration error",
                "Expected difference between confidence and being right; one that chance alone makes says nothing.",
                "percentunit",
                (
                    (
                        f"stillgate_slice_calibration_error_ratio{{{OF_ALL}}}",
                        "teacher {{artifact}}",
                    ),
                    (
                        f"stillgate_slice_label_calibration_error_ratio{{{OF_ALL}}}",
                        "labels {{artifact}}",
                    ),
                    (
                        f"stillgate_slice_calibration_noise_ratio{{{OF_ALL}}}",
                        "by chance {{artifact}}",
                    ),
                ),
            ),
            Panel(
                "Evidence of drift",
                "Log-wealth of each slice's detector; at the threshold it alarms.",
                "none",
                (
                    (f"stillgate_detector_log_wealth{{{OF_SLICE}}}", "{{slice}} {{harm}} {{artifact}}"),
                    (f"stillgate_detector_log_threshold{{{OF_TASK}}}", "threshold {{task}}"),
                ),
                least=None,
            ),
            Panel(
                "Confidence from which it may serve",
                "The certificate's threshold of each slice; a slice that is not here stays with the teacher.",
                "percentunit",
                (
                    (
                        f"max by (artifact, slice) (stillgate_certificate_threshold_ratio{{{OF_SLICE}}})",
                        "{{slice}} {{artifact}}",
                    ),
                ),
                "table",
                shown=(("artifact", "student"), ("slice", "slice"), ("Value", "confidence")),
            ),
            Panel(
                "Alarms",
                "Raised since the control file was made.",
                "none",
                ((f"sum by (task, slice) (stillgate_alarms_total{{{OF_TASK}}})", "{{task}} {{slice}}"),),
            ),
            Panel(
                "Jobs that ended",
                "By how, since the control file was made.",
                "none",
                (
                    (
                        f"sum by (task, status) (stillgate_jobs_ended_total{{{OF_TASK}}})",
                        "{{task}} {{status}}",
                    ),
                ),
            ),
            Panel(
                "What waits for somebody",
                "Age of the open job, proposal and erasure; empty if there is none.",
                "s",
                (
                    (f"stillgate_open_job_age_seconds{{{OF_TASK}}}", "job {{task}}"),
                    (f"stillgate_proposal_age_seconds{{{OF_TASK}}}", "proposal {{task}}"),
                    (f"stillgate_erasure_age_seconds{{{OF_TASK}}}", "erasure {{task}}"),
                ),
            ),
        ),
    ),
    Row(
        "Input and teacher",
        (
            Panel(
                "Input beside the student's gate",
                "Stability index of the last hour, in nats, less what chance alone makes of it; 0 is no movement.",
                "none",
                (
                    (
                        (
                            f"clamp_min(stillgate_input_shift_nats{{{OF_STUDENT}}}"
                            f" - stillgate_input_shift_noise_nats{{{OF_STUDENT}}}, 0)"
                        ),
                        "{{feature}} {{artifact}}",
                    ),
                ),
            ),
            Panel(
                "The teacher against itself",
                "Share of inputs asked twice whose answers differ; at least and at most: 95 %, at every look.",
                "percentunit",
                (
                    (f"stillgate_teacher_noise_ratio{{{OF_TEACHER}}}", "differs {{task}}"),
                    (f"stillgate_teacher_noise_low_ratio{{{OF_TEACHER}}}", "at least {{task}}"),
                    (f"stillgate_teacher_noise_high_ratio{{{OF_TEACHER}}}", "at most {{task}}"),
                ),
                most=1,
            ),
            Panel(
                "Probes answered otherwise",
                "Of the last pass, against the first replies; bounds are over all passes.",
                "percentunit",
                (
                    (f"stillgate_probe_changed_ratio{{{OF_TASK}}}", "last pass {{task}}"),
                    (f"stillgate_probe_changed_low_ratio{{{OF_TASK}}}", "at least {{task}}"),
                    (f"stillgate_probe_changed_high_ratio{{{OF_TASK}}}", "at most {{task}}"),
                ),
                most=1,
            ),
            Panel(
                "Changes of the teacher",
                "That its probes have shown, by what changed.",
                "none",
                (
                    (
                        f"sum by (task, kind) (stillgate_teacher_changes_total{{{OF_TASK}}})",
                        "{{task}} {{kind}}",
                    ),
                ),
            ),
            Panel(
                "Extra calls today",
                "To the teacher, that no caller asked for, as shares of the day's ceiling; they end at 100 % together.",
                "percentunit",
                (
                    (
                        (
                            f"stillgate_extra_calls_today{{{OF_TASK}}}"
                            " / on (task) group_left () stillgate_extra_calls_limit"
                        ),
                        "{{task}} {{purpose}}",
                    ),
                ),
            ),
            Panel(
                "Temperature",
                "At which the student fits its teacher best: above 1 it is too sure, below 1 not sure enough.",
                "none",
                ((f"stillgate_slice_temperature{{{OF_ALL}}}", "{{artifact}}"),),
            ),
        ),
    ),
)
