"""Figures, token views, tables and cards."""

import base64
import io
import itertools
import re

import pandas
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ftlib import plot
from ftlib.evaluate import Interval, seeds_interval


@pytest.fixture
def displayed(monkeypatch):
    """The things shown so far, as a notebook would receive them."""
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def drawn(ends, labels="abcdefgh"):
    figure, axes = plot.figure("Loss")
    for end, label in zip(ends, labels, strict=False):
        plot.line(axes, [0, 1, 2], [1, 0.5, end], label)
    return figure, axes


def test_a_shown_figure_is_a_png_of_640_by_400_with_its_caption_and_alternative_text(displayed):
    from PIL import Image

    figure, _ = drawn([0.1])
    plot.show(figure, "Loss against <steps>", 'Loss falls to "0.1"')
    [shown] = displayed
    html = shown._repr_mimebundle_()["text/html"]
    image = Image.open(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)"', html)[1])))
    assert (image.format, image.size) == ("PNG", (640, 400))
    assert 'alt="Loss falls to &quot;0.1&quot;"' in html and "Loss against &lt;steps&gt;" in html
    assert repr(shown) == 'Loss falls to "0.1"'


def test_the_same_figure_has_the_same_bytes(displayed):
    for _ in range(2):
        plot.show(drawn([0.1, 0.2])[0], "caption", "alt")
    assert displayed[0].html == displayed[1].html


def test_frames_are_a_strip_of_figures_in_words_and_a_script_that_makes_a_dial_of_them(displayed):
    ends = {"<few>": 0.1, "many": 0.2}
    drawings = {name: (drawn([end])[0], f"Loss ends at {end}") for name, end in ends.items()}
    plot.frames(drawings, "Loss & steps")
    [shown] = displayed
    assert shown.html.count("<img ") == shown.html.count("<figcaption") == 2
    assert 'alt="Loss ends at 0.2"' in shown.html and "&lt;few&gt;" in shown.html
    assert 'aria-label="Loss &amp; steps"' in shown.html
    without, script = re.sub(r"<script>.*</script>", "", shown.html, flags=re.DOTALL), plot.DIAL
    assert script in shown.html and "<input" not in without and "display:none" not in without
    assert repr(shown).splitlines()[1:] == ["  <few>: Loss ends at 0.1", "  many: Loss ends at 0.2"]


def test_a_pipeline_is_a_list_of_boxes_in_their_order_with_marks_that_are_not_colours_alone():
    steps = {"1 Data": "40 <rows>\nand tests", "2 Model": "", "3 Set-up": "a rate"}
    shown = plot.pipeline(steps, marked=["2 Model"], links={"3 Set-up": "three.html"}, label="Three & more")
    items = re.findall(r"<li .*?</li>", shown.html)
    assert [re.search(r"<b>(.*?)</b>", item)[1] for item in items] == ["1 Data", "▸ 2 Model", "3 Set-up"]
    assert [item.count("→") for item in items] == [1, 1, 0] and 'aria-label="Three &amp; more"' in shown.html
    assert re.findall(r"<small[^>]*>(.*?)</small>", items[0]) == ["40 &lt;rows&gt;", "and tests"]
    assert [plot.PALETTE[1] in item for item in items] == [False, True, False]
    assert re.findall(r'<a href="([^"]+)"', shown.html) == ["three.html"] and "href" in items[2]
    assert repr(shown) == "1 Data: 40 <rows> and tests → ▸ 2 Model → 3 Set-up: a rate"


def test_a_line_has_its_name_at_its_end_and_its_band_in_its_colour():
    _, axes = plot.figure()
    plot.line(axes, [1, 2], [3, 4], "full", low=[2, 3], high=[4, 5])
    [label], [line], [band] = axes.texts, axes.lines, axes.collections
    assert label.get_text() == "full" and label.xy == (2, 4)
    assert label.get_color() == line.get_color() == plot.PALETTE[0]
    assert band.get_facecolor()[0][:3] == pytest.approx((0, 0x72 / 255, 0xB2 / 255))


def runs_of(scores):
    """A frame of runs: method -> size -> scores by seed."""
    return pandas.DataFrame([
        {"method": method, "train_size": size, "seed": seed, "test_score": score}
        for method, sizes in scores.items()
        for size, values in sizes.items()
        for seed, score in enumerate(values)
    ])  # fmt: skip


