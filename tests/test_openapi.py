"""The document tells of every route, field, error and reason, and of nothing else."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from litestar import Litestar
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource

from service import app as service_app
from service import errors, forms, interface, openapi
from service import settings as service_settings
from service.errors import ServiceError
from tests.conftest import Start
from tests.running import environment
from tests.test_routes import ENCODERS, FLOWS, SEALER, good_form, pairs, send, well_formed

Document = dict[str, Any]
FORMS = {path: flow.form for path, flow in interface.FLOWS.items()}
ROOT = "https://swap.example/openapi.json"


@pytest.fixture(scope="module")
def document() -> Document:
    """Return the document of a service with every flow, as it is served."""
    app = create()
    return json.loads(msgspec.json.encode(openapi.document(served(app))))


def create(**changes: str) -> service_app.App:
    environ = environment("http://127.0.0.1:1/api/token", **changes)
    return service_app.create_app(service_settings.load(environ))
