"""`streamtag demo`: made-up events, real workers and a live view, on an embedded broker and Redis."""