def figures(monkeypatch):
    """The figures shown from now on."""
    shown = []
    monkeypatch.setattr(plot, "show", lambda *arguments: shown.append(arguments))
    return shown


def test_a_curve_of_runs_is_their_mean_with_the_t_interval_over_seeds(monkeypatch):
    shown = figures(monkeypatch)
    scores = {50: [0.4, 0.5, 0.45], 100: [0.6, 0.7, 0.62], 800: [0.9, 0.91, 0.95]}
    runs = runs_of({"full": scores}).sample(frac=1, random_state=0)  # rows in any order
    plot.curve(runs, x="train_size", y="test_score", floor=Interval(0.2, 0.1, 0.3))
    [(figure, caption, alt)] = shown
    [axes] = figure.axes
    line, floor = axes.lines
    assert list(line.get_xdata()) == [50, 100, 800]
    expected = [seeds_interval(values) for values in scores.values()]
    assert list(line.get_ydata()) == pytest.approx([one.mean for one in expected])
    band = axes.collections[0].get_paths()[0].vertices
    for one, size in zip(expected, scores, strict=True):
        ends = band[band[:, 0] == size][:, 1]
        assert (ends.min(), ends.max()) == pytest.approx((one.low, one.high))
    assert set(floor.get_ydata()) == {0.2}
    assert [text.get_text() for text in axes.texts] == ["mean", "floor"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("train size", "test score", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "100", "800"]
    assert caption == "test_score against train_size: mean and 95 % interval of 3 runs at each point"
    assert alt == "mean: test_score goes from 0.45 at train_size 50 to 0.92 at train_size 800"


def test_curves_by_method_are_labelled_each_and_floors_have_names(monkeypatch):
    shown = figures(monkeypatch)
    runs = runs_of({"full": {1: [0.1, 0.2], 2: [0.3, 0.5]}, "LoRA": {1: [0.2, 0.2], 2: [0.1, 0.3]}})
    plot.curve(runs, x="train_size", y="test_score", by="method", floor={"base model": 0.1, "chance": 0.25})
    [(figure, _, alt)] = shown
    [axes] = figure.axes
    assert [text.get_text() for text in axes.texts] == ["full", "LoRA", "base model", "chance"]
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [
        pytest.approx([0.15, 0.4]),
        pytest.approx([0.2, 0.2]),
    ]
    assert axes.get_xscale() == "linear" and alt.count("goes from") == 2


def test_a_curve_of_runs_is_shown_as_a_picture_with_words(displayed):
    plot.curve(runs_of({"full": {1: [0.1, 0.2], 40: [0.3, 0.5]}}), x="train_size", y="test_score")
    [shown] = displayed
    assert "image/png" in shown.html and "0.15 at train_size 1" in shown.html


def test_matrices_are_drawn_to_scale_and_told_in_words(monkeypatch):
    shown = figures(monkeypatch)
    plot.matrices({"W": (30, 40), "B": (30, 4)}, "To scale")
    [(figure, caption, alt)] = shown
    [axes] = figure.axes
    drawn = [(patch.get_width(), patch.get_height()) for patch in axes.patches]
    assert drawn == [(40, 30), (4, 30)] and axes.get_aspect() == 1
    first, second = axes.patches
    assert first.get_x() + first.get_width() < second.get_x()
    assert caption == "To scale" and alt == "Matrices drawn to scale: W: 30 by 40, B: 30 by 4"


def test_an_attention_mask_shows_what_is_seen_what_a_plain_mask_would_add_and_what_is_later(monkeypatch):
    shown = figures(monkeypatch)
    plot.attention([[True, False, False], [False, True, False], [False, True, True]], "Who looks")
    [(figure, caption, alt)] = shown
    [axes] = figure.axes
    assert axes.images[0].get_array().tolist() == [[2, 0, 0], [1, 2, 0], [1, 2, 2]]
    assert axes.get_ylabel() == "token that looks" and caption == "Who looks"
    assert alt == "Of 6 pairs of a token and one no later, 4 may look, drawn dark"


def test_shares_fill_a_bar_each_and_are_told_in_words(monkeypatch):
    shown = figures(monkeypatch)
    plot.shares({"one": {"in": 1, "out": 3}, "two": {"in": 96, "out": 4}}, "Of what")
    [(figure, caption, alt)] = shown
    [axes] = figure.axes
    bars = [(patch.get_x(), patch.get_width()) for patch in axes.patches]
    assert bars == [(0, 25), (0, 96), (25, 75), (96, 4)]  # part by part
    assert [text.get_text() for text in axes.texts] == ["25", "96", "75", ""]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["in", "out"]
    assert caption == "Of what" and alt == "one: 25 % in, 75 % out; two: 96 % in, 4 % out"


def test_panels_draw_each_group_on_the_same_axes_and_let_what_is_off_the_scale_leave_them(monkeypatch):
    shown = figures(monkeypatch)
    rows = [
        {"run": run, "step": step, "training": height / step, "validation": height}
        for run, height in {"A": 1.0, "B": 50.0, "C": 2.0, "D": 1.0, "E": 3.0}.items()
        for step in (1, 2) for _ in range(2)
    ]  # fmt: skip
    kinds, runs = ["training", "validation"], pandas.DataFrame(rows)
    plot.panels(runs, "run", "step", kinds, label="loss (nats)", floor={"before": 4.0})
    [(figure, caption, alt)] = shown
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in drawn] == list("ABCDE") and len(figure.axes) == 8
    training, validation, floor = drawn[1].lines
    assert list(training.get_ydata()) == [50, 25] and list(validation.get_ydata()) == [50, 50]
    assert set(floor.get_ydata()) == {4.0} and {axes.get_ylim() for axes in drawn} == {(0, 4.8)}
    assert figure.get_supylabel() == "loss (nats)" and figure.get_supxlabel() == "step"
    assert caption.endswith("what lies above 4.8 leaves the picture")
    assert alt.startswith("A: training 1 to 0.5, validation 1 to 1; B: training 50 to 25")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation", "before"]


