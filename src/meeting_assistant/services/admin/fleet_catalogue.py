"""The part of the dashboard's catalogue that is about a fleet."""

from __future__ import annotations

from meeting_assistant.services.admin.metric_definitions import MINUTE, Alert, Definition, GroupDefinition, P

FLEET = GroupDefinition(
    "fleet",
    "Fleet",
    (
        Definition(
            "waiting",
            "Longest wait for a worker",
            f"{P}fleet_waiting_oldest_seconds",
            "gauge",
            "s",
            "Age of the oldest live meeting without a worker. Its audio is stored.",
            only={"stream": frozenset({"live"})},
            alert=Alert(
                "LiveMeetingsWait",
                "value",
                10,
                MINUTE,
                "Add workers, or find out why the running ones accept no jobs.",
            ),
        ),
        Definition(
            "pending",
            "Oldest lease without renewal, {}",
            f"{P}fleet_pending_oldest_seconds",
            "gauge",
            "s",
            "Above FLEET__LEASE_SECONDS the worker counts as lost, and another takes the job over.",
            split_by="stream",
            alert=Alert(
                "LeasesAreNotRenewed",
                "value",
                30,
                MINUTE,
                "Check that a worker is running, has a free slot (FLEET__SLOTS) and has the same version.",
            ),
        ),
        Definition(
            "takeovers",
            "Worker takeovers",
            f"{P}fleet_takeovers_total",
            "counter",
            "",
            "Meetings that another worker continued.",
            alert=Alert(
                "WorkersChange",
                "increase",
                5,
                15 * MINUTE,
                "Workers crash, or are too slow for FLEET__LEASE_SECONDS.",
            ),
        ),
        Definition(
            "reoffered",
            "Jobs offered again",
            f"{P}fleet_reoffered_total",
            "counter",
            "",
            "Jobs that Redis had lost.",
        ),
        Definition(
            "fenced",
            "Stale results dropped",
            f"{P}fleet_fenced_total",
            "counter",
            "",
            "Results of workers that no longer held the meeting.",
        ),
        Definition(
            "refused",
            "Messages refused",
            f"{P}fleet_refused_total",
            "counter",
            "",
            "Messages and jobs that no machine with this FLEET__SECRET sent, or that came twice.",
            alert=Alert(
                "FleetRefuses",
                "increase",
                10,
                15 * MINUTE,
                "Set the same FLEET__SECRET on all machines. If it is: who else reaches Redis, or the address "
                "in FLEET__CALLBACK_URL?",
            ),
        ),
        Definition(
            "given_up",
            "Dead letters",
            f"{P}fleet_given_up_total",
            "counter",
            "",
            "Meetings of this gateway that every worker crashed on. Their pages offer a retry.",
            alert=Alert("GivenUp", "increase", 0, 15 * MINUTE, "See the logs of the workers."),
        ),
    ),
    only_where="fleet",
)
