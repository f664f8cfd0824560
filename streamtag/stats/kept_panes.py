"""Whether panes are kept for as long as an experiment may take: its verdict is computed from the first one on."""

from streamtag.domain.experiment import ExperimentPlan
from streamtag.settings import TopicsSettings

__all__ = ["outlasts_its_panes"]

_MS_PER_HOUR = 3_600_000


def outlasts_its_panes(plan: ExperimentPlan, topics: TopicsSettings) -> list[str]:
    """What whoever starts an experiment is to be told, by what is declared of the panes topic; empty: nothing.

    Raises:
        SettingsError: the declaration cannot be read.
    """
    from streamtag.events.topics import directory, read_declaration  # noqa: PLC0415 - slow, and for a start alone

    declared = read_declaration((topics.declarations or directory()) / "panes.yaml")
    kept_ms = int(declared.config.get("retention.ms", -1))
    if kept_ms < 0 or plan.max_hours * _MS_PER_HOUR <= kept_ms:
        return []
    asked, kept = f"{plan.max_hours:g} hours", f"{kept_ms / _MS_PER_HOUR:g} (retention.ms of {topics.panes})"
    return [f"max_hours: it may take {asked}, and panes are kept for {kept}: a verdict after that is INCONCLUSIVE"]
