"""The bundle `security`: words of rendered events, all labels at once, rule files held apart."""
