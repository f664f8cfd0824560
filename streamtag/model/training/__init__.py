"""Making bundles from labelled data. Needs the extra ``train``."""
