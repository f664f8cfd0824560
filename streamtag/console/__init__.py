"""The console: a page for operators. Static files that use the HTTP API, and nothing else; see docs/console.md."""
