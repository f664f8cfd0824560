"""Asking Kafka who decides."""

import pytest

from streamtag.control.group import GroupReader
from streamtag.errors import SettingsError, UnavailableError
from streamtag.events.topic_admin import TopicAdmin
from streamtag.settings import KafkaSettings

UNKNOWN = KafkaSettings.model_validate({"client": {"no.such.option": "1"}})


def test_options_that_the_client_refuses_make_the_answer_unknown_and_end_no_change() -> None:
    """Whether a change is live is asked after it was committed."""
    reader = GroupReader(UNKNOWN, "streamtag")
    with pytest.raises(UnavailableError, match=r"kafka\.client: No such configuration property"):
        reader.members(0.1)


def test_whoever_manages_topics_is_told_which_setting_is_wrong() -> None:
    with pytest.raises(SettingsError, match=r"kafka\.client: No such configuration property"):
        TopicAdmin(UNKNOWN)
