"""An ASGI application that takes OTLP over HTTP: `app.application`; `listening` serves it."""
