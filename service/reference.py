"""The OpenAPI document as a page for people: HTML and a style sheet, without any script.

All of it is in the document: this knows nothing else of the service.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

Data = dict[str, Any]
Child = ET.Element | str

STYLE_PATH: Final = "/docs/style.css"
TRY_PATH: Final = "/try"
STYLE: Final = Path(__file__).with_name("style.css")

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_SHARED: Final = ("TokenAnswer", "Error", "SpotifyError")
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")


def page(document: Data) -> bytes:
    """Return the page of `document`, which `openapi` made."""
    html = _element("html", _head(document["info"]), _body(document), lang="en")
    return b"<!DOCTYPE html>\n" + ET.tostring(html, encoding="unicode", method="html").encode()


def _head(info: Data) -> ET.Element:
    return _element(
        "head",
        _element("meta", charset="utf-8"),
        _element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _element("title", f"{info['title']} {info['version']}: HTTP interface"),
        _element("link", rel="stylesheet", href=STYLE_PATH),
    )


def _body(document: Data) -> ET.Element:
    info = document["info"]
    title = _element("h1", info["title"], " ", _element("small", info["version"]))
    contents = [_entry(path, methods) for path, methods in document["paths"].items()]
    sections = [_section(document, tag) for tag in document["tags"]]
    links: list[Child] = ["For programs: ", _link("/openapi.json", "openapi.json")]
    if TRY_PATH in document["paths"]:
        links += [" · In a browser: ", _link(TRY_PATH, "try it")]
    return _element(
        "body",
        _element("a", "Skip to the requests", href="#requests", id="skip"),
        _element("header", title, *_paragraphs(info["description"])),
        _element("nav", _element("h2", "Requests", id="contents"), _element("ul", *contents)),
        _element("main", *sections, _bodies(document), id="requests"),
        _element("footer", *links),
    )


def _link(href: str, text: str) -> ET.Element:
    return _element("a", text, href=href)


def _entry(path: str, methods: Data) -> ET.Element:
    operation = _shown(methods)
    link = _element("a", _request(path, methods), href=f"#{operation['operationId']}")
    return _element("li", link, f" {operation['summary']}")


def _section(document: Data, tag: Data) -> ET.Element:
    articles = [
        _article(document, path, methods)
        for path, methods in document["paths"].items()
        if tag["name"] in _shown(methods)["tags"]
    ]
    heading = _element("h2", tag["name"])
    return _element("section", heading, *_paragraphs(tag["description"]), *articles)


def _bodies(document: Data) -> ET.Element:
    """Return what is in the answers that many requests share."""
    schemas = document["components"]["schemas"]
    shown = [
        part for name in _SHARED for part in _fields(document, _element("h3", name), schemas[name])
    ]
    return _element("section", _element("h2", "Bodies of answers"), *shown)


def _article(document: Data, path: str, methods: Data) -> ET.Element:
    operation = _shown(methods)
    heading = _element("h3", _request(path, methods), id=operation["operationId"])
    parts = [heading, _element("p", _element("strong", operation["summary"]))]
    parts += _paragraphs(operation.get("description", ""))
    if body := operation.get("requestBody"):
        parts += _fields(document, _element("h4", "Fields"), body["content"][_JSON]["schema"])
        parts += _call(path, body["content"])
    parts += _headers(document, operation["parameters"])
    answers = [_answer(document, *answer) for answer in operation["responses"].items()]
    return _element("article", *parts, _element("h4", "Answers"), *answers)


def _fields(document: Data, heading: ET.Element, schema: Data) -> Iterator[ET.Element]:
    schema = _resolved(document, schema)
    yield heading
    yield _element(
        "dl",
        *(
            _term(name, "required" if name in schema["required"] else "", told)
            for name, told in schema["properties"].items()
        ),
    )


def _headers(document: Data, parameters: list[Data]) -> Iterator[ET.Element]:
    headers = [_resolved(document, parameter) for parameter in parameters]
    yield _element("h4", "Headers")
    yield _element("dl", *(_term(told["name"], "", told) for told in headers))


def _term(name: str, remark: str, told: Data) -> ET.Element:
    term = _element("dt", _element("code", name), " ", _element("em", remark))
    return _element("div", term, _element("dd", *_inline(told["description"])))


def _call(path: str, content: Data) -> Iterator[ET.Element]:
    """Yield the request as curl makes it, in the media type that apps send."""
    body = urlencode(content[_FORM]["example"])
    data = f" \\\n  --data '{body}'" if body else f" \\\n  --header 'Content-Type: {_FORM}'"
    yield _element("h4", "Example")
    yield _element(
        "pre", _element("code", f"curl --request POST https://swap.example.com{path}{data}")
    )


def _answer(document: Data, status: str, answer: Data) -> ET.Element:
    answer = _resolved(document, answer)
    told = [_element("code", status), " ", *_inline(answer["description"])]
    bodies = [body for content in answer.get("content", {}).values() for body in _examples(content)]
    if not bodies:
        return _element("p", *told, **{"class": "answer"})
    return _element("details", _element("summary", *told), *bodies)


def _examples(content: Data) -> Iterator[ET.Element]:
    if "example" in content:
        yield _example(content["example"])
    for example in content.get("examples", {}).values():
        yield _element("p", *_inline(example["summary"]))
        yield _example(example["value"])


def _example(value: object) -> ET.Element:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return _element("pre", _element("code", text))


def _request(path: str, methods: Data) -> ET.Element:
    return _element("code", f"{', '.join(methods).upper()} {path}")


def _shown(methods: Data) -> Data:
    """Return the operation that stands for a path: HEAD is as GET."""
    operation: Data = next(iter(methods.values()))
    return operation


def _resolved(document: Data, thing: Data) -> Data:
    if "$ref" not in thing:
        return thing
    for name in thing["$ref"].removeprefix("#/").split("/"):
        document = document[name]
    return document


def _paragraphs(text: str) -> Iterator[ET.Element]:
    for paragraph in filter(None, text.split("\n\n")):
        yield _element("p", *_inline(paragraph))


def _inline(text: str) -> Iterator[Child]:
    """Yield `code` and **bold**, which is all of CommonMark that the document uses, and texts."""
    end = 0
    for found in _INLINE.finditer(text):
        code, bold = found.groups()
        yield text[end : found.start()]
        yield _element("code", code) if code else _element("strong", bold)
        end = found.end()
    yield text[end:]


def _element(tag: str, *children: Child, **attributes: str) -> ET.Element:
    element = ET.Element(tag, attributes)
    for child in children:
        if isinstance(child, ET.Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + child
        else:
            element.text = (element.text or "") + child
    return element