def test_a_control_chart_marks_the_days_that_pass_a_limit_and_names_them(monkeypatch):
    shown = figures(monkeypatch)
    days = pandas.DataFrame({"slow": [0.1, 0.4, 0.2], "wrong": [0.0, 0.0, 0.0]}, index=["Mon", "Tue", "Wed"])
    limits = {"slow": 0.3, "wrong": 0.0}
    plot.control(days, {"slow": 0.1, "wrong": 0.0}, limits, "A week")
    [(figure, caption, alt)] = shown
    slow, wrong, empty = figure.axes
    assert (slow.get_title(loc="left"), wrong.get_title(loc="left"), empty.axison) == ("slow", "wrong", False)
    marked = slow.lines[-1]
    assert (list(marked.get_xdata()), list(marked.get_ydata()), marked.get_marker()) == ([1], [0.4], "^")
    assert list(wrong.lines[-1].get_xdata()) == [] and wrong.get_ylim() == (0, 1.15)
    assert caption == "A week"
    assert alt == "slow passes its limit of 0.3 on Tue; wrong passes its limit of 0 on no day"


def test_answers_stand_beside_their_requests():
    first = {"role": "system", "content": "s"}
    requests = [[first, {"role": "user", "content": text}] for text in ("a", "b")]
    shown = plot.answers(requests, "Two", before=["x", "y"], after=["z", "w"])
    assert (
        shown.text
        == plot.table(
            [{"request": "a", "before": "x", "after": "z"}, {"request": "b", "before": "y", "after": "w"}],
            "Two",
        ).text
    )
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        plot.answers(requests, before=["x"])


def test_a_floor_is_a_named_dashed_line_across_the_axes():
    _, axes = plot.figure()
    plot.floor(axes, 0.25, "majority class")
    [line], [label] = axes.lines, axes.texts
    assert list(line.get_ydata()) == [0.25, 0.25] and line.get_linestyle() == "--"
    assert label.get_text() == "majority class"


