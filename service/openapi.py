"""The OpenAPI document: `openapi.yaml`, served as /openapi.json and rendered at /docs.

The page is plain HTML with one style sheet, `docs.css`. It loads nothing else and has no script.
"""

import html
import json
import re
import shlex
from functools import cache, partial
from itertools import starmap
from pathlib import Path
from string import Template
from typing import Any, Final

import msgspec
from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from service import __version__, health
from service.settings import Settings

Object = dict[str, Any]  # a part of the document

_FILES: Final = Path(__file__).parent
_CLIENT_CREDENTIALS: Final = "/client-credentials-flow/retrieve-tokens"
_FORM: Final = "application/x-www-form-urlencoded"

_HEADERS: Final = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
_PAGE_HEADERS: Final = {
    **_HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_HOST: Final = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?", re.ASCII)  # RFC 3986, 3.2.2
_CODE: Final = re.compile(r"`([^`]+)`")
_get: Final = partial(route, http_method=["GET", "HEAD"], sync_to_thread=False)


def handlers(settings: Settings) -> list[HTTPRouteHandler]:
    """Return the handlers of /openapi.json, /docs and its style sheet; none if DOCS is false."""
    if not settings.docs:
        return []

    @_get("/openapi.json")
    def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
        body = msgspec.json.encode(document(settings, _url(request, settings)))
        return Response(body, media_type="application/json", headers=_HEADERS)

    @_get("/docs")
    def docs(request: Request[Any, Any, Any]) -> Response[str]:
        # Relative links work under any prefix of a proxy; only a trailing slash adds a level.
        base = "../" if request.scope["raw_path"].endswith(b"/") else ""
        page = Page(document(settings, _url(request, settings)), base)
        return Response(page.render(), media_type="text/html", headers=_PAGE_HEADERS)

    @_get("/docs/style.css")
    def style() -> Response[bytes]:
        return Response((_FILES / "docs.css").read_bytes(), media_type="text/css", headers=_HEADERS)

    return [openapi_json, docs, style]


def document(settings: Settings, url: str) -> Object:
    """Return the document of a server with these settings; `url` is its public URL."""
    source = _load()
    paths = dict(source["paths"])
    if not settings.client_credentials_enabled:
        del paths[_CLIENT_CREDENTIALS]
    if (origin := "/".join(url.split("/")[:3])) != url:  # no prefix applies to the probes
        paths |= {path: {"servers": [{"url": origin}], **paths[path]} for path in health.PATHS}
    info = {**source["info"], "version": __version__}
    return {**source, "info": info, "servers": [{"url": url}], "paths": paths}


@cache
def _load() -> Object:
    source: Object = msgspec.yaml.decode((_FILES / "openapi.yaml").read_bytes())
    del source["x-errors"]
    return source


def _url(request: Request[Any, Any, Any], settings: Settings) -> str:
    """Return the server's URL as clients see it, without a trailing slash."""
    if settings.public_url:
        return settings.public_url
    host = request.headers.get("host", "")
    host = host if _HOST.fullmatch(host) else "localhost"
    return f"{request.scope['scheme']}://{host}{settings.base_path}"


class Page:
    """`document` as HTML; `base` is the relative URL of the server's root."""

    def __init__(self, document: Object, base: str) -> None:
        self._document = document
        self._base = base
        self._operations = [
            (path, method, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in {"get", "post"}
        ]
        self._errors: dict[str, set[str]] = {}  # statuses by the name of a shared response
        for _, _, operation in self._operations:
            for status, response in operation["responses"].items():
                if (name := _name(response)) and status[0] in "45":
                    self._errors.setdefault(name, set()).add(status)

    def render(self) -> str:
        """Return the page."""
        info = self._document["info"]
        # Forms are shown with their operations, AnyError has no fields.
        schemas = self._document["components"]["schemas"].items()
        shared = [pair for pair in schemas if "Form" not in pair[0] and "properties" in pair[1]]
        return Template((_FILES / "docs.html").read_text()).substitute(
            title=_text(info["title"]),
            version=_text(info["version"]),
            base=self._base,
            url=_text(self._document["servers"][0]["url"]),
            description=_paragraphs(info["description"]),
            menu="".join(map(self._menu, self._document["tags"])),
            sections="".join(map(self._section, self._document["tags"])),
            schemas="".join(starmap(self._schema, shared)),
            errors="".join(map(self._error, self._errors)),
        )

    def _tagged(self, tag: Object) -> list[tuple[str, str, Object]]:
        return [operation for operation in self._operations if tag["name"] in operation[2]["tags"]]

    def _menu(self, tag: Object) -> str:
        links = "".join(
            f"<li>{_link(operation['operationId'], operation['summary'])}</li>"
            for _, _, operation in self._tagged(tag)
        )
        return f"<li><span>{_text(tag['name'])}</span><ul>{links}</ul></li>"

    def _section(self, tag: Object) -> str:
        articles = "".join(starmap(self._article, self._tagged(tag)))
        return f"<h2>{_text(tag['name'])}</h2>{_paragraphs(tag['description'])}{articles}"

    def _article(self, path: str, method: str, operation: Object) -> str:
        item = self._document["paths"][path]
        server = item.get("servers", self._document["servers"])[0]["url"]
        command = f"curl {shlex.quote(server.rstrip('/') + path)}"
        fields = "".join(map(self._parameter, operation.get("parameters", ())))
        if body := operation.get("requestBody"):
            form = body["content"][_FORM]
            fields = self._fields(self._resolve(form["schema"])) + fields
            for name, value in form["example"].items():
                command += f" \\\n  --data-urlencode {shlex.quote(f'{name}={value}')}"
        identifier, summary = _text(operation["operationId"]), _text(operation["summary"])
        return (
            f'<article><h3 id="{identifier}">{summary}</h3>'
            f'<p class="request"><b>{_text(method.upper())}</b> <code>{_text(path)}</code></p>'
            f"{_paragraphs(operation['description'])}"
            f"{_pre(command)}{f'<h4>Request</h4><dl>{fields}</dl>' if fields else ''}"
            f"<h4>Response</h4>{self._responses(operation)}</article>"
        )

    def _parameter(self, reference: Object) -> str:
        parameter = self._resolve(reference)
        field = {**parameter["schema"], "description": parameter["description"]}
        return _field(parameter["name"], field, f"in the {parameter['in']}")

    def _fields(self, schema: Object) -> str:
        required = schema.get("required", ())
        return "".join(
            _field(name, field, "required" if name in required else "optional")
            for name, field in schema["properties"].items()
        )

    def _responses(self, operation: Object) -> str:
        parts, errors = [], []
        for status, reference in operation["responses"].items():
            if _name(reference) in self._errors:
                errors.append(_link(_name(reference), status))
                continue
            response = self._resolve(reference)
            content: Object = next(iter(response.get("content", {}).values()), {})
            schema = _name(content.get("schema", {}))
            fields = f" Fields: {_link(schema, schema)}." if schema else ""
            parts.append(f"<p><b>{_text(status)}</b> {_text(response['description'])}{fields}</p>")
            parts += [_pre(content["example"])] if content else []
        links = f'<p class="errors">Errors: {" ".join(errors)}</p>' if errors else ""
        return "".join(parts) + links

    def _schema(self, name: str, schema: Object) -> str:
        heading = f'<h3 id="{_text(name)}">{_text(name)}</h3>{_paragraphs(schema["description"])}'
        return f"{heading}<dl>{self._fields(schema)}</dl>"

    def _error(self, name: str) -> str:
        response = self._document["components"]["responses"][name]
        examples = response["content"]["application/json"]["examples"].values()
        bodies = "".join(
            f"<li>{_text(example.get('summary', ''))} <code>{_json(example['value'])}</code></li>"
            for example in examples
        )
        return (
            f'<tr id="{_text(name)}"><th>{_text(", ".join(sorted(self._errors[name])))}</th>'
            f"<td>{_text(response['description'])}</td><td><ul>{bodies}</ul></td></tr>"
        )

    def _resolve(self, reference: Object) -> Object:
        if "$ref" not in reference:
            return reference
        *_, kind, name = reference["$ref"].split("/")
        part: Object = self._document["components"][kind][name]
        return part


def _name(reference: Object) -> str:
    """Return the last part of a reference, or an empty string if it is none."""
    return str(reference.get("$ref", "")).rpartition("/")[2]


def _link(target: str, text: str) -> str:
    return f'<a href="#{_text(target)}">{_text(text)}</a>'


def _field(name: str, schema: Object, remark: str) -> str:
    types = schema.get("type", "any type")
    kind = types if isinstance(types, str) else " or ".join(types)
    kind += f", {schema['format']}" if "format" in schema else ""
    kind += ", not empty" if schema.get("minLength") else ""
    return (
        f"<div><dt><code>{_text(name)}</code> <i>{_text(kind)}</i> "
        f'<b class="{remark.partition(" ")[0]}">{_text(remark)}</b></dt>'
        f"<dd>{_text(schema['description'])}</dd></div>"
    )


def _pre(value: object) -> str:
    text = html.escape(value) if isinstance(value, str) else _json(value, indent=2)
    return f'<pre tabindex="0"><code>{text}</code></pre>'


def _json(value: object, indent: int | None = None) -> str:
    return html.escape(json.dumps(value, ensure_ascii=False, indent=indent), quote=False)


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(paragraph)}</p>" for paragraph in text.strip().split("\n\n"))


def _text(text: str) -> str:
    """Escape `text` and mark up `code` in it."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text.strip()))
