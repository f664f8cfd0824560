def card(bundle):
    return ""


def facts(bundle):
    return {}
