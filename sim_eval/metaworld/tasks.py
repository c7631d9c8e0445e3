"""The 50 tasks: names, tiers, and the words that say what to do.

The words are those of the public MT50 demonstration data sets, so that a policy trained on them hears what it knows.
Only 49 sentences differ: push and push-back share one, and an instruction alone cannot tell these two apart.
Tiers are those of MT50 papers that report easy / medium / hard / very hard; a headline that averages the tiers gives
28 easy tasks the weight of 5 very hard ones.
"""

from __future__ import annotations

# (task, tier, instruction), in the order of the MT50 benchmark of the metaworld package (v3).
_TABLE = (
    ("assembly-v3", "hard", "Pick up a nut and place it onto a peg"),
    ("basketball-v3", "medium", "Dunk the basketball into the basket"),
    ("bin-picking-v3", "medium", "Grasp the puck from one bin and place it into another bin"),
    ("box-close-v3", "medium", "Grasp the cover and close the box with it"),
    ("button-press-topdown-v3", "easy", "Press a button from the top"),
    ("button-press-topdown-wall-v3", "easy", "Bypass a wall and press a button from the top"),
    ("button-press-v3", "easy", "Press a button"),
    ("button-press-wall-v3", "easy", "Bypass a wall and press a button"),
    ("coffee-button-v3", "easy", "Push a button on the coffee machine"),
    ("coffee-pull-v3", "medium", "Pull a mug from a coffee machine"),
    ("coffee-push-v3", "medium", "Push a mug under a coffee machine"),
    ("dial-turn-v3", "easy", "Rotate a dial 180 degrees"),
    ("disassemble-v3", "very_hard", "Pick a nut out of a peg"),
    ("door-close-v3", "easy", "Close a door with a revolving joint"),
    ("door-lock-v3", "easy", "Lock the door by rotating the lock clockwise"),
    ("door-open-v3", "easy", "Open a door with a revolving joint"),
    ("door-unlock-v3", "easy", "Unlock the door by rotating the lock counter-clockwise"),
    ("hand-insert-v3", "hard", "Insert the gripper into a hole"),
    ("drawer-close-v3", "easy", "Push and close a drawer"),
    ("drawer-open-v3", "easy", "Open a drawer"),
    ("faucet-open-v3", "easy", "Rotate the faucet counter-clockwise"),
    ("faucet-close-v3", "easy", "Rotate the faucet clockwise"),
    ("hammer-v3", "medium", "Hammer a screw on the wall"),
    ("handle-press-side-v3", "easy", "Press a handle down sideways"),
    ("handle-press-v3", "easy", "Press a handle down"),
    ("handle-pull-side-v3", "easy", "Pull a handle up sideways"),
    ("handle-pull-v3", "easy", "Pull a handle up"),
    ("lever-pull-v3", "easy", "Pull a lever down 90 degrees"),
    ("pick-place-wall-v3", "very_hard", "Pick a puck, bypass a wall and place the puck"),
    ("pick-out-of-hole-v3", "hard", "Pick up a puck from a hole"),
    ("pick-place-v3", "hard", "Pick and place a puck to a goal"),
    ("plate-slide-v3", "easy", "Slide a plate into a cabinet"),
    ("plate-slide-side-v3", "easy", "Slide a plate into a cabinet sideways"),
    ("plate-slide-back-v3", "easy", "Get a plate from the cabinet"),
    ("plate-slide-back-side-v3", "easy", "Get a plate from the cabinet sideways"),
    ("peg-insert-side-v3", "medium", "Insert a peg sideways"),
    ("peg-unplug-side-v3", "easy", "Unplug a peg sideways"),
    ("soccer-v3", "medium", "Kick a soccer into the goal"),
    ("stick-push-v3", "very_hard", "Grasp a stick and push a box using the stick"),
    ("stick-pull-v3", "very_hard", "Grasp a stick and pull a box with the stick"),
    ("push-v3", "hard", "Push the puck to a goal"),
    ("push-wall-v3", "medium", "Bypass a wall and push a puck to a goal"),
    ("push-back-v3", "hard", "Push the puck to a goal"),
    ("reach-v3", "easy", "Reach a goal position"),
    ("reach-wall-v3", "easy", "Bypass a wall and reach a goal"),
    ("shelf-place-v3", "very_hard", "Pick and place a puck onto a shelf"),
    ("sweep-into-v3", "medium", "Sweep a puck into a hole"),
    ("sweep-v3", "medium", "Sweep a puck off the table"),
    ("window-open-v3", "easy", "Push and open a window"),
    ("window-close-v3", "easy", "Push and close a window"),
)

EASY_TO_HARD = ("easy", "medium", "hard", "very_hard")
TIERS: dict[str, str] = {task: tier for task, tier, _ in _TABLE}
INSTRUCTIONS: dict[str, str] = {task: words for task, _, words in _TABLE}
# A task's number, for the first entry of `MetaWorld.privileged()`.
NUMBER: dict[str, int] = {task: number for number, task in enumerate(TIERS)}
