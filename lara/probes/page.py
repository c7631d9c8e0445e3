"""The probes' tables, curves and pictures as one page. Every number comes from a probe's result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lara.pages.blocks import Block, Charts, Code, Figures, Note, Page, Picture, Section, Table, Text
from lara.pages.charts import Cloud, Line, Panel, draw
from lara.probes.labels import ROWS


def page(about: Mapping[str, Any], results: Mapping[str, Any], reasons: Mapping[str, str]) -> Page:
    """The page of one model.

    Args:
        about: Facts of the run: checkpoint, step, latent, data, camera, held_out_episodes.
        results: Probe -> its result.
        reasons: Probe -> why it does not apply.
    """
    lead = Text(
        "The latent action model of ",
        Code(about["checkpoint"]),
        f" (step {about['step']}, latent {about['latent']}), asked on {about['held_out_episodes']} held-out episodes "
        "of ",
        Code(about["data"]),
        f", camera {about['camera']}. Every table has baselines: “{ROWS['other_latent']}” has the model's own latents, "
        f"dealt out to the wrong clips; “{ROWS['pixel_difference']}” is a latent without any learning.",
    )
    sections = [SECTIONS[name](result) for name, result in results.items()]
    if reasons:
        table = Table(headers=["probe", "reason"], rows=[[name, reason] for name, reason in reasons.items()])
        sections.append(Section("Probes that do not apply", table))
    return Page(title="lara probe", heading="Does this latent action mean anything?", lead=[lead], sections=sections)


def number(value: float | None, digits: int = 3) -> str:
    """A dash where nothing was measured."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(headers: Sequence[str], rows: Mapping[str, Sequence[str]], *, first: str = "") -> Table:
    """One row per key of a probe's rows; the first column is the label, all others are numbers."""
    lines = [[ROWS[key], *cells] for key, cells in rows.items()]
    return Table(headers=[first, *headers], rows=lines, numeric=range(1, 1 + len(headers)))


def _lines(x: Sequence[float], rows: Mapping[str, Sequence[float | None]]) -> list[Line]:
    """The model first and wide, so that it shows under a baseline that it equals."""
    return [
        Line(label=ROWS[key], x=list(x), y=list(y), width=1.7 if place else 4)
        for place, (key, y) in enumerate(rows.items())
    ]


def _algebra(r: Any) -> Section:
    ks = [r.stride * (t + 1) for t in range(len(next(iter(r.rows.values())).norm))]
    shown = {key: row for key, row in r.rows.items() if key != "other_latent"}
    panels = [
        Panel(
            title=f"{law} error / mean norm",
            lines=_lines(ks, {key: getattr(row, f"{law}_relative") for key, row in shown.items()}),
            xlabel="steps",
        )
        for law in ("additivity", "reversal")
    ]
    rows = {
        key: [
            number(row.additivity[-1]),
            number(row.additivity_relative[-1]),
            *(number(x) for x in (row.reversal[0], row.reversal_relative[0], row.reversal_relative[-1], row.norm[0])),
        ]
        for key, row in r.rows.items()
    }
    headers = [f"Add({ks[-1]})", "relative", f"Rev({ks[0]})", "relative", f"relative at {ks[-1]}", "mean norm"]
    return Section(
        "Do latents add up and reverse?",
        Charts(draw(panels)),
        _table(headers, rows),
        Note(
            f"Composed with {r.operation}, over {r.clips} clips. 0 is the law. The pixel difference obeys both laws "
            "without meaning anything; a future frame taken for a latent breaks them. Absolute errors shrink with z; "
            "only relative ones compare models."
        ),
    )


def _horizons(r: Any) -> Section:
    kinds = [("PSNR, dB", "psnr"), ("SSIM", "ssim"), ("LPIPS", "lpips")]
    kinds = [(title, key) for title, key in kinds if getattr(r.rows["direct"], key)]
    panels = [
        Panel(
            title=title,
            lines=_lines(r.horizons, {name: getattr(row, key) for name, row in r.rows.items()}),
            xlabel="steps",
        )
        for title, key in kinds
    ]
    headers = [f"{title} at {h}" for title, _ in kinds for h in (r.horizons[0], r.horizons[-1])]
    rows = {name: [number(getattr(row, key)[k]) for _, key in kinds for k in (0, -1)] for name, row in r.rows.items()}
    return Section(
        "How far ahead can it predict the picture?",
        Charts(draw(panels)),
        _table(headers, rows),
        Note(
            f"{r.clips} clips. Direct: one latent from now to then. Composed: short latents composed. Below "
            f"“{ROWS['copy_frame']}” a prediction is worth nothing; where “{ROWS['other_latent']}” does as well, the "
            "decoder does not listen to z."
        ),
    )


def _degeneration(r: Any) -> Section:
    rows = {
        key: [f"{1e3 * x:.2f}" for x in (d.recon_target, d.imagined_recon, d.imagined_target, d.imagined_second)]
        for key, d in r.rows.items()
    }
    return Section(
        "Is it a motion, or a picture of the target?",
        Picture(
            png=r.picture,
            caption="Each column: now; the target; recon, what the latent paints from now; imagined, what it paints "
            "from the target; the real second frame. A motion goes on, a picture of the target stays.",
            pixels=True,
        ),
        _table(
            ["recon – target", "imagined – recon", "imagined – target", "imagined – second"],
            rows,
            first="squared error × 1000",
        ),
        Note(
            f"The latent of (0, {r.horizon}) applied at 0 gives recon, applied again at {r.horizon} gives imagined. "
            "Columns 2 and 3 near 0 mean that the latent paints the target instead of moving on; large ones may also "
            "be a change painted twice, so look at the pictures. The real frames differ by "
            f"{1e3 * r.moved:.2f}; second is the real frame at {2 * r.horizon}. {r.clips} clips."
        ),
    )


