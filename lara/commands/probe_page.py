"""probes.html: the probes' tables, curves and pictures on one page. Every number comes from a probe's result."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lara.demo.lines import curves, pyplot, svg
from lara.demo.page import numbers, page, paragraph, picture, section, table


def write_page(path: Path, about: Mapping[str, Any], results: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """about: facts of the run. results: probe name -> its result. reasons: probe name -> why it does not apply."""
    body = [
        "<h1>Does this latent action mean anything?</h1>",
        paragraph(
            f"The latent action model of <code>{html.escape(about['checkpoint'])}</code> (step {about['step']}, latent "
            f"{html.escape(about['latent'])}), asked on {about['held_out_episodes']} held-out episodes of "
            f"<code>{html.escape(about['data'])}</code>, camera {html.escape(about['camera'])}. Every table has "
            "baselines: “random z” gives each pair the latent of another pair, “pixel difference” is a latent "
            "without any learning."
        ),
        *(DRAW[name](result) for name, result in results.items()),
    ]
    if reasons:
        rows = [[html.escape(name), html.escape(reason)] for name, reason in reasons.items()]
        body.append(section("Probes that do not apply", table(["probe", "reason"], rows)))
    path.write_text(page("lara probe", body))


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _algebra(r: Any) -> str:
    ks = [r.stride * (t + 1) for t in range(len(next(iter(r.rows.values())).norm))]
    shown = {name: row for name, row in r.rows.items() if name != "random z"}
    drawn = curves(
        [
            ("additivity error / mean norm", {n: (ks, row.additivity_relative) for n, row in shown.items()}),
            ("reversal error / mean norm", {n: (ks, row.reversal_relative) for n, row in shown.items()}),
        ],
        "steps",
    )
    rows = [
        [html.escape(name), _number(row.additivity[-1]), _number(row.additivity_relative[-1])]
        + [_number(x) for x in (row.reversal[0], row.reversal_relative[0], row.reversal_relative[-1])]
        + [_number(row.norm[0])]
        for name, row in r.rows.items()
    ]
    headers = ["", f"Add({ks[-1]})", "relative", f"Rev({ks[0]})", "relative", f"relative at {ks[-1]}", "mean norm"]
    return section(
        "Do latents add up and reverse?",
        drawn,
        table(headers, rows, numbers=range(1, 7)),
        paragraph(
            f"Composed with {html.escape(r.operation)}, over {r.clips} clips. 0 is the law. The pixel difference obeys "
            "both laws without meaning anything; a future frame taken for a latent breaks them. Absolute errors shrink "
            "with z; only relative ones compare models.",
            soft=True,
        ),
    )


def _horizons(r: Any) -> str:
    panels = [("PSNR, dB", "psnr"), ("SSIM", "ssim"), ("LPIPS", "lpips")]
    panels = [(title, key) for title, key in panels if getattr(r.rows["direct"], key)]
    drawn = curves(
        [(title, {n: (r.horizons, getattr(row, key)) for n, row in r.rows.items()}) for title, key in panels], "steps"
    )
    headers = ["", *(f"{title} at {h}" for title, _ in panels for h in (r.horizons[0], r.horizons[-1]))]
    rows = [
        [html.escape(n), *(_number(getattr(row, key)[k]) for _, key in panels for k in (0, -1))]
        for n, row in r.rows.items()
    ]
    return section(
        "How far ahead can it paint?",
        drawn,
        table(headers, rows, numbers=range(1, len(headers))),
        paragraph(
            f"{r.clips} clips. direct: one latent from now to then. cumulative: short latents composed. Below “copy "
            "frame” a prediction is worth nothing; where “random z” does as well, the decoder does not listen to z.",
            soft=True,
        ),
    )


def _degeneration(r: Any) -> str:
    rows = [
        [html.escape(n)]
        + [f"{1e3 * x:.2f}" for x in (d.recon_target, d.imagined_recon, d.imagined_target, d.imagined_second)]
        for n, d in r.rows.items()
    ]
    return section(
        "Is it a motion, or a picture of the target?",
        picture(
            r.picture,
            "Each column: now; the target; recon, what the latent paints from now; imagined, what it paints from the "
            "target; the real second frame. A motion goes on, a picture of the target stays.",
            pixels=True,
        ),
        table(
            ["squared error × 1000", "recon – target", "imagined – recon", "imagined – target", "imagined – second"],
            rows,
            numbers=range(1, 5),
        ),
        paragraph(
            f"The latent of (0, {r.horizon}) applied at 0 gives recon, applied again at {r.horizon} gives imagined. "
            "Columns 2 and 3 near 0 mean that the latent paints the target instead of moving on; large ones may also "
            "be a change painted twice, so look at the pictures. The real frames "
            f"differ by {1e3 * r.moved:.2f}; second is the real frame at {2 * r.horizon}. {r.clips} clips.",
            soft=True,
        ),
    )


def _regression(r: Any) -> str:
    drawn = curves(
        [("R² per step of the chunk", {n: (range(r.horizon), s.r2_per_step) for n, s in r.rows.items()})], "step"
    )
    rows = [[html.escape(n), _number(s.r2), _number(s.mse)] for n, s in r.rows.items()]
    title = "Actions, linearly" if r.probe == "linear" else "Actions, by LARY's MLP"
    return section(
        title,
        table(["features", "R²", "error, standardised"], rows, numbers=(1, 2)),
        drawn,
        paragraph(
            f"Fitted on {r.fit_pairs} pairs of {r.fit_episodes} training episodes, scored on {r.test_pairs} pairs of "
            f"{r.test_episodes} held-out ones; {len(r.dims)} action dims × {r.horizon} steps.",
            soft=True,
        ),
    )


def _classify(r: Any) -> str:
    rows = [[html.escape(n), f"{100 * a:.1f} %"] for n, a in r.rows.items()]
    rows.append(["always the commonest task", f"{100 * r.majority:.1f} %"])
    return section(
        "Which task is it?",
        table(["features", "top-1"], rows, numbers=(1,)),
        paragraph(f"{len(r.tasks)} tasks, {r.fit_pairs} pairs to fit, {r.test_pairs} held-out pairs.", soft=True),
    )


def _codebook(r: Any) -> str:
    model = r.rows["model"]
    rows = [
        [html.escape(n), f"{100 * u.used:.1f} %", _number(u.perplexity, 1), str(u.dead), f"{100 * u.sequences:.1f} %"]
        for n, u in r.rows.items()
    ]
    each = [
        [str(q), f"{100 * used:.1f} %", _number(p, 1)]
        for q, (used, p) in enumerate(zip(model.used_per_query, model.perplexity_per_query, strict=True))
    ]
    return section(
        "The codebook",
        table(["", "codes used", "perplexity", "dead codes", "distinct sequences"], rows, numbers=range(1, 5)),
        table(["query", "codes used", "perplexity"], each, numbers=(1, 2)),
        paragraph(f"{model.codes} codes, {model.pairs} held-out pairs; random z draws codes uniformly.", soft=True),
    )


def _determinism(r: Any) -> str:
    rows = [[html.escape(n), _number(x)] for n, x in r.s_pcfc.items()]
    return section(
        "Same pair, same frame, same scene",
        numbers(
            [
                ("same pair twice: largest |z − z′|", f"{r.max_difference:.1e}" if r.max_difference else "0"),
                ("a frame with itself, of the mean size", _number(r.identity)),
            ]
        ),
        table(["cosine of z(past → now) and z(future → now)", ""], rows, numbers=(1,)),
        paragraph(f"{r.clips} clips. A high cosine says that z holds what stays the same in the scene.", soft=True),
    )


def _transfer(r: Any) -> str:
    rows = [
        ["with what it paints at home", _number(r.donor)],
        ["with what the receiver's own latent paints there", _number(r.receiver)],
        ["those two with each other", _number(r.donor_receiver)],
    ]
    return section(
        "One scene's latent in another scene",
        picture(
            r.picture,
            "Each column: donor now; donor's real future; receiver now; receiver with the donor's latent; the change "
            "painted at home; the change painted away (grey = none).",
            pixels=True,
        ),
        table(["where the transferred latent changes the picture: correlation", ""], rows, numbers=(1,)),
        paragraph(
            f"Mean change of a pixel: {100 * r.change_home:.2f} % at home, {100 * r.change_away:.2f} % away, "
            f"{100 * r.change_real:.2f} % in the real frames. {r.pairs} pairs.",
            soft=True,
        ),
    )


def _attention(r: Any) -> str:
    rows = [[html.escape(n), f"{100 * s:.1f} %"] for n, s in r.shares.items()]
    return section(
        "Where the queries look",
        picture(
            r.picture,
            "Each column: now; future; attention of the M-Former's last block on now, and on the future (red).",
            pixels=True,
        ),
        numbers(
            [
                ("attention on what changed, of chance", _number(r.on_change, 2)),
                ("the same, another pair's attention", _number(r.on_change_random, 2)),
                ("entropy, of even attention", _number(r.entropy, 2)),
            ]
        ),
        table(["attention falls on", "share"], rows, numbers=(1,)),
        paragraph(f"{r.pairs} pairs, mean over queries and heads.", soft=True),
    )


def _map2d(r: Any) -> str:
    plt = pyplot()
    figure, axes = plt.subplots(1, len(r.rows), figsize=(3.6 * len(r.rows), 3.4))
    for axis, (name, one) in zip(axes, r.rows.items(), strict=True):
        x, y = zip(*one.points, strict=True)
        axis.scatter(x, y, c=r.angles, cmap="twilight", vmin=-math.pi, vmax=math.pi, s=9, linewidths=0)
        axis.set_title(name, fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
    rows = [
        [
            html.escape(n),
            _number(m.direction_r2),
            *(f"{100 * share:.1f} %" for share in m.explained),
            _number(m.common_direction),
            _number(m.effective_rank, 1),
        ]
        for n, m in r.rows.items()
    ]
    return section(
        "A map of the latents",
        svg(plt, figure),
        table(
            ["", "direction of the action, R²", "variance, axis 1", "axis 2", "cosine between clips", "effective rank"],
            rows,
            numbers=range(1, 6),
        ),
        paragraph(
            f"Principal axes; colour is the direction of the action in dims {r.dims}. A cosine near 1 between the "
            "latents of different clips says that all are one vector, whatever the pair.",
            soft=True,
        ),
    )


DRAW: dict[str, Callable[[Any], str]] = {
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
