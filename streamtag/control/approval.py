"""What needs a second person, and what lets a change through all the same."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.store import NO_STEP, Current, RequestStep
from streamtag.domain.taxonomy import Taxonomy
from streamtag.domain.thresholds import ThresholdSet, diff, too_large
from streamtag.errors import RefusedError
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.settings import Settings

__all__ = ["ApprovalError", "ApprovalPolicy", "Permit", "Ungoverned", "policy_of"]

Rule = Literal["none", "critical", "large", "all"]


def _no_taxonomy() -> None:
    return None


class ApprovalError(RefusedError):
    """A change that needs a second person, and has none. Says why, and how to ask for one."""


@dataclass(frozen=True)
class ApprovalPolicy:
    """Which changes one person cannot make alone.

    Attributes:
        rule: see the setting ``changes.approval``.
        taxonomy: reads what says what is critical; where there is none, the bundles do. Read only where it is asked:
            one that cannot be read keeps nobody from going back.
        max_step: the largest step of one cut-off that one person may make where the policy is strict; 1: any.
    """

    rule: Rule = "critical"
    taxonomy: Callable[[], Taxonomy | None] = _no_taxonomy
    max_step: float = 1.0

    @property
    def strict(self) -> bool:
        """Whether steps that the guard rail stops need a second person, and no ``force`` passes them."""
        return self.rule in ("large", "all")

    def critical(self, labels: Collection[str], *by_bundle: Collection[str]) -> list[str]:
        """Those of ``labels`` that are critical: by the taxonomy, or, where there is none, by a bundle.

        Raises:
            RefusedError: the taxonomy cannot be read: nobody knows what is critical.
        """
        taxonomy = self.taxonomy()
        if taxonomy is not None:
            return sorted(filter(taxonomy.critical, labels))
        return sorted(set(labels).intersection(*[set().union(*by_bundle)]))

    def reasons(
        self,
        base: Current,
        thresholds: ThresholdSet,
        *,
        bundle_changes: bool = False,
        critical: Collection[str] = (),
        max_step: float | None = None,
    ) -> list[str]:
        """Why this change needs a second person; empty when it does not.

        Args:
            base: what decides now.
            thresholds: that shall decide.
            bundle_changes: another bundle scores then, so that every label is touched.
            critical: labels that the new bundle calls critical.
            max_step: steps above count under this rule, too; None: where the policy is strict, those above its own.
        """
        if self.rule == "none":
            return []
        touched = {change.label for change in diff(base.thresholds, thresholds)}
        if bundle_changes:
            touched = {*base.thresholds.labels, *thresholds.labels}
        found = [f"{label} is critical" for label in self.critical(touched, base.release.document.critical, critical)]
        if max_step is None and self.strict:
            max_step = self.max_step
        if max_step is not None and not bundle_changes:
            found += too_large(base.thresholds, thresholds, max_step)
        if not found and self.rule == "all" and (touched or bundle_changes):
            found = ["every change does (changes.approval is all)"]
        return found

    def for_release(self, base: Current, wanted: Current) -> list[str]:
        """Why a second person is needed before ``wanted`` decides anything in the place of ``base``."""
        document = wanted.release.document
        return self.reasons(
            base,
            wanted.thresholds,
            bundle_changes=document.bundle != base.release.document.bundle,
            critical=document.critical,
        )

    def for_experiment(self, base: Current, request: Request, candidate: Current | NewCandidate) -> list[str]:
        """The same of an experiment that starts; nobody is needed where its candidate only looks on."""
        if not request.decides:
            return []
        if isinstance(candidate, Current):
            return self.for_release(base, candidate)
        return self.reasons(
            base,
            candidate.thresholds or base.thresholds,
            bundle_changes=candidate.bundle not in (None, base.ref.bundle),
            critical=candidate.critical,
        )


class Permit(Protocol):
    """What a change is made on."""

    def settle(self, reasons: list[str]) -> Mapping[str, str]:
        """Lets the change through, and gives what the audit entry says of that.

        Raises:
            ApprovalError: it needs a second person, for these reasons.
        """

    def step(self, made: Current | ExperimentId) -> tuple[RequestStep, Mapping[str, str]]:
        """What of a change request goes on with what is made; and what the audit says of it."""


@dataclass(frozen=True)
class Ungoverned:
    """A person's own word, without a change request.

    Attributes:
        break_glass: the person says that nobody else can be asked now; the audit says so for ever.
        exempt: what was approved already, as the policy of an experiment is when that is started.
    """

    break_glass: bool = False
    exempt: str = field(default="")

    def settle(self, reasons: list[str]) -> Mapping[str, str]:
        """As `Permit` says."""
        if not reasons or self.exempt:
            return {}
        if self.break_glass:
            return {"break_glass": "; ".join(reasons)}
        raise ApprovalError(
            "this change needs a second person",
            problems=reasons,
            hint='Open a change (`streamtag change open … --reason "…"`, POST /v1/change-requests), '
            "and somebody else approves it. "
            "Where nobody can be reached, --break-glass makes it all the same, and the audit says so.",
        )

    def step(self, made: Current | ExperimentId) -> tuple[RequestStep, Mapping[str, str]]:
        """Nothing goes on."""
        return NO_STEP, {}


def policy_of(settings: Settings) -> ApprovalPolicy:
    """What the settings ask."""
    return ApprovalPolicy(
        settings.changes.approval,
        lambda: configured_taxonomy(settings.model),
        max_step=settings.thresholds.max_step,
    )