def _regression(r: Any) -> Section:
    lines = _lines(range(r.horizon), {key: score.r2_per_step for key, score in r.rows.items()})
    return Section(
        "Actions, linearly" if r.probe == "linear" else "Actions, by LARY's MLP",
        _table(["R²", "error, standardised"], {k: [number(s.r2), number(s.mse)] for k, s in r.rows.items()}),
        Charts(draw([Panel(title="R² per step of the chunk", lines=lines)])),
        Note(
            f"Fitted on {r.fit_pairs} pairs of {r.fit_episodes} training episodes, scored on {r.test_pairs} pairs of "
            f"{r.test_episodes} held-out ones; {len(r.dims)} action dims × {r.horizon} steps."
        ),
    )


def _classify(r: Any) -> Section:
    rows = [[ROWS[key], _percent(accuracy)] for key, accuracy in r.rows.items()]
    rows.append(["always the commonest task", _percent(r.majority)])
    return Section(
        "Which task is it?",
        Table(headers=["features", "top-1"], rows=rows, numeric=(1,)),
        Note(f"{len(r.tasks)} tasks, {r.fit_pairs} pairs to fit, {r.test_pairs} held-out pairs."),
    )


def _codebook(r: Any) -> Section:
    model = r.rows["model"]
    rows = {
        key: [_percent(u.used), number(u.perplexity, 1), str(u.dead), _percent(u.sequences)]
        for key, u in r.rows.items()
    }
    each = [
        [str(q), _percent(used), number(p, 1)]
        for q, (used, p) in enumerate(zip(model.used_per_query, model.perplexity_per_query, strict=True))
    ]
    return Section(
        "The codebook",
        _table(["codes used", "perplexity", "dead codes", "distinct sequences"], rows),
        Table(headers=["query", "codes used", "perplexity"], rows=each, numeric=(1, 2)),
        Note(f"{model.codes} codes, {model.pairs} held-out pairs."),
    )


def _determinism(r: Any) -> Section:
    return Section(
        "Same pair, same frame, same scene",
        Figures(
            [
                (f"{r.max_difference:.1e}" if r.max_difference else "0", "same pair twice: largest |z − z′|"),
                (number(r.identity), "a frame with itself, of the mean size"),
            ]
        ),
        _table(["cosine of z(past → now) and z(future → now)"], {k: [number(x)] for k, x in r.s_pcfc.items()}),
        Note(f"{r.clips} clips. A high cosine says that z holds what stays the same in the scene."),
    )


def _transfer(r: Any) -> Section:
    rows = [
        ["with what it paints at home", number(r.donor)],
        ["with what the receiver's own latent paints there", number(r.receiver)],
        ["those two with each other", number(r.donor_receiver)],
    ]
    return Section(
        "One scene's latent in another scene",
        Picture(
            png=r.picture,
            caption="Each column: donor now; donor's real future; receiver now; receiver with the donor's latent; the "
            "change painted at home; the change painted away (grey = none).",
            pixels=True,
        ),
        Table(headers=["where the transferred latent changes the picture", "correlation"], rows=rows, numeric=(1,)),
        Note(
            f"Mean change of a pixel: {100 * r.change_home:.2f} % at home, {100 * r.change_away:.2f} % away, "
            f"{100 * r.change_real:.2f} % in the real frames. {r.pairs} pairs."
        ),
    )


def _attention(r: Any) -> Section:
    return Section(
        "Where the queries look",
        Picture(
            png=r.picture,
            caption="Each column: now; future; attention of the M-Former's last block on now, and on the future (red).",
            pixels=True,
        ),
        Figures(
            [
                (number(r.on_change, 2), "attention on what changed, of chance"),
                (number(r.on_change_random, 2), "the same, another pair's attention"),
                (number(r.entropy, 2), "entropy, of even attention"),
            ]
        ),
        _table(["share"], {key: [_percent(share)] for key, share in r.shares.items()}, first="attention falls on"),
        Note(f"{r.pairs} pairs, mean over queries and heads."),
    )


def _map2d(r: Any) -> Section:
    clouds = [
        Cloud(title=ROWS[key], x=[p[0] for p in one.points], y=[p[1] for p in one.points], angles=r.angles)
        for key, one in r.rows.items()
    ]
    rows = {
        key: [
            number(m.direction_r2),
            *(_percent(share) for share in m.explained),
            number(m.common_direction),
            number(m.effective_rank, 1),
        ]
        for key, m in r.rows.items()
    }
    blocks: list[Block] = [
        Charts(draw(clouds)),
        _table(
            ["direction of the action, R²", "variance, axis 1", "axis 2", "cosine between clips", "effective rank"],
            rows,
        ),
        Note(
            f"Principal axes; colour is the direction of the action in dims {r.dims}. A cosine near 1 between the "
            "latents of different clips says that all are one vector, whatever the pair."
        ),
    ]
    return Section("A map of the latents", *blocks)


SECTIONS: dict[str, Callable[[Any], Section]] = {
    "algebra": _algebra,
    "horizons": _horizons,
    "degeneration": _degeneration,
    "linear": _regression,
    "mlp": _regression,
    "classify": _classify,
    "codebook": _codebook,
    "determinism": _determinism,
    "transfer": _transfer,
    "attention": _attention,
    "map2d": _map2d,
}
