"""How saved adversarial pictures bear out a submission: looked at without any attack, and tried by a short one."""

from assay.tasks.adversarial.spec import AdversarialSpec
from assay.tasks.base import Inspected, SentRecords, SpotFinding, Witness


class SavedPictures(Witness[AdversarialSpec]):
    """Adversarial pictures bear a submission out, and a short attack of our own tries those that are said to stand."""

    def saved(self, spec: AdversarialSpec) -> bool:
        """See :class:`assay.tasks.base.Witness`."""
        return spec.save_adversarial

    def look(self, sent: SentRecords[AdversarialSpec]) -> Inspected:
        """See :func:`assay.tasks.adversarial.witness.look`; no attack is imported."""
        from assay.tasks.adversarial.witness import look

        return look(sent)

    def spot_check(self, sent: SentRecords[AdversarialSpec], rank_by: str, seed: str) -> SpotFinding | None:
        """See :func:`assay.tasks.adversarial.spot.spot_check`."""
        from assay.tasks.adversarial.spot import spot_check

        return spot_check(sent, rank_by, seed)