@pytest.mark.parametrize(
    ("heights", "end", "edge"),
    [
        ([0.1, 0.7], "left", "bottom"),
        ([0.7, 0.1], "right", "bottom"),
        ([0.1, 0.1], "left", "bottom"),
        ([0.77, 0.2, 0.77], "left", "top"),
    ],
)
def test_the_name_of_a_floor_stands_where_the_lines_are_far(heights, end, edge):
    _, axes = plot.figure()
    plot.line(axes, range(len(heights)), heights, "loss")
    plot.floor(axes, 0.75, "before")
    [name] = [text for text in axes.texts if text.get_text() == "before"]
    assert name.get_ha() == end and (name.xy[0] < 0.5) is (end == "left")
    assert name.get_va() == edge and (name.xyann[1] > 0) is (edge == "bottom")


def test_numbers_of_an_axis_that_have_no_room_are_left_out(monkeypatch):
    shown = figures(monkeypatch)
    runs = runs_of({"full": {share: [0.1, 0.2] for share in (0.0, 0.05, 0.1, 1.0)}})
    plot.curve(runs, x="train_size", y="test_score")
    [axes] = shown[0][0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "", "0.1", "1"]


@effort(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 100).map(lambda end: end / 100), min_size=2, max_size=6))
def test_direct_labels_never_lie_on_each_other_and_keep_the_order_of_their_lines(ends):
    figure, axes = drawn(ends)
    plot._spread_labels(figure)
    places = {
        label.get_text(): axes.transData.transform(label.xy)[1] + label.xyann[1] * figure.dpi / 72
        for label in axes.texts
    }
    heights = sorted(places.values())
    assert all(high - low > plot.APART - 0.01 for low, high in itertools.pairwise(heights))
    order = sorted("abcdef"[: len(ends)], key=lambda name: ends["abcdef".index(name)])
    assert sorted(places, key=places.__getitem__) == order


def test_the_tokens_that_carry_loss_are_marked_without_colour():
    shown = plot.tokens(["<|user|>", "Where", " is", "\n"], [0, 0, 1, 1], "one turn")
    assert repr(shown) == "one turn\n<|user|>Where⟦␣is|⏎⟧"
    assert shown.html.count("<small>▲</small>") == 2 and shown.html.count("<small>·</small>") == 2
    assert "&lt;|user|&gt;" in shown.html and "2 of 4 tokens" in shown.html


def test_tokens_and_mask_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        plot.tokens(["a", "b"], [1], "caption")


def test_a_table_aligns_numbers_on_the_right_and_shows_intervals():
    shown = plot.table(
        [{"method": "full", "accuracy": Interval(0.9, 0.85, 0.95)}, {"method": "<none>", "seconds": 1234567}],
        "Triage",
    )
    assert repr(shown).splitlines() == [
        "Triage",
        "method           accuracy    seconds",
        "full    0.90 [0.85, 0.95]",
        "<none>                     1,234,567",
    ]
    assert "&lt;none&gt;" in shown.html and shown.html.count("<tr>") == 3


def test_a_card_leaves_empty_lines_out_and_carries_its_records():
    shown = plot.card(
        "Title & more", {"measured": 0.5, "where": "", "note": None}, records={"a/b+json": {"c": 1}}
    )
    assert repr(shown) == "Title & more\n  measured  0.5"
    assert "Title &amp; more" in shown.html and ">where<" not in shown.html
    assert shown._repr_mimebundle_()["a/b+json"] == {"c": 1}


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_the_boxes_of_a_cycle_stand_clockwise_in_two_rows_and_their_texts_lie_inside(
    displayed, count, monkeypatch
):
    figures = []
    monkeypatch.setattr(plot, "show", lambda figure, caption, alt: figures.append((figure, alt)))
    steps = {f"step {number}": "two lines\nof words" for number in range(count)}
    plot.cycle(steps, back="the next batch", caption="training")
    [(figure, alt)] = figures
    figure.draw_without_rendering()
    [axes] = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches]
    names = [text.get_window_extent() for text in axes.texts if text.get_text().startswith("step")]
    assert len(boxes) == len(names) == count
    for box, name in zip(boxes, names, strict=True):
        assert box.x0 < name.x0 and name.x1 < box.x1 and box.y0 < name.y0 and name.y1 < box.y1
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    top = [box for box in boxes if box.y0 > figure.bbox.height / 2]
    assert [box.x0 for box in top] == sorted(box.x0 for box in top) and len(top) == (count + 1) // 2
    assert alt.startswith("step 0 → step 1") and alt.endswith("the next batch")
