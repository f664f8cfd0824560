"""The plots that are committed: small, and well-formed whatever they show."""

from xml.etree import ElementTree

from svg_plot import Axis, Line, Mark, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"
X = Axis(0, 100, [(0, "0"), (100, "100")])


def parsed(panel: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(draw([panel]))


def test_names_and_titles_are_escaped() -> None:
    line = Line([(0, 1), (100, 2)], "red", name="a < b", title="x & y")
    root = parsed(Panel("<p>", X, Axis(0, 2, [(1, "<1>")]), [line], [Mark(5, "blue", "k < l", to=9)]))
    assert "a < b" in set(root.itertext())
    assert {title.text for title in root.iter(f"{SVG}title")} == {"x & y", "k < l"}


def test_a_gap_breaks_the_line() -> None:
    root = parsed(Panel("p", X, Axis(0, 2, []), [Line([(0, 1), (10, 2), None, (50, 1), (60, 2)], "red")]))
    assert len(list(root.iter(f"{SVG}polyline"))) == 2


def test_a_level_line_costs_two_points_however_long_it_is() -> None:
    root = parsed(Panel("p", X, Axis(0, 2, []), [Line([(x, 1) for x in range(100)], "red")]))
    (line,) = root.iter(f"{SVG}polyline")
    assert len(line.attrib["points"].split()) == 2


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    axis = Axis(1, 10_000, [], log=True)
    assert [round(axis.share(v), 6) for v in (1, 10, 100, 10_000)] == [0.0, 0.25, 0.5, 1.0]


def test_what_lies_outside_an_axis_is_put_on_its_edge() -> None:
    assert (X.share(-5), X.share(500)) == (0.0, 1.0)
