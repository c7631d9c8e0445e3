"""Hostile folders by kind. `before` says what each did at commit e3c7189, before this was mended:

    executed   the file that only an attack makes was there, or a command of this program ran
    leaked     a secret of this machine stood in the message or the output
    hung       no answer within eight seconds, or all memory taken
    crashed    an error that is none of ours, with its traceback
    control    refused, or loaded without effect: kept so that it stays so

`python -m tests.security.before FOLDER` asks a checkout again, each case in a process of its own.
"""

from tests.security.of_configs import KEYS, KINDS, OWN, REMOTE, RESOLVERS, SIZES, TARGETS
from tests.security.of_files import DATA, EVALUATION, EXPORTS, FILES, JSON, MOTO, PICKLES, TENSORS, TRAVERSAL
from tests.security.sound import SECRET

CASES = [
    *EXPORTS,
    *RESOLVERS,
    *OWN,
    *TARGETS,
    *KEYS,
    *REMOTE,
    *KINDS,
    *SIZES,
    *JSON,
    *FILES,
    *TRAVERSAL,
    *TENSORS,
    *PICKLES,
    *MOTO,
    *EVALUATION,
    *DATA,
]
ENVIRONMENT = {"LARA_TEST_HIDDEN": SECRET}
