"""Log events of any JSON shape, requests and command lines as stable, decoded text. Pure."""
