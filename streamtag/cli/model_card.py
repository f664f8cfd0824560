"""`streamtag model card`: what a bundle is, for whoever has to decide about it."""

from streamtag.cli.context import Output, OutputFormat, print_json, say, settings
from streamtag.cli.model_labelled import Bundle
from streamtag.model.bundle import read_bundle
from streamtag.model.card import card as card_of
from streamtag.model.card import facts
from streamtag.model.registry import find_bundle


def card(bundle: Bundle = None, output: Output = OutputFormat.TABLE) -> None:
    """Write the model card of a bundle: data, licences, figures, calibration, limits, what it must not be used for."""
    model = settings().settings.model
    found = read_bundle(find_bundle(bundle or model.bundle, model.directories), trusted=model.trusted_keys)
    if output is OutputFormat.JSON:
        print_json(facts(found))
        return
    say(card_of(found))
