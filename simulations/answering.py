"""One message through a ClientApp, the way Flower would: an exception becomes an error reply."""

from __future__ import annotations

import importlib

from flwr.app import Error, Message
from flwr.clientapp import ClientApp

from echofm_core.runtime.errors import EngineError
from simulations.flower_private import (
    CLIENT_APP_CRASHED,
    CLIENT_APP_RAISED,
    NodeConfig,
    fresh_context,
)


def load_client_app(where: str) -> ClientApp:
    """Import a ClientApp.

    Args:
        where: ``package.module:name``, as in an app's ``pyproject.toml``.

    Raises:
        EngineError: There is none.
    """
    module, _, name = where.partition(":")
    try:
        app = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise EngineError(f"client app {where} cannot be loaded ({error}).") from error
    if not isinstance(app, ClientApp):
        raise EngineError(f"client app {where} is a {type(app).__name__}, expected a ClientApp.")
    return app


def answer(app: ClientApp, message: Message, node_config: NodeConfig) -> Message:
    """The site's reply; where the app raises, an error that names the exception's class only."""
    try:
        return app(message, fresh_context(message.metadata.dst_node_id, node_config))
    except Exception as error:
        return Message(Error(CLIENT_APP_RAISED, type(error).__name__), reply_to=message)


def crashed(message: Message, site: str, how: str) -> Message:
    """The reply in the name of a site whose worker died."""
    return Message(
        Error(CLIENT_APP_CRASHED, f"the worker process of site {site} {how}."), reply_to=message
    )
