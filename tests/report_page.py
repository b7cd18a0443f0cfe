"""What the tests of the report share: a page as a reader finds it."""

import re
from html.parser import HTMLParser

from musicrec.report import write_report
from musicrec.store.store import Store


class Page(HTMLParser):
    """Text, tables and addresses of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.words, self.rows, self.addresses, self.tags = html, [], [], [], set()
        self.cell = False
        self.feed(html)
        self.text = re.sub(r"[ \n]+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.cell = self.cell or tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.words.append(data)
        if self.cell:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()


def page_of(store: Store) -> Page:
    return Page(write_report(store).read_text(encoding="utf-8"))
