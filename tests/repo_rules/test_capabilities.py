"""The table of what each store can do is the one that the packages' declarations make."""

from __future__ import annotations

from libbucket.testing.conformance import Ability, Capabilities

from .capabilities import PAGE, build_table, declared, page_with


def test_the_page_of_the_stores_is_made_from_what_they_declare() -> None:
    assert PAGE.read_text() == page_with(PAGE.read_text(), build_table(declared()))


def test_a_store_that_can_not_do_something_says_why() -> None:
    table = build_table({"One": Capabilities(cannot={Ability.COPY: "it has no copies"}), "Two": Capabilities()})

    assert f"| {Ability.COPY} | no (1) | yes |" in table
    assert table.endswith("1. it has no copies")
