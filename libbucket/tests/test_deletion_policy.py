"""Parsing of deletion rules, their precedence, and times of purges; invalid values protect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libbucket import InvalidParameters
from libbucket._reconcile.model.deletion_policy import (
    DeletionPolicy,
    DeletionRules,
    parse_rules,
    plan_deletion,
    seconds_to_purge,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_by_default_a_class_purges_at_once() -> None:
    assert parse_rules({"region": "north"}) == DeletionRules()


def test_every_parameter_is_read() -> None:
    found = parse_rules({"deletionPolicy": "IfEmpty", "purgeByAnnotation": "no", "purgeAfter": "72h"})

    wanted = DeletionRules(policy=DeletionPolicy.IF_EMPTY, purge_by_annotation=False, purge_after=timedelta(hours=72))
    assert found == wanted


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(InvalidParameters) as refused:
        parse_rules({"deletionPolicy": "never", "purgeByAnnotation": "perhaps", "purgeAfter": "3 days"})

    assert [mistake.split()[0] for mistake in refused.value.mistakes] == [
        "deletionPolicy",
        "purgeByAnnotation",
        "purgeAfter",
    ]


@pytest.mark.parametrize(("text", "hours"), [("72h", 72), ("90m", 1.5), ("1h30m", 1.5), ("3d", 72), ("0s", 0), ("", 0)])
def test_a_grace_period_is_a_duration_as_kubernetes_has_them(text: str, hours: float) -> None:
    assert parse_rules({"purgeAfter": text}).purge_after == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["72", "-1h", "soon", "99999999h", "1e999h"])
def test_an_invalid_grace_period_is_a_mistake(text: str) -> None:
    with pytest.raises(InvalidParameters, match="purgeAfter"):
        parse_rules({"purgeAfter": text})


def test_the_message_about_a_protected_bucket_names_what_allows_its_purge() -> None:
    by_claim = plan_deletion({"deletionPolicy": "IfEmpty"}).remedy
    by_admin = plan_deletion({"deletionPolicy": "IfEmpty", "purgeByAnnotation": "false"}, on_claim="Purge").remedy
    misspelt = plan_deletion({}, on_claim="ifempty").remedy

    assert "annotate the claim with objectbucket.io/deletion-policy=Purge" in by_claim
    assert "annotate the ObjectBucket, as an administrator" in by_admin
    assert "'ifempty' is neither Purge nor IfEmpty" in misspelt


@pytest.mark.parametrize(
    ("annotation", "seconds"),
    [
        ("2026-01-01T13:00:00+00:00", 3600),
        ("2026-01-01T13:00:00Z", 3600),
        ("2026-01-01T13:00:00", 3600),
        ("2026-01-01T14:00:00+02:00", 0),
        ("2026-01-01", -43200),
        ("", None),
        ("never", None),
    ],
)
def test_the_time_of_a_purge_is_read_as_people_write_it_and_never_guessed(
    annotation: str, seconds: float | None
) -> None:
    assert seconds_to_purge(annotation, NOW) == seconds
