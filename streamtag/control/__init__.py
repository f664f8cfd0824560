"""Redis: releases, threshold revisions, audit, fleet; the watcher in the workers."""
